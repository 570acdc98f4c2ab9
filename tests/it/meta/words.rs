//! The project's texts use the field's words: no identifier, comment, help text, error or document has a private word.

use std::fs;
use std::path::{Path, PathBuf};

/// A word that only this project would understand, and the words to use.
const WORDS: [(&str, &str); 29] = [
    ("errand", "fetch, FetchPlan"),
    ("persona", "identity"),
    ("berth", "identity source"),
    ("crew", "identity pool"),
    ("farewell", "guard, close"),
    ("manners", "rate limit, robots policy"),
    ("wardrobe", "browser profiles"),
    ("notebook", "memory file"),
    ("underway", "in flight"),
    ("whereabouts", "location"),
    ("wear", "use (a profile)"),
    ("wears", "uses (a profile)"),
    ("worn", "used, default (profile)"),
    ("clothes", "profile"),
    ("lend", "lease, give"),
    ("lends", "leases, gives"),
    ("lent", "leased"),
    ("told", "reported, printed"),
    ("nobody", "no fetch, no process"),
    ("somebody", "another fetch, another process"),
    ("whoever", "the caller, any client"),
    ("boarded", "admitted"),
    ("outdressed", "refused profile probe"),
    ("foreseen", "recent failure"),
    ("stopgap", "direct fallback"),
    ("fleeting", "ephemeral"),
    ("befall", "happen to"),
    ("be had", "be fetched"),
    ("whose turn", "which fetch is next"),
];

/// Files that quote the words, and recorded or foreign text.
const EXCLUDED: [&str; 7] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "tests/it/meta/words.rs",
    "src/lab/pages",
    "benches/detect/rules",
    "fuzz/corpus",
    "fuzz/artifacts",
];

/// Folders and files that are searched.
const SEARCHED: [&str; 13] = [
    "src",
    "tests",
    "examples",
    "benches",
    "fuzz",
    "docs",
    "profiles",
    "scripts",
    "README.md",
    "SECURITY.md",
    "RELEASING.md",
    "Makefile",
    "Cargo.toml",
];

#[test]
fn no_text_of_the_project_has_a_private_word() {
    let mut found = Vec::new();
    for file in files() {
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            for (word, instead) in private_words(line) {
                found.push(format!("{}:{}: `{word}`; use {instead}", file.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{} lines:\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_planted_word_is_found_in_every_form() {
    for line in [
        "// nobody waits for it",
        "struct Errand<'a> {",
        "let errand_count = 1;",
        "fn new_persona(&self) {}",
        "const MAX_CREW: usize = 1;",
        "\"could not be had\"",
        "The profile it Wears.",
        "toldAgain",
        "HTTP2Errand",
    ] {
        assert_eq!(private_words(line).len(), 1, "{line}");
    }
    for line in [
        "screw",
        "unfolded",
        "berthold",
        "swears by it",
        "talent",
        "calendar",
        "the button was expressed",
        r"sid\told",
    ] {
        assert!(private_words(line).is_empty(), "{line}");
    }
}

/// The private words of a line. Identifiers count by their parts: `NewErrand`, `new_errand` and `NEW_ERRAND` have three
/// parts or two.
fn private_words(line: &str) -> Vec<(&'static str, &'static str)> {
    let words = parts(line);
    let has = |phrase: &str| {
        let phrase: Vec<&str> = phrase.split(' ').collect();
        words.windows(phrase.len()).any(|window| window == phrase)
    };
    WORDS.into_iter().filter(|(word, _)| has(word)).collect()
}

/// The words of a line in lower case: split at what is not a letter, and at the humps of camel case.
fn parts(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let letters: Vec<char> = line.chars().collect();
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| letters[before]);
        // `\t` in a string is a tab, not a letter.
        if !letter.is_alphabetic() || before == Some('\\') {
            words.push(String::new());
            continue;
        }
        let is_after_lower = before.is_some_and(char::is_lowercase);
        let is_last_capital = before.is_some_and(char::is_uppercase)
            && letters.get(at + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && (is_after_lower || is_last_capital) {
            words.push(String::new());
        }
        words.last_mut().expect("there is a word").extend(letter.to_lowercase());
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The text files that are searched, relative to the project's folder.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = SEARCHED.iter().map(PathBuf::from).collect();
    while let Some(path) = folders.pop() {
        let name = path.to_string_lossy();
        if EXCLUDED.iter().any(|excluded| name.starts_with(excluded)) || name.ends_with("/target") {
            continue;
        }
        let full = root().join(&path);
        if full.is_dir() {
            for entry in fs::read_dir(&full).expect("a folder can be read") {
                folders.push(path.join(entry.expect("an entry can be read").file_name()));
            }
        } else if path.extension().is_none_or(|extension| TEXT.iter().any(|text| extension == *text)) {
            files.push(path);
        }
    }
    assert!(files.len() > 400, "the sources are found: {}", files.len());
    files
}

const TEXT: [&str; 8] = ["rs", "md", "toml", "py", "sh", "html", "txt", "snap"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

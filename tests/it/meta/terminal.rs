//! Every print of the program goes through `src/cli/terminal.rs`, which escapes the text of sites.

use std::fs;
use std::path::Path;

use super::outputs::sources;

/// Ways to print that do not escape.
const CALLS: [&str; 7] =
    ["println!", "print!(", "eprintln!", "eprint!(", "io::stdout()", "io::stderr()", "to_string_pretty(&"];

/// The files that contain such calls, and why.
const ALLOWED: [(&str, &str); 5] = [
    ("src/cli/terminal.rs", "the module itself"),
    ("src/cli/log.rs", "escapes each field"),
    ("src/cli/batch.rs", "JSON for a file"),
    ("src/cli/lab/mod.rs", "JSON for a client"),
    ("src/cli/profile/verify.rs", "JSON for a file"),
];

#[test]
fn every_print_of_the_program_is_escaped() {
    let mut found = Vec::new();
    for file in sources(Path::new("src/cli")) {
        let name = file.to_string_lossy().into_owned();
        if ALLOWED.iter().any(|(allowed, _)| name == *allowed) {
            continue;
        }
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file)).expect("a source");
        for (number, line) in text.lines().enumerate() {
            // Whether it is a terminal may be asked anywhere.
            let line =
                line.replace("io::stdout().is_terminal()", "").replace("io::stderr().is_terminal()", "");
            if let Some(call) = CALLS.iter().find(|call| line.contains(*call)) {
                found.push(format!("{name}:{}: `{call}`", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "use `cli::terminal`, or say here why not:\n{}", found.join("\n"));
}

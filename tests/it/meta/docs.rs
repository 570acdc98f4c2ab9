//! README and docs/: their size, their links, and the two reference pages that are generated.
//!
//! `UPDATE_DOCS=1 cargo test --test it meta::docs` writes the generated pages.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::rungs;

#[test]
fn the_readme_is_short() {
    let text = fs::read_to_string(root().join("README.md")).expect("a README");
    assert!(text.lines().count() <= 220, "{} lines: docs/ is the place", text.lines().count());
    assert!(text.len() <= 12_000, "{} bytes: docs/ is the place", text.len());
    assert!(text.contains("make test"), "the README names the test command");
}

#[test]
fn the_command_line_reference_is_generated() {
    let run = rungs(["generate", "markdown"]);
    assert_eq!(run.code, 0, "{run}");
    assert!(run.text().contains("`--max-tier"), "{run}");
    compare_or_update("docs/reference/cli.md", &run.text());
}

#[test]
fn the_configuration_reference_is_generated() {
    let text = fs::read_to_string(root().join("profiles/target.schema.json")).expect("the schema is there");
    let schema: Value = serde_json::from_str(&text).expect("the schema is JSON");
    let page = config_reference(&schema);
    assert!(page.contains("`retry.unsafe`"), "{page}");
    compare_or_update("docs/reference/config.md", &page);
}

#[test]
fn every_page_is_in_the_summary_and_every_link_resolves() {
    let docs = root().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).expect("a summary");
    let mut pages =
        vec![root().join("README.md"), root().join("SECURITY.md"), root().join("CONTRIBUTING.md")];
    for page in pages_below(&docs) {
        let name = page.strip_prefix(&docs).expect("it is below docs").to_string_lossy().into_owned();
        assert!(
            name == "SUMMARY.md" || summary.contains(&format!("({name})")),
            "{name} is not in SUMMARY.md"
        );
        pages.push(page);
    }
    let mut broken = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).expect("a page is text");
        let folder = page.parent().expect("a page is in a folder");
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { folder.join(file) };
            if !target.exists() {
                broken.push(format!("{}: {link}", page.display()));
            } else if !anchor.is_empty() && !has_heading(&target, anchor) {
                broken.push(format!("{}: no heading for {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Paths of sources that a document names in backticks exist.
#[test]
fn every_source_file_that_a_document_names_exists() {
    let mut pages = pages_below(&root().join("docs"));
    pages.extend(["README.md", "SECURITY.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    let mut missing = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).expect("a page is text");
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_path = ["src/", "tests/", "profiles/", "benches/", "examples/", "scripts/", "fixtures/"]
                .iter()
                .any(|folder| quoted.starts_with(folder));
            if is_path && !quoted.contains(['*', '{', ' ', '<', '…']) && !names_capital(quoted) {
                let path = quoted.split(':').next().expect("a split has a first part");
                if !root().join(path).exists() {
                    missing.push(format!("{}: {quoted}", page.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// The table of SECURITY.md: paths are below `tests/it`, or whole; a test's name follows the path of its file.
#[test]
fn every_test_that_a_promise_names_exists() {
    let text = fs::read_to_string(root().join("SECURITY.md")).expect("a page is text");
    let table = text.split("### Where each promise is tested").nth(1).expect("the table");
    let rows: Vec<&str> = table.lines().skip_while(|line| !line.starts_with("|---")).skip(1).collect();
    let (mut missing, mut named) = (Vec::new(), 0);
    for row in rows.iter().take_while(|line| line.starts_with('|')) {
        let tests = row.split('|').nth(2).expect("two columns");
        let mut file = String::new();
        for quoted in tests.split('`').skip(1).step_by(2) {
            named += 1;
            if quoted.contains('/') {
                let paths = [root().join("tests/it").join(quoted), root().join(quoted)];
                match paths.iter().find(|path| path.is_file()) {
                    Some(path) => file = fs::read_to_string(path).expect("a source is text"),
                    None => missing.push(quoted),
                }
            } else if quoted.contains('_') && !file.contains(&format!("fn {quoted}(")) {
                missing.push(quoted);
            }
        }
    }
    assert!(named > 50 && missing.is_empty(), "{named} named, missing: {missing:?}");
}

/// `profiles/targets/NAME.toml` is a placeholder.
fn names_capital(path: &str) -> bool {
    path.split(['/', '.']).any(|part| {
        part.len() > 2
            && part.chars().all(|c| c.is_ascii_uppercase())
            && part != "README"
            && part != "RESULTS"
    })
}

/// The keys of targets and of the config file, by table.
fn config_reference(schema: &Value) -> String {
    let mut page = String::from(
        "# Configuration keys\n\nGenerated from `profiles/target.schema.json`. A target file and the config file have the same keys; \
         `match` and `schema` belong to a target. [Settings and targets](../concepts/settings.md) describes the layers.\n",
    );
    let mut tables = String::new();
    let _ = write!(page, "\n## Top level\n\n| key | type | meaning |\n|---|---|---|\n");
    for (key, value) in properties(schema) {
        let table = reference(schema, value);
        let description = cell(value);
        if let Some(definition) = table.filter(|definition| definition["properties"].is_object()) {
            let _ = writeln!(page, "| [`{key}`](#{key}) | table | {description} |");
            let _ = write!(
                tables,
                "\n## {key}\n\n{}\n\n| key | type | meaning |\n|---|---|---|\n",
                plain(definition)
            );
            for (inner, value) in properties(definition) {
                let _ = writeln!(tables, "| `{key}.{inner}` | {} | {} |", kind(schema, value), cell(value));
            }
        } else {
            let _ = writeln!(page, "| `{key}` | {} | {description} |", kind(schema, value));
        }
    }
    page + &tables
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

/// The definition that a property refers to.
fn reference<'a>(schema: &'a Value, property: &'a Value) -> Option<&'a Value> {
    let own = property["$ref"].as_str();
    let optional = || property["anyOf"].as_array()?.iter().find_map(|one| one["$ref"].as_str());
    let name = own.or_else(optional)?.strip_prefix("#/$defs/")?;
    Some(&schema["$defs"][name])
}

/// What a value looks like.
fn kind(schema: &Value, property: &Value) -> String {
    if let Some(definition) = reference(schema, property) {
        let choices: Vec<&str> = definition["oneOf"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["const"].as_str())
            .chain(definition["enum"].as_array().into_iter().flatten().filter_map(Value::as_str))
            .collect();
        if !choices.is_empty() {
            return choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ");
        }
        return kind(schema, definition);
    }
    match &property["type"] {
        Value::String(name) if name == "array" => format!("list of {}", kind(schema, &property["items"])),
        Value::String(name) if name == "object" => "table".to_owned(),
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            let names: Vec<&str> =
                names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect();
            match names[..] {
                ["array"] => format!("list of {}", kind(schema, &property["items"])),
                _ => names.join(" or "),
            }
        }
        _ => "any".to_owned(),
    }
}

fn plain(value: &Value) -> String {
    value["description"].as_str().unwrap_or_default().replace('\n', " ")
}

fn cell(value: &Value) -> String {
    plain(value).replace('|', "\\|")
}

fn compare_or_update(name: &str, text: &str) {
    let path = root().join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, text).expect("the page is written");
    }
    let page = fs::read_to_string(&path).unwrap_or_default();
    assert!(page == text, "{name} is out of date: run UPDATE_DOCS=1 cargo test --test it meta::docs");
}

fn pages_below(folder: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            pages.extend(pages_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages
}

/// The targets of a page's links to other files of the project.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:") && !target.contains(' '))
}

fn has_heading(page: &Path, anchor: &str) -> bool {
    let text = fs::read_to_string(page).unwrap_or_default();
    text.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| slug(line.trim_start_matches('#').trim()) == anchor)
}

/// The anchor that Markdown renderers give a heading.
fn slug(heading: &str) -> String {
    let letters = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    letters.collect::<String>().to_lowercase().replace(' ', "-")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

//! Every file that a user names is opened by `src/os/output_file.rs`, which knows links, devices and pipes.

use std::fs;
use std::path::{Path, PathBuf};

/// Calls that create, replace, rename or truncate a file.
const CALLS: [&str; 11] = [
    "File::create",
    "OpenOptions",
    "fs::write",
    "fs::rename",
    "fs::copy",
    "hard_link",
    "set_len(",
    ".persist(",
    "NamedTempFile",
    "tempfile::Builder",
    "create_new",
];

/// The files that contain such calls, and why.
const ALLOWED: [(&str, &str); 10] = [
    ("src/os/output_file.rs", "the module itself"),
    ("src/batch/journal/mod.rs", "truncates the checkpoint, a file that the module opened"),
    ("src/batch/output/file.rs", "truncates the records, a file that the module opened"),
    ("src/batch/queue/spill.rs", "truncates a file without a name"),
    ("src/lab/driver.rs", "a new temporary file"),
    ("src/cli/lab/mod.rs", "a new temporary file"),
    ("src/transport/browser/", "files in the browser's own new folder"),
    ("src/transport/chromium/", "the browser's own new folder"),
    ("src/net/", "no files"),
    ("src/cli/progress.rs", "the length of a progress bar"),
];

#[test]
fn every_output_is_opened_by_the_one_module() {
    let mut found = Vec::new();
    for file in sources(Path::new("src")) {
        let name = file.to_string_lossy().into_owned();
        let is_test = name.ends_with("tests.rs") || name.contains("/tests/");
        if is_test || ALLOWED.iter().any(|(allowed, _)| name.starts_with(allowed)) {
            continue;
        }
        let text = fs::read_to_string(root().join(&file)).expect("a source is text");
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//");
            if let Some(call) = CALLS.iter().find(|call| !is_comment && has_call(line, call)) {
                found.push(format!("{name}:{}: `{call}`", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "use `output_file`, or say here why not:\n{}", found.join("\n"));
}

/// Whether the line has the call itself, not one that ends like it: `OutputFile::create`.
fn has_call(line: &str, call: &str) -> bool {
    line.match_indices(call).any(|(at, _)| !line[..at].ends_with(char::is_alphanumeric))
}

pub(super) fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root().join(folder)).expect("a folder can be read") {
        let path = folder.join(entry.expect("an entry can be read").file_name());
        if root().join(&path).is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

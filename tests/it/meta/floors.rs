//! Compares the floors table of CONTRIBUTING.md with the imports of the sources.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The floor of each top module, as in the table.
type Floors = BTreeMap<String, u32>;

#[test]
fn every_import_points_to_a_lower_floor() {
    let floors = picture();
    let mut wrong = Vec::new();
    for file in sources() {
        let Some(module) = top_module(&file) else { continue };
        let text = fs::read_to_string(root().join("src").join(&file)).expect("a source is text");
        for (line, import) in imports(&text, depth(&file)) {
            if let Some(why) = objection(&floors, &module, &import) {
                wrong.push(format!("src/{}:{line}: {why}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "CONTRIBUTING.md has the floors:\n{}", wrong.join("\n"));
}

#[test]
fn every_top_module_has_a_floor() {
    let floors = picture();
    let homeless: Vec<String> = sources()
        .iter()
        .filter_map(|file| top_module(file))
        .filter(|module| !floors.contains_key(module))
        .collect();
    assert!(homeless.is_empty(), "not in the floors picture of CONTRIBUTING.md: {homeless:?}");
}

#[test]
fn the_root_of_the_sources_has_few_entries() {
    let entries = fs::read_dir(root().join("src")).expect("src can be listed").count();
    assert!(
        entries <= 20,
        "src/ has {entries} entries: move a new module into the folder that it belongs to"
    );
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "\
use crate::net::Pool;
use crate::{error::{Error, Result}, tier};
//! see [`crate::router`]
fn f(x: crate::proxy::Proxy) -> xcrate::y { crate::detect::judge() }
pub use
    crate::{
        lab,
    };
use super::trace;
mod tests {
    use super::*;
    use super::super::bounds;
}
use crate::*;
";
    let found: Vec<(usize, String)> = imports(text, 1);
    let expected = [
        (1, "net"),
        (2, "error"),
        (2, "tier"),
        (4, "proxy"),
        (4, "detect"),
        (6, "lab"),
        (9, "super::trace"),
        (12, "super::super::bounds"),
        (14, "*"),
    ];
    let mut found: Vec<(usize, &str)> = found.iter().map(|(line, name)| (*line, name.as_str())).collect();
    found.sort_unstable_by_key(|(line, _)| *line);
    assert_eq!(found, expected);
}

#[test]
fn an_import_upwards_or_sideways_is_rejected() {
    let floors: Floors = [("tier", 0), ("error", 2), ("request", 3), ("proxy", 3), ("net", 6)]
        .map(|(name, floor)| (name.to_owned(), floor))
        .into();
    for (module, import, allowed) in [
        ("net", "error", true),
        ("net", "net", true),
        ("request", "proxy", false),
        ("error", "net", false),
        ("error", "Result", false),
        ("error", "*", false),
        ("error", "super::tier", false),
    ] {
        assert_eq!(objection(&floors, module, import).is_none(), allowed, "{module} -> {import}");
    }
}

/// Why `module` may not import `import`, or `None` if it may.
fn objection(floors: &Floors, module: &str, import: &str) -> Option<String> {
    if import == module {
        return None;
    }
    let Some(theirs) = floors.get(import) else {
        return Some(format!("`{import}` is no module of the picture; name the module that has it"));
    };
    // A module without a floor is reported by the other test.
    let ours = floors.get(module)?;
    (theirs >= ours).then(|| format!("`{module}` (floor {ours}) imports `{import}` (floor {theirs})"))
}

/// The imports of a source from elsewhere in the crate: line number, and the top module of the path. A path that
/// reaches the crate's root by `super` is returned unchanged, since its top module is not visible.
fn imports(text: &str, depth: usize) -> Vec<(usize, String)> {
    // Comments become empty lines, so that line numbers stay right.
    let text: String = text
        .split_inclusive('\n')
        .map(|line| if line.trim_start().starts_with("//") { "\n" } else { line })
        .collect();
    let line_of = |offset: usize| text[..offset].matches('\n').count() + 1;
    let mut found = Vec::new();
    for (at, word) in text.match_indices("crate::") {
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        for name in first_segments(&text[at + word.len()..]) {
            found.push((line_of(at), name));
        }
    }
    for (index, line) in text.lines().enumerate() {
        let nested = usize::from(line.starts_with(' '));
        let Some(at) = line.find("super::") else { continue };
        let path: String =
            line[at..].chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
        if path.matches("super::").count() >= depth + nested {
            found.push((index + 1, path));
        }
    }
    found
}

/// The first segments of a path, or of each path in a `{…}` group.
fn first_segments(path: &str) -> Vec<String> {
    let segment = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || "_*".contains(*c)).collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![segment(path)] };
    let mut level = 1_usize;
    let mut segments = vec![segment(group)];
    for (at, c) in group.char_indices() {
        match c {
            '{' => level += 1,
            '}' if level == 1 => break,
            '}' => level -= 1,
            ',' if level == 1 => segments.push(segment(&group[at + 1..])),
            _ => {}
        }
    }
    segments.retain(|segment| !segment.is_empty());
    segments
}

/// The picture: lines of `floor  module · module   [two spaces and a remark]` in the block fenced as `floors`.
fn picture() -> Floors {
    let text = fs::read_to_string(root().join("CONTRIBUTING.md")).expect("CONTRIBUTING.md is there");
    let block = text
        .split_once("```floors\n")
        .and_then(|(_, rest)| rest.split_once("```"))
        .expect("CONTRIBUTING.md has a block fenced as `floors`")
        .0;
    let mut floors = Floors::new();
    for line in block.lines() {
        let (floor, rest) = line.trim_start().split_once(' ').expect("a floor has a number and modules");
        let floor = floor.parse().unwrap_or_else(|_| panic!("no floor number in: {line}"));
        for module in rest.trim_start().split("  ").next().unwrap_or_default().split(" · ") {
            assert_eq!(
                floors.insert(module.trim().to_owned(), floor),
                None,
                "twice in the picture: {module}"
            );
        }
    }
    assert!(!floors.is_empty(), "the picture is empty");
    floors
}

/// The top module of a file. `None` for `lib.rs` and `main.rs`, which only declare the modules.
fn top_module(file: &Path) -> Option<String> {
    let first = file.components().next()?.as_os_str().to_str()?;
    let module = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(module, "lib" | "main")).then(|| module.to_owned())
}

/// How many modules deep a file is: 1 for `tier.rs` and `net/mod.rs`, 2 for `net/tls.rs`.
fn depth(file: &Path) -> usize {
    file.components().count() - usize::from(file.file_name().is_some_and(|name| name == "mod.rs"))
}

/// Every Rust source, relative to `src`.
fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("src can be listed") {
            let path = entry.expect("src can be listed").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let src = root().join("src");
    let mut found = Vec::new();
    walk(&src, &mut found);
    assert!(!found.is_empty(), "no sources in {}", src.display());
    let mut found: Vec<PathBuf> =
        found.iter().map(|path| path.strip_prefix(&src).expect("it was found in src").to_owned()).collect();
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

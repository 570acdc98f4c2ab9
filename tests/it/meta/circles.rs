//! Finds circles among the imports of the sources.
//!
//! A file may import its ancestors (`super::`), which declare it. Without those imports, no file may import
//! itself by way of others, inside a folder or across folders.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The text of each module's file, by its path: `net::http2::frame`.
type Sources = BTreeMap<String, String>;

#[test]
fn no_file_imports_itself_by_way_of_others() {
    let mut sources = Sources::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    read_sources(&src, "", &mut sources);
    assert!(sources.len() > 100, "{} sources", sources.len());
    let circles = circles(&sources);
    assert!(circles.is_empty(), "move what both sides need into a third file:\n{}", circles.join("\n"));
}

#[test]
fn a_planted_circle_is_found_in_every_form() {
    let sources = |files: &[(&str, &str)]| -> Sources {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    for (files, expected) in [
        (&[("a", "use crate::b::X;"), ("b", "use crate::a::{self, Y};")][..], 1),
        (&[("a::x", "use super::y::{Z, W as V};"), ("a::y", "pub(super) use super::x::K;"), ("a", "")], 1),
        (&[("a", "use crate::{b, c};"), ("b", "use crate::c;"), ("c", "use super::a::T;")], 1),
        (&[("a", "mod x;\nuse x::T;"), ("a::x", "use crate::b::U;"), ("b", "use crate::a;")], 1),
        // A child may import its parent, and a parent re-exports its children.
        (&[("a", "mod x;\npub use x::T;"), ("a::x", "use super::T;\nuse crate::a::U;")], 0),
        // Tests and comments do not count.
        (
            &[
                ("a", "// use crate::b;\n#[cfg(test)]\nmod tests {\n    use crate::b;\n}"),
                ("b", "use crate::a;"),
            ],
            0,
        ),
        (&[("a", "use crate::b;"), ("b", "use std::io;\nuse http::a;")], 0),
    ] {
        assert_eq!(circles(&sources(files)).len(), expected, "{files:?}");
    }
}

/// The circles: each the names of its files, sorted.
fn circles(sources: &Sources) -> Vec<String> {
    let imports: BTreeMap<&str, BTreeSet<&str>> =
        sources.iter().map(|(name, text)| (name.as_str(), imports(name, text, sources))).collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        imports.keys().map(|name| (*name, reach(name, &imports))).collect();
    let mut found = BTreeSet::new();
    for (name, others) in &reached {
        if others.contains(name) {
            let circle: Vec<&str> =
                others.iter().copied().filter(|other| reached[other].contains(name)).collect();
            found.insert(circle.join(", "));
        }
    }
    found.into_iter().collect()
}

/// All files that `name` imports directly or by way of others.
fn reach<'a>(name: &str, imports: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = imports[name].iter().copied().collect();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(&imports[next]);
        }
    }
    reached
}

/// The files that `name` imports, without itself and its ancestors.
fn imports<'a>(name: &str, text: &str, sources: &'a Sources) -> BTreeSet<&'a str> {
    let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("use ") {
        let line = text[..at].rsplit('\n').next().unwrap_or_default().trim();
        if !(line.is_empty() || line.starts_with("pub")) {
            continue;
        }
        let tree: String = text[at + 4..]
            .split(';')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        for path in paths(&tree) {
            let Some(absolute) = absolute(name, &path) else { continue };
            // The longest prefix that is a file.
            let file = (1..=absolute.len())
                .rev()
                .find_map(|length| sources.get_key_value(&absolute[..length].join("::")));
            if let Some((file, _)) = file {
                let is_ancestor = name == file || name.starts_with(&format!("{file}::"));
                if !is_ancestor {
                    found.insert(file.as_str());
                }
            }
        }
    }
    found
}

/// The paths of a use tree.
fn paths(tree: &str) -> Vec<String> {
    let Some((prefix, group)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap_or_default().trim().to_owned()];
    };
    let group = group.trim_end().strip_suffix('}').unwrap_or(group);
    let mut parts = vec![String::new()];
    let mut level = 0_usize;
    for c in group.chars() {
        match c {
            '{' => level += 1,
            '}' => level = level.saturating_sub(1),
            ',' if level == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts.flat_map(|part| paths(&format!("{}{part}", prefix.trim()))).collect()
}

/// The segments of a path from the crate's root. `None` for a path above it.
fn absolute(name: &str, path: &str) -> Option<Vec<String>> {
    let mut segments: Vec<String> = path.split("::").map(|segment| segment.trim().to_owned()).collect();
    let mut base: Vec<String> = name.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
    match segments.first()?.as_str() {
        "crate" => {
            segments.remove(0);
            return Some(segments);
        }
        "super" => {
            while segments.first().is_some_and(|segment| segment == "super") {
                segments.remove(0);
                base.pop()?;
            }
        }
        "self" => {
            segments.remove(0);
        }
        // A child that the file declares, or another crate, for which no file will be found.
        _ => {}
    }
    base.extend(segments);
    Some(base)
}

/// Reads the sources below `folder`, whose module is `module`, except tests.
fn read_sources(folder: &Path, module: &str, sources: &mut Sources) {
    for entry in fs::read_dir(folder).expect("src can be listed") {
        let path = entry.expect("src can be listed").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name is text").to_owned();
        let name = if module.is_empty() { stem.clone() } else { format!("{module}::{stem}") };
        if stem.ends_with("tests") {
            continue;
        }
        if path.is_dir() {
            read_sources(&path, &name, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = match stem.as_str() {
                "mod" => module.to_owned(),
                "lib" | "main" if module.is_empty() => String::new(),
                _ => name,
            };
            let text = fs::read_to_string(&path).expect("a source is text");
            sources.entry(name).or_default().push_str(&text);
        }
    }
}

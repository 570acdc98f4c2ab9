//! The README repeats the program's help.

use crate::support::rungs;

#[test]
fn the_usage_in_the_readme_is_the_programs_own_help() {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("a README");
    let (_, rest) = readme.split_once("<!-- usage:").expect("the README marks the usage");
    let (_, block) = rest.split_once("```text\n").expect("a block follows the mark");
    let (block, _) = block.split_once("```").expect("the block ends");
    let help = rungs(["fetch", "--help"]);
    assert_eq!(help.code, 0);
    let plain = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    assert_eq!(plain(block), plain(&help.text()), "paste `rungs fetch --help` into the README");
}

#[test]
fn the_readme_says_what_batch_takes_beside_fetch() {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("a README");
    let (_, rest) = readme.split_once("<!-- batch usage:").expect("the README marks the usage");
    let (_, block) = rest.split_once("```text\n").expect("a block follows the mark");
    let (block, _) = block.split_once("```").expect("the block ends");
    let [fetch, batch] = ["fetch", "batch"].map(|command| options(&rungs([command, "--help"]).text()));
    let mut shown = Vec::new();
    let mut under = String::new();
    for (heading, text) in batch.into_iter().filter(|option| !fetch.contains(option)) {
        if under != heading && text.starts_with(' ') {
            shown.push(format!("{heading}\n{text}"));
            under = heading;
        } else {
            shown.push(text);
        }
    }
    let shown = shown.join("\n\n");
    assert!(shown.contains("--checkpoint") && !shown.contains("--max-tier"), "{shown}");
    assert_eq!(block.trim_end(), shown, "paste this into the README:\n{shown}\n");
}

/// The paragraphs of a help text, each with its heading.
fn options(help: &str) -> Vec<(String, String)> {
    let help = help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    let mut heading = String::new();
    let option = |paragraph: &str| {
        let (first, rest) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
        if !first.starts_with(' ') && first.ends_with(':') {
            first.clone_into(&mut heading);
            return (heading.clone(), rest.to_owned());
        }
        (heading.clone(), paragraph.to_owned())
    };
    help.trim().split("\n\n").map(option).collect()
}

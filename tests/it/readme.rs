//! The README says what the program says.

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

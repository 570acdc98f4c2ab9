//! `make corpus`: classifies every recorded response in fixtures/ with the shipped rules and with other projects' rules.
//!
//! Prints the mistakes, then the tables, and updates the tables in benches/detect/RESULTS.md. Fails if too few blocks are
//! recognised, or if a genuine page is called a block. A folder given as an argument is read instead of
//! fixtures/, and the file is not changed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rungs::detect::Rules;

mod peers;
#[path = "saved.rs"]
mod samples;
mod score;
mod sets;

const BEGIN: &str = "<!-- corpus: written by `make corpus`, checked by a test -->\n";
const END: &str = "<!-- corpus ends -->";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let given = std::env::args_os().nth(1).map(PathBuf::from);
    let fixtures = root.join("fixtures");
    let samples = samples::samples(given.as_deref().unwrap_or(&fixtures));
    let rules = Rules::shipped();
    let score = score::Score::of(&rules, &samples);
    for line in &score.wrong {
        eprintln!("{line}");
    }
    let mut tables = score.tables(&peers::read(include_str!("peers.toml")), &samples);
    tables += &sets::table(&rules, &fixtures);
    println!("{tables}");
    if given.is_none()
        && let Err(message) = update_results(&root.join("benches/detect/RESULTS.md"), &tables)
    {
        eprintln!("corpus: {message}");
        return ExitCode::FAILURE;
    }
    if score.passes() {
        return ExitCode::SUCCESS;
    }
    eprintln!("corpus: the rules miss too many blocks, or classify a genuine page as a block");
    ExitCode::FAILURE
}

fn update_results(results: &Path, tables: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(results).map_err(|error| error.to_string())?;
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or("benches/detect/RESULTS.md does not mark where the tables go")?;
    std::fs::write(results, format!("{before}{BEGIN}{tables}{END}{after}")).map_err(|error| error.to_string())
}

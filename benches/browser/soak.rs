//! A long run of the browser tier: measures memory during the run, and checks that nothing remains afterwards.
//!
//! `cargo run --release --example soak -- [PAGES] [AT_ONCE] [kill]`. `kill` kills a renderer every 20 pages,
//! and the browser after one third and two thirds of the pages. Exits with 1 if a page was lost or if
//! a process or folder remains.

use std::process::ExitCode;
use std::time::Instant;

mod run;

use run::{Plan, browsers, run};

#[tokio::main]
async fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let kill = words.iter().any(|word| word == "kill");
    words.retain(|word| word != "kill");
    let number = |at: usize, usual| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(usual);
    let (pages, at_once) = (number(0, 500_usize).max(1), number(1, 2_usize).max(1));
    let browser_at: &'static [usize] = if kill { Vec::leak(vec![pages / 3, pages * 2 / 3]) } else { &[] };
    let plan = Plan { pages, at_once, renderer_every: kill.then_some(20), browser_at };
    // A separate folder for the browsers' folders, so that they can be counted.
    let scratch = tempfile::tempdir().expect("a folder for temporary files");
    let began = Instant::now();
    println!("pages  seconds  rungs MB  Chromium MB  processes");
    let on_progress = |fetched: usize| {
        if [pages / 10, pages / 2, pages].contains(&fetched) {
            let browsers = browsers(scratch.path());
            println!(
                "{fetched:5}  {:7.1}  {:8}  {:11}  {:9}",
                began.elapsed().as_secs_f64(),
                pss_mb(&[std::process::id()]),
                pss_mb(&browsers),
                browsers.len()
            );
        }
    };
    let report = run(plan, scratch.path(), on_progress).await;
    println!(
        "genuine {} of {pages}; killed {} renderers, {} browsers; left {} processes, {} folders",
        report.genuine,
        report.renderers_killed,
        report.browsers_killed,
        report.processes_left,
        report.folders_left
    );
    for what in &report.lost {
        println!("lost: {what}");
    }
    if report.genuine == pages && report.processes_left == 0 && report.folders_left == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Memory of `pids` in MB. Each shared page counts once in total.
fn pss_mb(pids: &[u32]) -> u64 {
    let kib = |pid: &u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    pids.iter().filter_map(kib).sum::<u64>() * 1024 / 1_000_000
}

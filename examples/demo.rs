//! Fetches the lab's four loopback sites, and the challenged one a second time. Then kills a batch and resumes it.
//!
//! The lab decides by the bytes on the wire only. It does not know which client it serves.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use rungs::lab::{DemoOrigin, SITES};
use rungs::{ErrorKind, Fetcher, Tier, Trace};

/// The tier that each visit should end on; `None` if every tier should be blocked.
const EXPECTED: [(&str, Option<Tier>); 5] = [
    (SITES[0], Some(Tier::Plain)),
    (SITES[1], Some(Tier::Impersonate)),
    (SITES[2], Some(Tier::Browser)),
    (SITES[3], None),
    // Again: the clearance of the browser visit serves the tier below.
    (SITES[2], Some(Tier::Impersonate)),
];

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    eprintln!("starting the lab: it records the installed Chromium as its reference for a browser");
    let origin = DemoOrigin::start(None).await?;
    let ca = tempfile::NamedTempFile::new()?;
    std::fs::write(ca.path(), origin.ca_pem())?;
    let fetcher = SITES
        .iter()
        .fold(Fetcher::builder().ca_file(ca.path()), |builder, site| {
            builder.resolve(site, origin.addr().port(), origin.addr().ip())
        })
        .build()?;
    let mut as_expected = true;
    for (visit, (site, expected)) in EXPECTED.into_iter().enumerate() {
        let outcome = fetcher.get(origin.url(site)).send().await;
        let again = EXPECTED[..visit].iter().any(|(before, _)| *before == site);
        println!("{}. {site}{}", visit + 1, if again { ", second visit" } else { "" });
        let text = match &outcome {
            Ok(page) => {
                format_trace(page.trace(), &format!("got {} bytes by {}", page.body_len(), page.tier()))
            }
            Err(error) => format_trace(error.trace().unwrap_or(&Trace::default()), &error.chain()),
        };
        println!("{text}");
        as_expected &= match outcome {
            Ok(page) => Some(page.tier()) == expected,
            Err(error) => error.kind() == ErrorKind::Blocked && expected.is_none(),
        };
    }
    fetcher.close().await;
    let counts = origin.counts();
    println!("challenged.test issued {} clearance(s) for two visits\n", counts.clearances);
    as_expected &= counts.clearances == 1 && counts.verifies == 1;
    as_expected &= run_fetch_command(&origin, ca.path()).await?;
    as_expected &= run_batch_command(&origin, ca.path()).await?;
    if !as_expected {
        println!("NOT as expected, see above; `rungs doctor` may show the reason");
    }
    Ok(if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A command for the `rungs` program in this example's target folder.
fn program() -> std::io::Result<tokio::process::Command> {
    let demo = std::env::current_exe()?;
    Ok(tokio::process::Command::new(demo.ancestors().nth(2).unwrap_or(Path::new(".")).join("rungs")))
}

/// Fetches many pages of the open site, kills the run, and resumes it. Returns whether each page was recorded once.
async fn run_batch_command(origin: &DemoOrigin, ca: &Path) -> std::io::Result<bool> {
    let folder = tempfile::tempdir()?;
    let urls: String =
        (0..PAGES).fold(String::new(), |all, n| format!("{all}{}?{n}\n", origin.url(SITES[0])));
    std::fs::write(folder.path().join("urls.txt"), urls)?;
    let resolve = format!("*:{}:{}", origin.addr().port(), origin.addr().ip());
    let batch = || -> std::io::Result<tokio::process::Command> {
        let mut command = program()?;
        command.args([
            "batch",
            "urls.txt",
            "--out",
            "pages.jsonl",
            "--rate",
            "30/s",
            "--no-memory",
            "--no-progress",
        ]);
        command.args(["--max-tier", "impersonate", "--resolve", &resolve]).arg("--cacert").arg(ca);
        command.current_dir(folder.path()).stdin(std::process::Stdio::null());
        Ok(command)
    };
    let records = || std::fs::read_to_string(folder.path().join("pages.jsonl")).unwrap_or_default();
    println!("\n$ rungs batch urls.txt --out pages.jsonl --rate 30/s");
    let mut first = batch()?.stderr(std::process::Stdio::null()).spawn()?;
    while records().lines().count() < PAGES / 3 && first.try_wait()?.is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    first.kill().await?;
    println!(
        "killed (SIGKILL) with {} of {PAGES} records; running the same command again:",
        records().lines().count()
    );
    let second = batch()?.output().await?;
    print!("{}", String::from_utf8_lossy(&second.stderr));
    let found = records();
    let of_url = |line: &str| line.split("\",\"").next().unwrap_or_default().to_owned();
    let different: std::collections::HashSet<String> = found.lines().map(of_url).collect();
    println!("{} records, {} different URLs", found.lines().count(), different.len());
    Ok(second.status.success() && found.lines().count() == PAGES && different.len() == PAGES)
}

const PAGES: usize = 60;

/// Fetches the closed site with the program, and prints its output and exit code.
async fn run_fetch_command(origin: &DemoOrigin, ca: &Path) -> std::io::Result<bool> {
    let resolve = format!("*:{}:{}", origin.addr().port(), origin.addr().ip());
    println!("$ rungs fetch --resolve '{resolve}' --cacert {} {}", ca.display(), origin.url(SITES[3]));
    let mut command = program()?;
    command.args(["fetch", "--resolve", &resolve]).arg("--cacert").arg(ca).arg(origin.url(SITES[3]));
    let ended = command.output().await?;
    print!("{}", String::from_utf8_lossy(&ended.stderr));
    println!("exit code {}", ended.status.code().unwrap_or(-1));
    Ok(ended.status.code() == Some(7))
}

/// The attempts as a table, followed by the result.
fn format_trace(trace: &Trace, end: &str) -> String {
    let mut text = String::new();
    for attempt in trace.attempts() {
        let status = attempt.status.map_or_else(|| "---".to_owned(), |status| status.to_string());
        let what = match (&attempt.verdict, &attempt.error) {
            (Some(verdict), _) => verdict.to_string(),
            (None, Some(error)) => format!("{}: {}", error.kind, error.message),
            (None, None) => String::new(),
        };
        let elapsed = attempt.elapsed.as_millis();
        let _ = writeln!(text, "     {:<11}  {status}  {what:<24} {elapsed:>6} ms", attempt.tier);
    }
    text + "     " + end + "\n"
}

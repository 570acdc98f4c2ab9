//! Host memory across processes: the next run starts with what one run learned, and the file stays intact whatever
//! happens to the processes that write it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rungs::lab::{Exchange, Recorder, Reply};
use rungs::memory::{MemoryFile, TierMode};
use rungs::{Fetcher, Tier};
use rustix::process::Signal;

use crate::support::{FinishedRun, Program, until_async};

const PAGE: &str = "<!doctype html><title>a page</title><p>A page with some words in it.</p>";
const CHALLENGE: &str =
    "<!doctype html><title>Just a moment...</title><script>window._cf_chl_opt = {}</script>";

/// A site that serves only browsers.
fn browsers_only(heard: &Exchange) -> Reply {
    if heard.request.header("user-agent").unwrap_or_default().starts_with("Mozilla/") {
        return Reply::html(200, PAGE);
    }
    Reply::html(403, CHALLENGE).header("cf-mitigated", "challenge")
}

async fn site() -> Recorder {
    Recorder::builder().start(browsers_only).await.expect("it listens")
}

fn url(server: &Recorder, path: &str) -> String {
    format!("http://{}{path}", server.addr())
}

fn file(program: &Program) -> PathBuf {
    program.home().join("data/rungs/memory.sqlite")
}

/// The tiers of the single fetch of a run, from its JSON.
fn tiers(run: &FinishedRun) -> Vec<String> {
    let json = run.json();
    let attempts = json["attempts"].as_array().expect("attempts").iter();
    attempts.map(|attempt| attempt["tier"].as_str().expect("a tier").to_owned()).collect()
}

fn fetch(program: &Program, more: &[&str], url: &str) -> FinishedRun {
    let run = program
        .run(["fetch", "--format", "json", "--max-tier", "impersonate"].iter().chain(more).chain([&url]));
    assert_eq!(run.code, 0, "{run}");
    run
}

/// The pages and blocks of one tier, over all groups.
fn counts(path: &Path, rung: TierMode) -> (u64, u64) {
    let seen = MemoryFile::open(path).expect("the file is whole").tiers(None).expect("it can be read");
    let of_rung = seen.iter().filter(|line| line.mode == rung);
    of_rung.fold((0, 0), |(pages, refusals), line| (pages + line.tally.pages, refusals + line.tally.refusals))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_starts_at_the_tier_that_worked_unless_memory_is_off() {
    let server = site().await;
    let program = Program::new();
    let url = url(&server, "/p/1");
    assert_eq!(tiers(&fetch(&program, &[], &url)), ["plain", "impersonate"]);
    assert_eq!(tiers(&fetch(&program, &[], &url)), ["impersonate"]);
    assert_eq!(tiers(&fetch(&program, &["--no-memory"], &url)), ["plain", "impersonate"]);
    assert_eq!(counts(&file(&program), TierMode::Plain), (0, 1), "a run without memory leaves nothing");
    let run = program.run(["memory", "clear", &server.addr().to_string()]);
    assert_eq!((run.code, run.stderr.as_str()), (0, "forgot 3 lines\n"), "{run}");
    assert_eq!(tiers(&fetch(&program, &[], &url)), ["plain", "impersonate"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_named_by_the_environment_is_used_and_shown() {
    let server = site().await;
    let program = Program::new().variable("RUNGS_MEMORY", "own.sqlite");
    let run = program.run(["memory", "show"]);
    assert_eq!((run.code, run.text().as_str()), (0, "host memory is empty\n"), "{run}");
    assert!(!program.home().join("own.sqlite").exists(), "looking makes no file");
    fetch(&program, &[], &url(&server, "/p/1"));
    let run = program.run(["memory", "show", "--format", "json", "127.0.0.1"]);
    let json = run.json();
    let lines = json["evidence"].as_array().expect("lines");
    let shown: Vec<_> = lines.iter().map(|line| (line["rung"].as_str(), line["state"].as_str())).collect();
    assert_eq!(shown, [(Some("impersonate"), Some("works")), (Some("plain"), Some("refused"))], "{run}");
    assert_eq!(
        (lines[0]["site"].as_str(), lines[0]["group"].as_str()),
        (Some(&*server.addr().to_string()), Some("/p/"))
    );
    let run = program.run(["memory", "show", "elsewhere.example"]);
    assert_eq!(run.text(), "host memory is empty\n");
    let text = program.run(["memory", "show"]).text();
    assert!(text.contains("1 refusals") && text.contains("refused, next probe 20"), "{text}");
    assert!(!file(&program).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_moved_aside_with_a_warning_and_the_fetch_goes_on() {
    let server = site().await;
    let program = Program::new();
    fs::create_dir_all(file(&program).parent().expect("a folder")).expect("it is made");
    let damage = vec![b'x'; 9000];
    fs::write(file(&program), &damage).expect("it is written");
    let run = fetch(&program, &[], &url(&server, "/"));
    assert!(run.stderr.contains("was corrupt: moved it to"), "{run}");
    let folder = fs::read_dir(file(&program).parent().expect("a folder")).expect("it is there");
    let aside: Vec<PathBuf> = folder
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().contains(".corrupt-"))
        .collect();
    assert_eq!(aside.len(), 1);
    assert_eq!(fs::read(&aside[0]).expect("it is kept"), damage);
    assert_eq!(counts(&file(&program), TierMode::Plain), (0, 1));
    assert!(fetch(&program, &[], &url(&server, "/")).stderr.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_file_causes_one_warning_and_is_not_changed() {
    let server = site().await;
    let newer = Program::new();
    fetch(&newer, &[], &url(&server, "/"));
    let database = rusqlite::Connection::open(file(&newer)).expect("it opens");
    database.pragma_update(None, "user_version", 99).expect("it is written");
    drop(database);
    let folder = Program::new().variable("RUNGS_MEMORY", "/proc/self/memory.sqlite");
    let full = Program::new().variable("RUNGS_MEMORY", "/dev/full");
    for (program, words) in [(&newer, "newer rungs (schema 99)"), (&folder, "cannot be used"), (&full, "")] {
        let two = [url(&server, "/a"), url(&server, "/b")];
        let run = program.run(["fetch", "--max-tier", "impersonate", &two[0], &two[1]]);
        assert_eq!(run.code, 0, "{run}");
        assert_eq!(run.stderr.matches("the host memory").count(), 1, "{run}");
        assert!(run.stderr.contains(words), "{run}");
    }
    let run = newer.run(["memory", "show"]);
    assert!(run.code == 3 && run.stderr.contains("hint: update rungs"), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_imported_elsewhere_and_only_as_a_whole() {
    let server = site().await;
    let (here, there) = (Program::new(), Program::new());
    fetch(&here, &[], &url(&server, "/"));
    let run = here.run(["memory", "export", "out.jsonl"]);
    assert_eq!(run.code, 0, "{run}");
    let out = here.home().join("out.jsonl");
    assert_eq!(fs::metadata(&out).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(here.run(["memory", "export", "-"]).stdout, fs::read(&out).expect("a file"));
    let out = out.to_string_lossy().into_owned();
    for (news, _) in [("imported 3 lines\n", 1), ("imported 0 lines\n", 2)] {
        let run = there.run(["memory", "import", &out]);
        assert_eq!((run.code, run.stderr.as_str()), (0, news), "{run}");
    }
    assert_eq!(tiers(&fetch(&there, &[], &url(&server, "/"))), ["impersonate"]);
    let broken = fs::read_to_string(&out).expect("a file") + "{\"kind\":\"evidence\"}\n";
    let fresh = Program::new().input(broken);
    let run = fresh.run(["memory", "import", "-"]);
    assert!(run.code == 3 && run.stderr.contains("error: -: line 5: not a line"), "{run}");
    assert_eq!(fresh.run(["memory", "show"]).text(), "host memory is empty\n");
}

/// Two processes and this one fetch the same site at the same time. The file has what each of them saw.
#[tokio::test(flavor = "multi_thread")]
async fn processes_that_share_a_file_lose_nothing_and_see_no_lock_error() {
    const RUNS: usize = 4;
    const PAGES: usize = 60;
    let server = site().await;
    let program = Program::new();
    let urls: Vec<String> = (0..PAGES).map(|page| url(&server, &format!("/{}/{page}", page % 5))).collect();
    let mut arguments = vec!["fetch", "--tier", "impersonate", "--retry", "0"];
    arguments.extend(urls.iter().map(String::as_str));
    let running: Vec<_> = (0..RUNS).map(|_| program.start(&arguments)).collect();
    let fetchers: Vec<Fetcher> = (0..2)
        .map(|_| {
            Fetcher::builder()
                .max_tier(Tier::Impersonate)
                .memory(file(&program))
                .build()
                .expect("good settings")
        })
        .collect();
    let mut refused = 0;
    for (at, url) in urls.iter().enumerate() {
        for fetcher in &fetchers {
            let fetched =
                fetcher.get(url).tier(if at % 2 == 0 { Tier::Impersonate } else { Tier::Plain }).send().await;
            refused += u64::from(fetched.is_err());
        }
    }
    for fetcher in &fetchers {
        fetcher.close().await;
    }
    for running in running {
        let run = running.finish();
        assert!(run.code == 0 && run.stderr.is_empty(), "{run}");
    }
    let pages = (RUNS * PAGES + 2 * PAGES / 2) as u64;
    assert_eq!(counts(&file(&program), TierMode::Impersonate), (pages, 0));
    let sizes = MemoryFile::open(file(&program)).expect("whole").page_sizes(None).expect("it can be read");
    assert_eq!(sizes.iter().map(|line| u64::from(line.model.pages)).sum::<u64>(), pages, "each was measured");
    assert_eq!(
        (counts(&file(&program), TierMode::Plain), refused),
        ((0, 2 * PAGES as u64 / 2), 2 * PAGES as u64 / 2)
    );
    let database = rusqlite::Connection::open(file(&program)).expect("it opens");
    let check: String =
        database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("it is checked");
    assert_eq!(check, "ok");
}

/// The process is killed several times while it writes. The file stays intact and keeps its contents.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_killed_leaves_the_file_whole() {
    let server = site().await;
    let program = Program::new();
    let urls: Vec<String> = (0..4000).map(|page| url(&server, &format!("/{page}/x"))).collect();
    let mut arguments = vec!["fetch", "--tier", "impersonate"];
    arguments.extend(urls.iter().map(String::as_str));
    let mut before = 0;
    for round in 0..6 {
        let running = program.start(&arguments);
        // Killed while it writes, each time at another point.
        until_async("new evidence in the file", || {
            file(&program).exists() && counts(&file(&program), TierMode::Impersonate).0 > before
        })
        .await;
        tokio::time::sleep(Duration::from_millis(round * 97)).await;
        running.signal(Signal::KILL);
        assert_eq!(running.finish().code, 128 + 9);
        let database = rusqlite::Connection::open(file(&program)).expect("it opens");
        let check: String =
            database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("it is checked");
        assert_eq!(check, "ok");
        let now = counts(&file(&program), TierMode::Impersonate).0;
        assert!(now > before, "{now} after {before}");
        before = now;
    }
    let aside = fs::read_dir(file(&program).parent().expect("a folder")).expect("it is there");
    assert!(aside.flatten().all(|entry| !entry.path().to_string_lossy().contains("corrupt")));
}

//! Low limits of open files: the limit is raised if allowed, respected if not, and named in the error when reached.

use std::fs::{self, File};
use std::process::Command;
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use rungs::{ErrorKind, Fetcher, RateLimit, Tier};

use crate::support::{self, Program, RawServer, until};

/// The soft and hard limits of open files of a process.
fn limits(id: u32) -> (String, String) {
    let text = fs::read_to_string(format!("/proc/{id}/limits")).expect("the program runs");
    let line = text.lines().find(|line| line.starts_with("Max open files")).expect("Linux tells of it");
    let mut fields = line.split_whitespace().skip(3).map(str::to_owned);
    (fields.next().unwrap_or_default(), fields.next().unwrap_or_default())
}

#[test]
fn the_program_raises_its_open_file_limit_to_the_hard_limit() {
    for (given, hard) in [("-n 200 && ulimit -Sn 64", "200"), ("-n 64", "64")] {
        let server = RawServer::start(support::never_answers);
        let program = Program::new().open_file_limit(given);
        let running = program.start(["fetch", "--tier", "plain", &server.url("/")]);
        until("the request", || !server.heads().is_empty());
        assert_eq!(limits(running.id()), (hard.to_owned(), hard.to_owned()), "{given}");
    }
}

#[test]
fn many_urls_are_fetched_under_a_low_open_file_limit() {
    let servers: Vec<RawServer> = (0..60).map(|_| RawServer::start(support::keep_answering)).collect();
    let urls: Vec<String> = servers.iter().map(|server| server.url("/")).collect();
    let program = Program::new().open_file_limit("-n 64");
    let fixed = ["fetch", "--tier", "plain", "--format", "jsonl"];
    let run = program.run(fixed.into_iter().chain(urls.iter().map(String::as_str)));
    assert_eq!((run.code, run.text().lines().count()), (0, 60), "{run}");
}

#[test]
fn a_program_with_the_library_neither_hangs_nor_spins_under_a_low_limit() {
    let server = RawServer::start(|conn| {
        loop {
            conn.read_head()?;
            thread::sleep(Duration::from_millis(100));
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
        }
    });
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""]).env("RUNGS_TEST_SITE", server.url("/"));
    support::run_ignored_test(limited, module_path!(), "under_a_low_limit");
    // Half of the limit, and the connection of the second fetcher.
    assert!((2..=33).contains(&server.connections()), "{} connections", server.connections());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the one above, as a process of its own"]
async fn under_a_low_limit() {
    let url = std::env::var("RUNGS_TEST_SITE").expect("the other test says where");
    let fetcher = Fetcher::builder().max_tier(Tier::Plain).rate_limit(RateLimit::new().concurrency(200));
    let fetcher = fetcher.build().expect("good settings");
    for page in join_all((0..200).map(|_| fetcher.get(&url).send())).await {
        page.expect("a page");
    }
    // Other code of the program uses all descriptors.
    let other = Fetcher::builder().max_tier(Tier::Plain).build().expect("good settings");
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    let error = other.get(&url).send().await.expect_err("there is no descriptor left");
    assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("ulimit -n")), "{error:?}");
    assert_eq!(error.trace().map(|trace| trace.attempts().len()), Some(1), "it is not tried over and over");
    taken.clear();
    other.get(&url).send().await.expect("a page, now that there are some");
}

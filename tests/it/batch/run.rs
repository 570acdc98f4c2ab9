//! `rungs batch` and `Batch`: the output has each URL once, even after kills and failures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rungs::Fetcher;
use rungs::batch::{Batch, FetchRef, Observer, Record};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    self, Certs, FinishedRun, Nginx, Program, RawConnection, RawServer, Site, until, warc_records,
};

/// The arguments of every batch in this file.
const COMMON: [&str; 4] = ["--tier", "plain", "--no-memory", "--no-progress"];

fn batch(program: &Program, arguments: &[&str]) -> FinishedRun {
    program.run([&["batch"][..], arguments, &COMMON].concat())
}

/// Makes a list of URLs and writes it to a file in the program's home folder.
fn list(program: &Program, nginx: &Nginx, count: usize) -> Vec<String> {
    let urls: Vec<String> = (0..count).map(|n| nginx.url(Site::Clear, &format!("/echo?n={n}"))).collect();
    fs::write(program.home().join("urls.txt"), urls.join("\n")).expect("a list is written");
    urls
}

/// How often each URL is in this output.
fn counted(path: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for url in urls_in(path) {
        *counts.entry(url).or_default() += 1;
    }
    counts
}

fn urls_in(path: &Path) -> Vec<String> {
    let name = path.to_string_lossy();
    if name.ends_with(".sqlite") {
        let database = rusqlite::Connection::open(path).expect("a database");
        let mut query = database.prepare("SELECT url FROM page").expect("the table is there");
        let rows = query.query_map([], |row| row.get(0)).expect("rows");
        return rows.map(|row| row.expect("a URL")).collect();
    }
    let mut bytes = fs::read(path).expect("an output");
    if name.ends_with(".gz") {
        let mut unpacked = Vec::new();
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).expect("whole gzip members");
        bytes = unpacked;
    }
    if name.contains(".warc") {
        return warc_records(&bytes)
            .iter()
            .filter(|record| record.kind == "metadata")
            .map(|record| {
                assert!(record.head.contains("\r\nWARC-Target-URI: http"), "{}", record.head);
                let fields = String::from_utf8(record.block.clone()).expect("text");
                let json = fields.lines().find_map(|line| line.strip_prefix("rungs: ")).expect("the field");
                let about: Value = serde_json::from_str(json).expect("JSON in a metadata record");
                about["url"].as_str().expect("a URL").to_owned()
            })
            .collect();
    }
    if name.ends_with(".csv") {
        let mut reader = csv::Reader::from_reader(&bytes[..]);
        return reader.records().map(|record| record.expect("a whole line")[0].to_owned()).collect();
    }
    let text = String::from_utf8(bytes).expect("JSON is UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
    text.lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("JSON")["url"].as_str().expect("a URL").to_owned()
        })
        .collect()
}

#[test]
fn an_archive_has_each_request_as_sent_except_for_secrets() {
    let server = RawServer::start(|conn| {
        conn.read_head()?;
        conn.read_bytes("password=s3nt".len())?;
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\na page")
    });
    for tier in ["plain", "impersonate"] {
        let program = Program::new();
        fs::write(program.home().join("list"), server.url("/p?q=1")).expect("a list is written");
        let run = program.run([
            "batch",
            "list",
            "--out",
            "o.warc",
            "--tier",
            tier,
            "--robots",
            "ignore",
            "--no-progress",
            "-H",
            "X-Api-Key: swordfish",
            "-H",
            "Accept-Language: fy",
            "-b",
            "mine=c00kie",
            "-d",
            "password=s3nt",
        ]);
        assert_eq!(run.code, 0, "{run}");
        let records = warc_records(&fs::read(program.home().join("o.warc")).expect("an archive"));
        let block = |kind: &str| {
            let record = records.iter().find(|record| record.kind == kind).expect("it is there");
            String::from_utf8(record.block.clone()).expect("text")
        };
        let heard = server.heads().pop().expect("a request");
        assert!(heard.starts_with("POST /p?q=1 HTTP/1.1\r\n") && heard.contains("swordfish"), "{heard}");
        let expected = ["swordfish", "mine=c00kie"]
            .iter()
            .fold(heard, |head, secret| head.replace(secret, "***"))
            .replace("Content-Length:", "x-orig-Content-Length:")
            .replace("\r\ncontent-length:", "\r\nx-orig-content-length:");
        assert_eq!(block("request"), expected, "on {tier}");
    }
}

#[test]
fn ctrl_c_ends_a_batch_that_waits_for_more_input_and_the_next_run_goes_on() {
    let server = RawServer::start(support::keep_answering);
    let list: String = (0..3).map(|n| server.url(&format!("/{n}\n"))).collect();
    let arguments = || ["batch", "-", "--out", "o.jsonl", "--robots", "ignore"].into_iter().chain(COMMON);
    let program = Program::new().input(list.clone()).keep_stdin_open();
    let out = program.home().join("o.jsonl");
    let run = program.start(arguments());
    until("3 records", || fs::read_to_string(&out).unwrap_or_default().lines().count() >= 3);
    run.signal(Signal::INT);
    let run = run.finish();
    assert_eq!(run.code, 130, "{run}");
    assert!(run.stderr.contains("run the same command again to resume"), "{run}");
    let program = program.input(list + &server.url("/3\n")).close_stdin();
    let run = program.run(arguments());
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.contains("resuming: 3 finished in earlier runs"), "{run}");
    assert_eq!(counted(&out).into_values().collect::<Vec<_>>(), [1; 4], "each once");
    assert_eq!(server.heads().len(), 4, "and asked for once");
}

#[test]
fn killed_at_any_moment_a_batch_ends_with_each_record_once_in_every_format() {
    let nginx = Nginx::start(&Certs::new());
    for (at, out) in ["out.jsonl", "out.csv", "out.warc.gz", "out.sqlite"].into_iter().enumerate() {
        let program = Program::new();
        let urls = list(&program, &nginx, 1500);
        let path = program.home().join(out);
        let arguments = [&["batch", "urls.txt", "--out", out, "--robots", "ignore"][..], &COMMON].concat();
        let mut kills = 0;
        for part in [7_u64, 3, 2] {
            let running = program.start(arguments.iter());
            // Killed when the journal has this length, at whatever point the run is then.
            let enough = 1500 * 21 / part + at as u64 * 37;
            let journal = program.home().join(format!("{out}.ckpt"));
            until(&format!("{enough} bytes in the journal"), || {
                fs::metadata(&journal).map_or(0, |meta| meta.len()) >= enough
            });
            running.signal(Signal::KILL);
            kills += usize::from(running.finish().code == 128 + 9);
        }
        let run = program.run(arguments.iter());
        assert_eq!(run.code, 0, "{run}");
        assert_eq!(kills, 3, "all kills came before the end");
        let counts = counted(&path);
        assert_eq!(counts.len(), urls.len(), "{out}");
        assert!(urls.iter().all(|url| counts.get(url) == Some(&1)), "{out}: each once");
        let meta = fs::read(program.home().join(format!("{out}.meta.json"))).expect("how it ended");
        let meta: Value = serde_json::from_slice(&meta).expect("JSON");
        assert_eq!((&meta["succeeded"], &meta["complete"]), (&1500.into(), &true.into()), "{meta}");
        assert!(nginx.visits(1).len() < (at + 1) * (1500 + 3 * 400), "little is fetched twice");
    }
}

#[test]
fn a_line_may_have_settings_of_its_own_and_a_bad_one_fails_alone() {
    let server = RawServer::start(|conn: &mut RawConnection| {
        let head = conn.read_head()?;
        let length = head
            .to_lowercase()
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next()?.parse().ok());
        let body = conn.read_bytes(length.unwrap_or(0))?;
        let echo = format!("{head}{}", String::from_utf8_lossy(&body));
        conn.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{echo}", echo.len()))
    });
    let program = Program::new();
    let mut text = String::new();
    let _ = writeln!(text, "# a list\n\n{}\nnot a url", server.url("/plain"));
    let _ = writeln!(
        text,
        r#"{{"url":"{}","method":"PUT","headers":{{"x-mine":"yes"}},"body":"q=1"}}"#,
        server.url("/put")
    );
    let _ = writeln!(text, "{}#again\n{{\"url\":1}}", server.url("/plain"));
    fs::write(program.home().join("urls.txt"), text).expect("a list is written");
    let run = batch(&program, &["urls.txt", "--robots", "ignore", "-H", "X-All: too"]);
    assert_eq!(run.code, 8, "{run}");
    let records: Vec<Value> =
        run.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(records.len(), 4, "{run}");
    let of = |end: &str| {
        records.iter().find(|record| record["url"].as_str().is_some_and(|url| url.ends_with(end)))
    };
    let put = of("/put").expect("it was fetched")["body"].as_str().expect("a body").to_lowercase();
    assert!(
        put.starts_with("put /put") && put.contains("x-mine: yes") && put.contains("x-all: too"),
        "{put}"
    );
    assert!(put.ends_with("q=1"), "{put}");
    let bad = &of("not a url").expect("a failure has a record")["error"];
    assert_eq!(bad["kind"], "invalid_url");
    assert!(bad["message"].as_str().is_some_and(|message| message.starts_with("urls.txt:4: ")), "{bad}");
    assert!(run.stderr.contains("urls.txt:7: ") && run.stderr.contains("1 skipped as duplicates"), "{run}");
    let plain = of("/plain").expect("it was fetched");
    assert_eq!(plain["robots"], "ignored");
    for key in ["final_url", "status", "tier", "headers", "timings", "attempts", "error", "browser"] {
        assert!(plain.get(key).is_some(), "no `{key}`: {plain}");
    }
}

#[test]
fn robots_txt_is_obeyed_unless_a_flag_says_otherwise() {
    let server = RawServer::start(|conn: &mut RawConnection| {
        let head = conn.read_head()?;
        let body =
            if head.starts_with("GET /robots.txt") { "User-agent: *\nDisallow: /no\n" } else { "a page" };
        conn.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    });
    let urls = format!("{}\n{}\n", server.url("/yes"), server.url("/no"));
    for (flags, code, fetched) in [(&[][..], 8, 1), (&["--robots", "ignore"], 0, 2)] {
        let program = Program::new().input(urls.clone());
        let run = batch(&program, &[&["-"][..], flags].concat());
        assert_eq!(run.code, code, "{run}");
        let text = run.text();
        assert_eq!(text.matches("\"body\":\"a page\"").count(), fetched, "{run}");
        assert_eq!(text.contains("\"kind\":\"robots\""), flags.is_empty(), "{run}");
    }
    let program = Program::new().input(urls).variable("RUNGS_ROBOTS", "ignore");
    assert_eq!(batch(&program, &["-"]).code, 0, "what the environment says comes before the default");
}

#[test]
fn retry_failed_retries_transient_failures_of_earlier_runs_and_replaces_their_records() {
    let healthy = std::sync::Arc::new(AtomicUsize::new(0));
    let is_healthy = std::sync::Arc::clone(&healthy);
    let server = RawServer::start(move |conn: &mut RawConnection| {
        let head = conn.read_head()?;
        let status = if head.starts_with("GET /gone") {
            "404 Not Found"
        } else if head.starts_with("GET /busy") && is_healthy.load(Ordering::SeqCst) == 0 {
            "500 Internal Server Error"
        } else {
            "200 OK"
        };
        conn.send(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok"))
    });
    let paths = ["/busy/1", "/good/1", "/gone", "/busy/2", "/good/2", "/busy/3"];
    let urls: Vec<String> = paths.iter().map(|path| server.url(path)).collect();
    for out in ["out.jsonl", "out.csv", "out.warc", "out.sqlite"] {
        healthy.store(0, Ordering::SeqCst);
        let program = Program::new();
        fs::write(program.home().join("urls.txt"), urls.join("\n")).expect("a list is written");
        let arguments = ["urls.txt", "--out", out, "--robots", "ignore", "-f", "--retry", "0"];
        let run = batch(&program, &arguments);
        assert_eq!(run.code, 8, "{run}");
        assert!(run.stderr.contains("--retry-failed retries the transient failures (3)"), "{run}");
        healthy.store(1, Ordering::SeqCst);
        let run = batch(&program, &arguments);
        assert!(run.code == 8 && run.stderr.contains("6 finished in earlier runs"), "{run}");
        let before = server.heads().len();
        let run = batch(&program, &[&arguments[..], &["--retry-failed"]].concat());
        assert_eq!(run.code, 8, "the 404 stays a failure\n{run}");
        assert_eq!(server.heads().len() - before, 3, "a 404 is not asked for again\n{run}");
        assert!(run.stderr.contains("5 succeeded"), "{run}");
        let counts = counted(&program.home().join(out));
        assert!(counts.len() == 6 && counts.values().all(|count| *count == 1), "{out}: {counts:?}");
    }
}

#[test]
fn retry_failed_fetches_the_failures_of_the_first_pass_again() {
    let seen = Mutex::new(BTreeMap::<String, usize>::new());
    let server = RawServer::start(move |conn: &mut RawConnection| {
        let head = conn.read_head()?;
        let count = {
            let mut seen = seen.lock().expect("no thread panicked");
            let count = seen.entry(head.lines().next().unwrap_or_default().to_owned()).or_default();
            *count += 1;
            *count
        };
        let status = if count == 1 { "500 Internal Server Error" } else { "200 OK" };
        conn.send(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok"))
    });
    let urls: String = (0..20).map(|n| server.url(&format!("/{n}\n"))).collect();
    let program = Program::new().input(urls);
    let run = batch(&program, &["-", "--retry-failed", "--retry", "0", "-f", "--robots", "ignore"]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(run.text().lines().count(), 20, "{run}");
    assert_eq!(run.text().matches("\"status\":200").count(), 40, "of the page and of its attempt\n{run}");
}

#[test]
fn a_checkpoint_belongs_to_one_batch_and_one_process_at_a_time() {
    let server = RawServer::start(support::slow_drip);
    let program = Program::new();
    for name in ["urls.txt", "other.txt"] {
        fs::write(program.home().join(name), server.url("/")).expect("a list is written");
    }
    let arguments = ["urls.txt", "--out", "out.jsonl", "--robots", "ignore"];
    let running = program.start([&["batch"][..], &arguments, &COMMON].concat());
    until("the request", || !server.heads().is_empty());
    let run = batch(&program, &arguments);
    assert!(run.code == 3 && run.stderr.contains("out.jsonl.ckpt is in use by another run"), "{run}");
    // Twice: the dripping page would take longer than the grace period.
    running.signal(Signal::INT);
    running.wait_for_stderr("again to stop at once");
    running.signal(Signal::INT);
    let stopped = running.finish();
    assert_eq!(stopped.code, 130, "{stopped}");
    assert!(stopped.stderr.contains("run the same command again to resume"), "{stopped}");
    let run = batch(&program, &["other.txt", "--out", "out.jsonl"]);
    assert!(run.code == 3 && run.stderr.contains("urls.txt, not "), "{run}");
    let run = batch(&program, &["urls.txt", "--out", "out.jsonl", "--format", "csv"]);
    assert!(run.code == 3 && run.stderr.contains("format jsonl, not csv"), "{run}");
    fs::write(program.home().join("mine.jsonl"), "mine\n").expect("a file is written");
    for _ in 0..2 {
        let run = batch(&program, &["urls.txt", "--out", "mine.jsonl"]);
        assert!(run.code == 3 && run.stderr.contains("exists already"), "{run}");
    }
    assert_eq!(fs::read_to_string(program.home().join("mine.jsonl")).expect("a file"), "mine\n");
    let run = batch(&program, &["missing.txt"]);
    assert!(run.code == 3 && run.stderr.contains("could not read missing.txt"), "{run}");
    assert_eq!(batch(&program, &[]).code, 2);
}

#[test]
fn a_hanging_host_does_not_delay_other_hosts() {
    let hanging = RawServer::start(|conn: &mut RawConnection| {
        conn.read_head()?;
        conn.hold_open()
    });
    let quick = RawServer::start(support::answer("a page"));
    let program = Program::new();
    let mut text = String::new();
    for n in 0..50 {
        let _ = writeln!(text, "{}", hanging.url(&format!("/{n}")));
    }
    for n in 0..50 {
        let _ = writeln!(text, "{}", quick.url(&format!("/{n}")));
    }
    fs::write(program.home().join("urls.txt"), text).expect("a list is written");
    let arguments = [
        "batch",
        "urls.txt",
        "--out",
        "out.jsonl",
        "--robots",
        "ignore",
        "--concurrency",
        "2",
        "--host-concurrency",
        "1",
    ];
    let running = program.start([&arguments[..], &COMMON].concat());
    let out = program.home().join("out.jsonl");
    until("50 records", || fs::read_to_string(&out).unwrap_or_default().lines().count() >= 50);
    assert_eq!(hanging.connections(), 1);
    running.signal(Signal::INT);
    running.wait_for_stderr("again to stop at once");
    running.signal(Signal::INT);
    assert_eq!(running.finish().code, 130);
    assert!(urls_in(&out).iter().all(|url| url.starts_with(&quick.url("/"))));
}

#[test]
fn a_batch_ends_with_code_0_when_the_reader_closes_the_pipe() {
    let nginx = Nginx::start(&Certs::new());
    let program = Program::new();
    list(&program, &nginx, 2000);
    let mut child = Command::new(env!("CARGO_BIN_EXE_rungs"))
        .args([&["batch", "urls.txt", "--robots", "ignore"][..], &COMMON].concat())
        .current_dir(program.home())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built with the tests");
    let mut some = [0; 1000];
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut some).expect("it writes");
    drop(stdout);
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn a_full_disk_is_reported_and_finished_records_stay_whole() {
    let nginx = Nginx::start(&Certs::new());
    let program = Program::new();
    list(&program, &nginx, 10);
    let run = batch(&program, &["urls.txt", "--out", "/dev/full", "--robots", "ignore"]);
    assert_eq!(run.code, 1, "{run}");
    assert!(
        run.stderr.contains("could not write /dev/full") && run.stderr.contains("free disk space"),
        "{run}"
    );
}

#[test]
fn bodies_go_to_files_named_by_their_content() {
    let nginx = Nginx::start(&Certs::new());
    let program = Program::new();
    let urls = [nginx.url(Site::Clear, "/page/hello"), nginx.url(Site::Clear, "/page/hello?again")];
    fs::write(program.home().join("urls.txt"), urls.join("\n")).expect("a list is written");
    let run = batch(&program, &["urls.txt", "--save-dir", "bodies", "--robots", "ignore"]);
    assert_eq!(run.code, 0, "{run}");
    let files: Vec<String> = run
        .text()
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("JSON")["file"].as_str().expect("a file").to_owned()
        })
        .collect();
    assert_eq!(files[0], files[1], "one body, one file");
    assert!(
        files[0].starts_with("bodies/") && Path::new(&files[0]).extension() == Some("html".as_ref()),
        "{}",
        files[0]
    );
    assert_eq!(fs::read(program.home().join(&files[0])).expect("a file"), nginx.page("hello"));
    assert!(!run.text().contains("\"body\":"), "{run}");
}

#[test]
fn a_sitemap_is_followed_through_its_index() {
    let lower = std::sync::Arc::new(Mutex::new(Vec::new()));
    let second = std::sync::Arc::clone(&lower);
    let server = RawServer::start(move |conn: &mut RawConnection| {
        let head = conn.read_head()?;
        let body = match head.split(' ').nth(1).unwrap_or_default() {
            "/sitemap.xml" => {
                let host = head
                    .to_lowercase()
                    .split("host: ")
                    .nth(1)
                    .and_then(|rest| rest.split("\r\n").next().map(ToOwned::to_owned))
                    .unwrap_or_default();
                format!("<sitemapindex><sitemap><loc>http://{host}/two.xml.gz</loc></sitemap></sitemapindex>")
                    .into_bytes()
            }
            "/two.xml.gz" => second.lock().expect("no thread panicked").clone(),
            _ => b"a page".to_vec(),
        };
        conn.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()))?;
        conn.send(body)
    });
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut listed = String::new();
    for path in ["/a", "/b"] {
        let _ = write!(listed, "<url><loc>{}</loc></url>", server.url(path));
    }
    write!(packer, "<urlset>{listed}<url><loc>http://10.0.0.1/</loc></url></urlset>")
        .expect("a Vec takes all");
    *lower.lock().expect("no thread panicked") = packer.finish().expect("a Vec takes all");
    let run = batch(&Program::new(), &["--sitemap", &server.url("/sitemap.xml"), "--robots", "ignore"]);
    assert_eq!(run.code, 8, "the page of another site is skipped and reported\n{run}");
    assert_eq!(run.text().matches("\"body\":\"a page\"").count(), 2, "{run}");
    assert!(run.text().contains("belongs to another site"), "{run}");
}

/// Counts the calls of each method.
#[derive(Clone, Default)]
struct Counting(std::sync::Arc<[AtomicUsize; 3]>);

impl Observer for Counting {
    fn on_start(&self, _: &FetchRef<'_>) {
        self.0[0].fetch_add(1, Ordering::SeqCst);
    }

    fn on_attempt(&self, _: &FetchRef<'_>, _: &rungs::Attempt) {
        self.0[1].fetch_add(1, Ordering::SeqCst);
    }

    fn on_finish(&self, _: &FetchRef<'_>, record: &Record) {
        assert!(record.outcome().is_ok());
        self.0[2].fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_gets_each_page_once_over_two_runs() {
    let nginx = Nginx::start(&Certs::new());
    let folder = tempfile::tempdir().expect("a folder");
    let urls: Vec<String> = (0..60).map(|n| nginx.url(Site::Clear, &format!("/echo?n={n}"))).collect();
    let counting = Counting::default();
    let begin = || {
        let fetcher = Fetcher::builder().max_tier(rungs::Tier::Plain).build().expect("a fetcher");
        let batch = Batch::new(fetcher).concurrency(8).observer(counting.clone());
        batch.checkpoint(folder.path().join("run.ckpt")).run(urls.clone()).expect("it begins")
    };
    let mut got = Vec::new();
    let mut run = begin();
    while got.len() < 25 {
        let done = run.next().await.expect("there is more");
        assert_eq!(done.result.expect("a page").status(), 200);
        got.push(done.url);
    }
    let summary = run.finish().await.expect("it ends well");
    assert_eq!((summary.progress.counters.attempted, summary.complete), (25, false));
    let mut run = begin();
    assert_eq!(run.handle().progress().resumed, 25);
    while let Some(done) = run.next().await {
        got.push(done.url);
    }
    let summary = run.finish().await.expect("it ends well");
    assert_eq!((summary.progress.counters.succeeded, summary.complete), (60, true));
    got.sort();
    let mut expected = urls.clone();
    expected.sort();
    assert_eq!(got, expected);
    let [starts, attempts, ends] = [0, 1, 2].map(|at| counting.0[at].load(Ordering::SeqCst));
    assert!(starts >= ends && attempts >= ends && ends >= 60, "{starts} {attempts} {ends}");
}

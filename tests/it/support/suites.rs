//! The detection suites on a loopback server, and a manually started browser to compare with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;

use super::daemon::program;
use super::raw::{RawConnection, RawServer};

/// Held by each test that runs several browsers. At the same time such tests would starve each other.
pub(crate) static BROWSER_LOCK: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A server of `fixtures/suites` that stores the report of each run's page.
pub(crate) struct SuiteServer {
    server: RawServer,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    runs: Mutex<BTreeMap<String, Run>>,
    news: Condvar,
}

/// The headers and the report of one run.
#[derive(Clone, Debug, Default)]
struct Run {
    headers: BTreeMap<String, String>,
    report: Option<Value>,
    /// Traps in the page's main world that a driver triggered.
    late: BTreeSet<String>,
}

impl SuiteServer {
    pub(crate) fn start() -> Self {
        let heard = Arc::new(Heard::default());
        let of_server = Arc::clone(&heard);
        let server = RawServer::start(move |conn| exchange(conn, &of_server));
        Self { server, heard }
    }

    /// The URL of the suites' page for this run.
    pub(crate) fn url(&self, run: &str) -> String {
        self.server.url(&format!("/own/suite.html?run={run}"))
    }

    /// Waits for the page's report: facts by place (page, frame, worker …) under `there`.
    pub(crate) fn report(&self, run: &str) -> Value {
        let runs = self.heard.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = |runs: &mut BTreeMap<String, Run>| runs.get(run).is_none_or(|run| run.report.is_none());
        let (runs, _) = self
            .heard
            .news
            .wait_timeout_while(runs, PATIENCE, missing)
            .expect("no handler panicked while it wrote");
        let report = runs.get(run).and_then(|run| run.report.clone());
        report.unwrap_or_else(|| panic!("the suites' page of `{run}` reported nothing"))
    }

    /// The flags raised in this run: each says that the browser is automated. A broken check counts as a flag.
    pub(crate) fn raised(&self, run: &str) -> BTreeSet<String> {
        let report = self.report(run);
        let failed = report["failed"].as_array().expect("a list").iter();
        let flags = report["flags"].as_object().expect("flags by name");
        let raised = flags.iter().filter(|(_, flag)| **flag == Value::Bool(true));
        let late = self.heard.lock().get(run).map(|run| run.late.clone()).unwrap_or_default();
        let raised = raised.map(|(name, _)| name.clone());
        let late = late.iter().map(|what| format!("read.{what}"));
        raised.chain(late).chain(failed.map(|what| format!("broken: {what}"))).collect()
    }

    /// The number of flags that the suites can raise in this run.
    pub(crate) fn flags(&self, run: &str) -> usize {
        self.report(run)["flags"].as_object().map_or(0, serde_json::Map::len)
    }
}

impl Heard {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, run: &str, change: impl FnOnce(&mut Run)) {
        change(self.lock().entry(run.to_owned()).or_default());
        self.news.notify_all();
    }
}

fn exchange(conn: &mut RawConnection, heard: &Heard) -> io::Result<()> {
    let request = conn.read_head()?;
    let mut lines = request.lines();
    let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or("/").to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let run = query.strip_prefix("run=").unwrap_or_default();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let body = conn.read_bytes(length)?;
    match path {
        "/own/suite.html" => heard.record(run, |run| run.headers = headers),
        "/report" => {
            let report = serde_json::from_slice(&body).expect("the page reports JSON");
            heard.record(run, |run| run.report = Some(report));
        }
        "/late" => {
            let what = String::from_utf8_lossy(&body).into_owned();
            heard.record(run, |run| run.late.extend([what]));
        }
        _ => {}
    }
    let (status, kind, body) = match path {
        "/report" | "/late" => ("204 No Content", "text/plain", Vec::new()),
        "/heard" => {
            let headers = heard.lock().get(run).map(|run| run.headers.clone()).unwrap_or_default();
            ("200 OK", "application/json", serde_json::to_vec(&headers).expect("a map of texts"))
        }
        "/botd.esm.js" => ("200 OK", "text/javascript", fs::read(folder().join("botd/botd.esm.js"))?),
        _ => match path.strip_prefix("/own/").filter(|name| !name.contains('/')) {
            Some(name) => {
                let kind = match name.rsplit_once('.') {
                    Some((_, "html")) => "text/html; charset=utf-8",
                    _ => "text/javascript",
                };
                ("200 OK", kind, fs::read(folder().join("own").join(name))?)
            }
            None => ("404 Not Found", "text/plain", Vec::new()),
        },
    };
    conn.send(format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    ))?;
    conn.send(body)
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/suites")
}

/// A manually started Chromium: a window under Xvfb, a URL on its command line, no driver.
pub(crate) struct ManualChromium {
    chromium: Child,
    xvfb: Child,
    _profile: TempDir,
}

impl ManualChromium {
    pub(crate) fn open(url: &str) -> Self {
        let mut xvfb = Command::new(program("Xvfb"))
            .args(["-displayfd", "1", "-screen", "0", "1920x1080x24", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb starts");
        let mut number = String::new();
        let said = xvfb.stdout.take().expect("it is piped");
        BufReader::new(said).read_line(&mut number).expect("Xvfb says its display");
        let profile = tempfile::Builder::new().prefix("rungs-hand-").tempdir().expect("a folder");
        let chromium =
            Command::new(rungs::lab::Chromium::find().expect("Chromium is installed: `make deps`"))
                .args(["--no-first-run", "--no-default-browser-check", "--password-store=basic"])
                .args(rustix::process::geteuid().is_root().then_some("--no-sandbox"))
                .arg(format!("--user-data-dir={}", profile.path().display()))
                .arg(url)
                .env("DISPLAY", format!(":{}", number.trim()))
                .env_remove("WAYLAND_DISPLAY")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()
                .expect("Chromium starts");
        Self { chromium, xvfb, _profile: profile }
    }
}

impl Drop for ManualChromium {
    fn drop(&mut self) {
        // An error means that the process has already ended.
        let _ = kill_process_group(Pid::from_child(&self.chromium), Signal::KILL);
        let _ = self.chromium.wait();
        let _ = kill_process(Pid::from_child(&self.xvfb), Signal::TERM);
        let _ = self.xvfb.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(150);

//! Records many clients with one recorder, and compares each with the installed Chromium, layer by layer.
//!
//! `wire CLIENT...`: every CLIENT is a command that takes `CA_FILE HOST PORT URL...`, prints its name and version on the
//! first line of stdout, and fetches the URLs in order in one session. Prints Markdown.

mod layer;
mod voice;

use std::error::Error;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rungs::lab::{Authority, Chromium, Exchange, LaunchOptions, RecordedConnection, Recorder, Reply};
use rungs::{Fetcher, Tier};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use voice::{AGAIN, ClientRecording, FIRST, RESUMED};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const HOST: &str = "one.test";
const LIMIT: Duration = Duration::from_secs(60);
/// How often the bench makes Chromium open a new connection.
const ROUNDS: usize = 5;
/// Time for frames that follow a response: session tickets, GOAWAY.
const SETTLE: Duration = Duration::from_millis(300);

#[tokio::main]
async fn main() -> Result<()> {
    let authority = Arc::new(Authority::new(&[HOST])?);
    let recorder = Recorder::builder().tls(Arc::clone(&authority), &["h2", "http/1.1"]).start(site).await?;
    let folder = tempfile::tempdir()?;
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.ca_pem())?;
    let bench = Bench { authority, recorder, ca: &ca };

    let reference = bench.chromium().await?;
    let mut others = vec![bench.rungs().await?];
    for command in std::env::args().skip(1) {
        match bench.command(&command).await {
            Ok(recording) => others.push(recording),
            Err(error) => eprintln!("{command}: {error}; left out"),
        }
    }
    print!("{}", layer::table(&reference, &others));
    Ok(())
}

/// The recorder that clients connect to, one after the other.
struct Bench<'a> {
    authority: Arc<Authority>,
    recorder: Recorder,
    ca: &'a Path,
}

impl Bench<'_> {
    fn urls(&self) -> [String; 3] {
        [FIRST, AGAIN, RESUMED].map(|path| format!("https://{HOST}:{}{path}", self.recorder.addr().port()))
    }

    async fn chromium(&self) -> Result<ClientRecording> {
        let binary = Chromium::find().ok_or("Chromium is not installed; run `make deps`")?;
        let version = Command::new(&binary).arg("--version").output().await?.stdout;
        let name = String::from_utf8_lossy(&version).split(" built").next().unwrap_or("").trim().to_owned();
        self.recorder.clear();
        let chromium = Chromium::start(LaunchOptions {
            pin: Some(self.authority.pin()?),
            rules: Some("MAP *.test 127.0.0.1".to_owned()),
            ..LaunchOptions::default()
        })
        .await?;
        let [first, again, resumed] = self.urls();
        self.open(&chromium, &first, FIRST).await?;
        // A spare connection may serve the third request, but spare connections run out.
        for _ in 0..ROUNDS {
            self.open(&chromium, &again, AGAIN).await?;
            self.open(&chromium, &resumed, RESUMED).await?;
            if self.recorder.connections().iter().any(|connection| connection.resumed) {
                break;
            }
        }
        let recording = ClientRecording::from_clients(name, &self.recorder.clients())
            .filter(ClientRecording::is_whole)
            .ok_or("the recording of Chromium is incomplete; try again")?;
        chromium.stop().await?;
        Ok(recording)
    }

    async fn open(&self, chromium: &Chromium, url: &str, path: &str) -> Result<()> {
        let count = |all: &[RecordedConnection]| {
            all.iter().flat_map(|c| &c.requests).filter(|r| r.path == path).count()
        };
        let before = count(&self.recorder.connections());
        chromium.open(url).await?;
        if !self.recorder.wait_until(LIMIT, |all| count(all) > before).await {
            return Err(format!("timed out after {LIMIT:?} waiting for Chromium to request {path}").into());
        }
        sleep(SETTLE).await;
        Ok(())
    }

    async fn rungs(&self) -> Result<ClientRecording> {
        self.recorder.clear();
        let fetcher = Fetcher::builder()
            .min_tier(Tier::Impersonate)
            .max_tier(Tier::Impersonate)
            .ca_file(self.ca)
            .resolve(HOST, self.recorder.addr().port(), "127.0.0.1".parse()?)
            .build()?;
        for url in self.urls() {
            fetcher.get(url).send().await?;
            sleep(SETTLE).await;
        }
        let name = format!("**rungs** {}", rungs::default_profile()?.profile.name);
        ClientRecording::from_clients(name, &self.recorder.clients())
            .ok_or_else(|| "the recorder received no request".into())
    }

    async fn command(&self, command: &str) -> Result<ClientRecording> {
        self.recorder.clear();
        let child = Command::new("sh")
            .args(["-c", &format!("exec {command} \"$@\""), "client"])
            .arg(self.ca)
            .args([HOST, &self.recorder.addr().port().to_string()])
            .args(self.urls())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(LIMIT, child).await??;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let name = stdout.lines().next().ok_or("the client printed no name")?.trim().to_owned();
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            eprintln!("{name}: ended with {}: {}", output.status, stderr.lines().last().unwrap_or_default());
        }
        ClientRecording::from_clients(name, &self.recorder.clients())
            .ok_or_else(|| "the recorder received no request".into())
    }
}

/// The second response closes its connection, so that the third request needs a new one.
fn site(exchange: &Exchange) -> Reply {
    match exchange.request.path.as_str() {
        AGAIN => Reply::html(200, QUIET).close_after(),
        _ => Reply::html(200, QUIET),
    }
}

/// A page that causes no further requests, not even for an icon.
const QUIET: &str = "<!doctype html><link rel=icon href='data:,'><title>page</title><p>Some words.";

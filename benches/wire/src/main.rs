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

use rungs::lab::{Authority, Chromium, Connection, Heard, Launch, Recorder, Reply};
use rungs::{Fetcher, Tier};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use voice::{AGAIN, FIRST, RESUMED, Voice};

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
    let booth = Booth { authority, recorder, ca: &ca };

    let reference = booth.chromium().await?;
    let mut others = vec![booth.rungs().await?];
    for command in std::env::args().skip(1) {
        match booth.command(&command).await {
            Ok(voice) => others.push(voice),
            Err(error) => eprintln!("{command}: {error}; left out"),
        }
    }
    print!("{}", layer::table(&reference, &others));
    Ok(())
}

/// The recorder that clients connect to, one after the other.
struct Booth<'a> {
    authority: Arc<Authority>,
    recorder: Recorder,
    ca: &'a Path,
}

impl Booth<'_> {
    fn urls(&self) -> [String; 3] {
        [FIRST, AGAIN, RESUMED].map(|path| format!("https://{HOST}:{}{path}", self.recorder.addr().port()))
    }

    async fn chromium(&self) -> Result<Voice> {
        let binary = Chromium::find().ok_or("there is no Chromium; `make deps` installs it")?;
        let version = Command::new(&binary).arg("--version").output().await?.stdout;
        let name = String::from_utf8_lossy(&version).split(" built").next().unwrap_or("").trim().to_owned();
        self.recorder.clear();
        let chromium = Chromium::start(Launch {
            pin: Some(self.authority.pin()?),
            rules: Some("MAP *.test 127.0.0.1".to_owned()),
            ..Launch::default()
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
        let voice = Voice::of(name, &self.recorder.clients())
            .filter(Voice::is_whole)
            .ok_or("Chromium did not say all there is to compare with; try again")?;
        chromium.stop().await?;
        Ok(voice)
    }

    async fn open(&self, chromium: &Chromium, url: &str, path: &str) -> Result<()> {
        let count =
            |all: &[Connection]| all.iter().flat_map(|c| &c.requests).filter(|r| r.path == path).count();
        let before = count(&self.recorder.connections());
        chromium.open(url).await?;
        if !self.recorder.until(LIMIT, |all| count(all) > before).await {
            return Err(format!("Chromium did not ask for {path}").into());
        }
        sleep(SETTLE).await;
        Ok(())
    }

    async fn rungs(&self) -> Result<Voice> {
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
        let name = format!("**rungs** {}", rungs::DEFAULT_PROFILE);
        Voice::of(name, &self.recorder.clients()).ok_or_else(|| "it was not heard".into())
    }

    async fn command(&self, command: &str) -> Result<Voice> {
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
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let name = said.lines().next().ok_or("it did not say who it is")?.trim().to_owned();
        if !output.status.success() {
            let talk = String::from_utf8_lossy(&output.stderr).into_owned();
            eprintln!("{name}: ended with {}: {}", output.status, talk.lines().last().unwrap_or_default());
        }
        Voice::of(name, &self.recorder.clients()).ok_or_else(|| "it was not heard".into())
    }
}

/// The second response closes its connection, so that the third request needs a new one.
fn site(heard: &Heard) -> Reply {
    match heard.request.path.as_str() {
        AGAIN => Reply::html(200, QUIET).closing(),
        _ => Reply::html(200, QUIET),
    }
}

/// A page that causes no further requests, not even for an icon.
const QUIET: &str = "<!doctype html><link rel=icon href='data:,'><title>page</title><p>Some words.";

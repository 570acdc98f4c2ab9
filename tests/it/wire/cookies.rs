//! The cookies of the HTTP tiers and of the installed Chromium: the same responses, then the same requests.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rungs::lab::{Authority, Chromium, Exchange, LaunchOptions, Recorder, Reply};
use rungs::{Fetcher, Tier};

use crate::support::captured_profile;

#[path = "cookie_rows.rs"]
mod rows;

use rows::{Row, Step};

const LIMIT: Duration = Duration::from_secs(60);
/// Redirects of one navigation. Chromium follows 20, rungs 10 by default.
const CHROMIUM_HOPS: usize = 18;
const RUNGS_HOPS: usize = 10;

/// What to reply to each step, and the cookies that arrived with it.
#[derive(Default)]
struct Script {
    replies: HashMap<String, Reply>,
    cookies: HashMap<String, String>,
}

/// One site over http and one over https. Both follow one script.
struct Sites {
    script: Arc<Mutex<Script>>,
    http: Recorder,
    https: Recorder,
    authority: Arc<Authority>,
}

impl Sites {
    async fn start() -> Self {
        let authority = Arc::new(Authority::new(&["site.example"]).expect("a CA can be made"));
        let script = Arc::new(Mutex::new(Script::default()));
        let handler = |script: &Arc<Mutex<Script>>| {
            let script = Arc::clone(script);
            move |heard: &Exchange| answer(&mut script.lock().expect("a lock"), heard)
        };
        let http = Recorder::builder().start(handler(&script)).await.expect("the recorder listens");
        let https = Recorder::builder().tls(Arc::clone(&authority), &["http/1.1"]);
        let https = https.start(handler(&script)).await.expect("the recorder listens");
        Self { script, http, https, authority }
    }

    fn url(&self, step: &Step, id: &str) -> String {
        let port = if step.scheme == "https" { self.https.addr().port() } else { self.http.addr().port() };
        format!("{}://{}:{port}{}?{id}", step.scheme, step.host, step.path)
    }

    /// Scripts all steps as chains of redirects of at most `hops` requests. Returns the first URL and the last step of
    /// each chain.
    fn plan(&self, rows: &[Row], hops: usize) -> Vec<(String, String)> {
        let mut script = self.script.lock().expect("a lock");
        *script = Script::default();
        let mut chains: Vec<Vec<(String, &Step)>> = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            if chains.last().is_none_or(|chain| chain.len() + row.steps.len() > hops) {
                chains.push(Vec::new());
            }
            let chain = chains.last_mut().expect("one was added");
            chain.extend(row.steps.iter().enumerate().map(|(k, step)| (step_id(number, k), step)));
        }
        let end = Step::get("http", "end.test", "/");
        let mut starts = Vec::new();
        for (number, mut chain) in chains.into_iter().enumerate() {
            chain.push((format!("end{number}"), &end));
            for (k, (id, step)) in chain.iter().enumerate() {
                let reply = match chain.get(k + 1) {
                    Some((next, to)) => Reply::redirect(302, self.url(to, next)),
                    None => Reply::html(200, PAGE),
                };
                let add = |reply: Reply, line: &String| reply.header("set-cookie", line.clone());
                script.replies.insert(id.clone(), step.set.iter().fold(reply, add));
            }
            let (last, _) = chain.last().expect("a chain has an end");
            starts.push((self.url(chain[0].1, &chain[0].0), last.clone()));
        }
        starts
    }

    fn cookies(&self) -> HashMap<String, String> {
        std::mem::take(&mut self.script.lock().expect("a lock").cookies)
    }

    async fn chromium(&self, rows: &[Row]) -> HashMap<String, String> {
        let chains = self.plan(rows, CHROMIUM_HOPS);
        let chromium = Chromium::start(LaunchOptions {
            pin: Some(self.authority.pin().expect("the leaf has a key")),
            rules: Some("MAP * 127.0.0.1".to_owned()),
            switches: vec!["--disable-features=HttpsUpgrades".to_owned()],
            ..LaunchOptions::default()
        })
        .await
        .expect("Chromium starts; `make deps` installs it");
        for (start, last) in chains {
            chromium.open(&start).await.expect("Chromium opens a page");
            let ended = self.http.wait_until(LIMIT, |all| {
                all.iter()
                    .any(|c| c.requests.iter().any(|request| request.path.ends_with(&format!("?{last}"))))
            });
            assert!(ended.await, "Chromium did not reach {last}");
        }
        chromium.stop().await.expect("Chromium ends");
        self.cookies()
    }

    async fn rungs(&self, tier: Tier, rows: &[Row]) -> HashMap<String, String> {
        let local: IpAddr = "127.0.0.1".parse().expect("an address");
        let fetcher = Fetcher::builder()
            .min_tier(tier)
            .max_tier(tier)
            .browser_profile(captured_profile())
            .insecure(true)
            .resolve("*", self.http.addr().port(), local)
            .resolve("*", self.https.addr().port(), local)
            .build()
            .expect("the settings are good");
        for (start, last) in self.plan(rows, RUNGS_HOPS) {
            let response = fetcher.get(&start).send().await;
            assert!(response.is_ok(), "{tier:?} did not reach {last}: {response:?}");
        }
        self.cookies()
    }
}

/// Records the request's cookies and replies as scripted.
fn answer(script: &mut Script, heard: &Exchange) -> Reply {
    let id = heard.request.path.split_once('?').map_or("", |(_, id)| id);
    let Some(reply) = script.replies.get(id).cloned() else { return Reply::status(404) };
    let fields = heard.request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cookie"));
    let cookies: Vec<_> = fields.map(|(_, value)| value.as_str()).collect();
    script.cookies.insert(id.to_owned(), cookies.join("; "));
    reply
}

fn step_id(row: usize, step: usize) -> String {
    format!("row{row}step{step}")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_has_the_cookies_that_chromium_sends() {
    let rows = rows::all();
    assert!(rows.iter().flat_map(|row| &row.steps).map(|step| step.set.len()).sum::<usize>() >= 300);
    let sites = Sites::start().await;
    let theirs = sites.chromium(&rows).await;
    let sent = theirs.values().filter(|cookies| !cookies.is_empty()).count();
    assert!(sent > 300, "Chromium sent cookies in {sent} requests only");
    for tier in [Tier::Plain, Tier::Impersonate] {
        let ours = sites.rungs(tier, &rows).await;
        let mut wrong = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            for (k, step) in row.steps.iter().enumerate() {
                let id = step_id(number, k);
                let (ours, theirs) = (ours.get(&id), theirs.get(&id));
                assert!(theirs.is_some(), "Chromium did not request {step:?}");
                if ours != theirs {
                    let lines: Vec<_> = row.steps.iter().flat_map(|step| &step.set).collect();
                    wrong.push(format!("{lines:?} to {step:?}: {ours:?}, Chromium {theirs:?}"));
                }
            }
        }
        let steps: usize = rows.iter().map(|row| row.steps.len()).sum();
        println!("{tier:?}: {} of {steps} requests in {} rows differ", wrong.len(), rows.len());
        assert!(wrong.is_empty(), "{tier:?}: {} of {steps} differ\n{}", wrong.len(), wrong.join("\n"));
    }
}

/// A page for which the browser makes no further requests, not even for its icon.
const PAGE: &str =
    "<!doctype html><link rel=icon href='data:,'><title>page</title><p>A page with some words.</p>";

//! Driving a browser, or the impersonate tier, through all scenarios against one recorder a way to listen.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use tokio::time::sleep;

use super::authority::Authority;
use super::chromium::{Chromium, Launch};
use super::devtools::{DevTools, Tab};
use super::record::{Connection, HeardRequest};
use super::recorder::Recorder;
use super::scenario::{self, Act, Ask, HELLOS, IDLE, Place, SCENARIOS, Scenario};
use crate::error::{Error, Result};
use crate::fetcher::Fetcher;
use crate::fingerprint::Profile;
use crate::fingerprint::profile::Over;
use crate::kind::ErrorKind;
use crate::tier::Tier;

/// How long a request may take to be heard.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long to wait for what should not come any more.
const QUIET: Duration = Duration::from_millis(80);

/// All that one client said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recording {
    /// Who it was, for example `Chrome/156.0.8078.79`.
    pub client: String,
    /// What it says of its version when asked on the command line.
    pub version: String,
    /// What its scripts see: `userAgent`, `languages`, `platform`, `brands` and more.
    pub page: serde_json::Value,
    /// First connections, to tell what is random from what is fixed.
    pub hellos: Vec<Connection>,
    /// What was heard, by scenario and way (`form/h2`).
    pub scenarios: BTreeMap<String, Vec<Connection>>,
}

impl Recording {
    /// Nothing heard yet.
    const fn begin(client: String, version: String) -> Self {
        Self {
            client,
            version,
            page: serde_json::Value::Null,
            hellos: Vec::new(),
            scenarios: BTreeMap::new(),
        }
    }
}

impl Recording {
    /// The requests of a scenario in order.
    pub(super) fn requests(&self, scenario: &Scenario, over: Over) -> Vec<&HeardRequest> {
        let all = self.scenarios.get(&key(scenario, over)).into_iter().flatten();
        all.flat_map(|connection| &connection.requests).collect()
    }
}

pub(super) fn key(scenario: &Scenario, over: Over) -> String {
    format!("{}/{}", scenario.name, over.name())
}

/// The recorders, one for each way to listen.
pub struct Stage {
    authority: Arc<Authority>,
    h2: Recorder,
    h1: Recorder,
    clear: Recorder,
}

impl Stage {
    /// Starts the recorders.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] or [`ErrorKind::Tls`] when one cannot listen.
    pub async fn new() -> Result<Self> {
        let hosts = scenario::hosts();
        let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let authority = Arc::new(Authority::new(&names)?);
        let others = [Place::Near, Place::Away].map(scenario::address);
        let clear = || Recorder::builder().besides(&others);
        let tls = |protocols: &[&'static str]| clear().tls(Arc::clone(&authority), protocols);
        Ok(Self {
            h2: tls(&["h2", "http/1.1"]).start(scenario::site).await?,
            h1: tls(&["http/1.1"]).start(scenario::site).await?,
            clear: clear().start(scenario::site).await?,
            authority,
        })
    }

    const fn recorder(&self, over: Over) -> &Recorder {
        match over {
            Over::H2 => &self.h2,
            Over::H1 => &self.h1,
            Over::Cleartext => &self.clear,
        }
    }

    fn url(&self, host: &str, over: Over, path: &str) -> String {
        let scheme = if over == Over::Cleartext { "http" } else { "https" };
        format!("{scheme}://{host}:{}{path}", self.recorder(over).addr().port())
    }

    /// What the browser `binary` says; `tell` hears how far it is.
    ///
    /// # Errors
    /// [`ErrorKind::Browser`] when it does not start, or a scenario does not happen: named.
    pub async fn browser(&self, binary: Option<PathBuf>, tell: &(dyn Fn(&str) + Sync)) -> Result<Recording> {
        let mut chromium = Chromium::start(Launch {
            binary,
            pin: Some(self.authority.pin()?),
            rules: Some(rules()),
            headless_agent: true,
            ..Launch::default()
        })
        .await?;
        let version = chromium.version().to_owned();
        let tools = chromium.devtools();
        let client = tools.version().await?.replace("Headless", "");
        let mut recording = Recording::begin(client, version);
        tell("hellos");
        self.h1.clear();
        for n in 0..HELLOS {
            let host = scenario::hello_host(n);
            let tab = tools.open(&self.url(&host, Over::H1, "/page")).await?;
            self.await_request(Over::H1, &host, "/page", 1, "hellos").await?;
            if n == 0 {
                tools.loaded(&tab, "/page").await?;
                recording.page = tools.evaluate(&tab, PAGE).await?;
                if let Some(agent) = recording.page["userAgent"].as_str() {
                    recording.page["userAgent"] = windowed(agent).into();
                }
            }
            tools.close(tab).await?;
        }
        recording.hellos = self.h1.connections();
        for scenario in SCENARIOS {
            for over in scenario.overs {
                tell(&key(scenario, *over));
                let heard = self.act(tools, scenario, *over).await?;
                recording.scenarios.insert(key(scenario, *over), heard);
            }
        }
        chromium.stop().await?;
        Ok(recording)
    }

    async fn act(&self, tools: &mut DevTools, scenario: &Scenario, over: Over) -> Result<Vec<Connection>> {
        let recorder = self.recorder(over);
        recorder.clear();
        let mut tabs: Vec<Tab> = Vec::new();
        let mut expected = Vec::new();
        for step in scenario.steps {
            match (step.act, tabs.last()) {
                (Act::Open | Act::OpenLater, _) => {
                    if step.act == Act::OpenLater {
                        sleep(IDLE).await;
                    }
                    let host = scenario::host(scenario.name, over, Place::Home);
                    let path = step.asks.first().map_or("/", |ask| ask.path);
                    tabs.push(tools.open(&self.url(&host, over, path)).await?);
                }
                (Act::Click, Some(tab)) => tools.click(tab).await?,
                (Act::Reload, Some(tab)) => tools.reload(tab).await?,
                (_, None) => {}
            }
            for ask in step.asks {
                expected.push(ask.ends);
                let times = expected.iter().filter(|ends| **ends == ask.ends).count();
                let (place, path) = ask.ends;
                let host = scenario::host(scenario.name, over, place);
                self.await_request(over, &host, path, times, &key(scenario, over)).await?;
            }
            if let (Some(tab), Some(ask)) = (tabs.last(), step.asks.first()) {
                tools.loaded(tab, ask.ends.1).await?;
            }
        }
        sleep(QUIET).await;
        let heard = self.heard(scenario, over);
        for tab in tabs {
            tools.close(tab).await?;
        }
        Ok(heard)
    }

    async fn await_request(
        &self,
        over: Over,
        host: &str,
        path: &str,
        times: usize,
        scenario: &str,
    ) -> Result<()> {
        let there = |all: &[Connection]| {
            let requests = all.iter().flat_map(|connection| &connection.requests);
            // A preflight is sent on top of what was asked for.
            let asked = requests.filter(|r| r.host() == host && r.path == path && r.method != "OPTIONS");
            asked.count() >= times
        };
        if self.recorder(over).until(PATIENCE, there).await {
            return Ok(());
        }
        let message = format!("the scenario `{scenario}` did not happen: {host} was not asked for {path}");
        Err(Error::new(ErrorKind::Browser, message))
    }

    /// What was heard on the scenario's own hosts, with the port taken out of it.
    fn heard(&self, scenario: &Scenario, over: Over) -> Vec<Connection> {
        let hosts = scenario::own_hosts(scenario.name, over);
        let recorder = self.recorder(over);
        let port = format!(":{}", recorder.addr().port());
        let mut connections = recorder.connections();
        for connection in &mut connections {
            connection.requests.retain(|r| hosts.iter().any(|h| h == r.host()) && r.path != "/favicon.ico");
            for request in &mut connection.requests {
                request.authority = request.authority.replace(&port, ":PORT");
                for (_, value) in &mut request.headers {
                    *value = windowed(&value.replace(&port, ":PORT"));
                }
                for field in &mut request.hpack {
                    field.value = windowed(&field.value.replace(&port, ":PORT"));
                }
            }
        }
        let named = |c: &Connection| {
            let name = c.hello.as_ref().and_then(|hello| hello.server_name());
            name.is_some_and(|name| hosts.iter().any(|host| host == name))
        };
        connections.retain(|c| !c.requests.is_empty() || named(c));
        connections
    }

    /// What the impersonate tier says as `profile`.
    ///
    /// # Errors
    /// What a fetch gives, and [`ErrorKind::Io`] without a place for a temporary file.
    pub async fn impersonate(
        &self,
        profile: Arc<Profile>,
        tell: &(dyn Fn(&str) + Sync),
    ) -> Result<Recording> {
        let unwritten = |cause| Error::new(ErrorKind::Io, "no temporary file for the CA").with_source(cause);
        let ca = NamedTempFile::new().map_err(unwritten)?;
        std::fs::write(ca.path(), self.authority.ca_pem()).map_err(unwritten)?;
        let mut builder = Fetcher::builder()
            .min_tier(Tier::Impersonate)
            .max_tier(Tier::Impersonate)
            .retries(0)
            .browser_profile(Arc::clone(&profile))
            .ca_file(ca.path());
        for over in [Over::H2, Over::H1, Over::Cleartext] {
            let port = self.recorder(over).addr().port();
            builder = builder.resolve("*", port, IpAddr::V4(Ipv4Addr::LOCALHOST));
            for scenario in SCENARIOS {
                for place in [Place::Near, Place::Away] {
                    let host = scenario::host(scenario.name, over, place);
                    builder = builder.resolve(&host, port, IpAddr::V4(scenario::address(place)));
                }
            }
        }
        let fetcher = builder.build()?;
        let mut recording =
            Recording::begin(format!("rungs as {}", profile.name), env!("CARGO_PKG_VERSION").to_owned());
        tell("hellos");
        self.h1.clear();
        for n in 0..HELLOS {
            fetcher.get(self.url(&scenario::hello_host(n), Over::H1, "/page")).send().await?;
        }
        recording.hellos = self.h1.connections();
        for scenario in SCENARIOS {
            for over in scenario.overs {
                tell(&key(scenario, *over));
                self.recorder(*over).clear();
                let session = fetcher.session(&key(scenario, *over));
                for step in scenario.steps {
                    if step.act == Act::OpenLater {
                        sleep(IDLE).await;
                    }
                    for ask in step.asks {
                        self.fetch(&session, scenario, *over, ask).await?;
                    }
                }
                if *over == Over::H2 {
                    sleep(QUIET).await;
                }
                recording.scenarios.insert(key(scenario, *over), self.heard(scenario, *over));
            }
        }
        Ok(recording)
    }

    async fn fetch(&self, session: &Fetcher, scenario: &Scenario, over: Over, ask: &Ask) -> Result<()> {
        let host = |place| scenario::host(scenario.name, over, place);
        let method = http::Method::from_bytes(ask.method.as_bytes()).unwrap_or_default();
        let mut request =
            session.request(method, self.url(&host(ask.at), over, ask.path)).context(ask.context);
        if let Some(from) = ask.from {
            request = request.header("referer", self.url(&host(Place::Home), over, from));
        }
        if let Some((media, text, times)) = ask.body {
            request = request.body(text.repeat(times));
            if let Some(media) = media {
                request = request.header("content-type", media);
            }
        }
        for (name, value) in ask.own {
            request = request.header(*name, *value);
        }
        request.send().await.map(drop)
    }
}

/// Chromium's way to say where the scenarios' hosts are. The first rule that fits counts.
fn rules() -> String {
    let rules = [("near.*", Place::Near), ("*-away.test", Place::Away), ("*.test", Place::Home)];
    rules.map(|(hosts, place)| format!("MAP {hosts} {}", scenario::address(place))).join(", ")
}

/// A headless browser names itself in its user agent, and nowhere else.
fn windowed(text: &str) -> String {
    text.replace("HeadlessChrome/", "Chrome/")
}

/// What a page's script sees of the browser.
const PAGE: &str = r#"(async () => {
  const data = navigator.userAgentData;
  const more = await data.getHighEntropyValues(["architecture", "bitness", "fullVersionList", "model", "platformVersion", "wow64", "formFactors"]);
  return {userAgent: navigator.userAgent, languages: navigator.languages, ...data.toJSON(), ...more};
})()"#;

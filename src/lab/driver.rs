//! Runs a browser, or the impersonate tier, through all scenarios, with one recorder per wire protocol.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use tokio::time::sleep;

use super::authority::Authority;
use super::chromium::{Chromium, LaunchOptions};
use super::devtools::{DevTools, Tab};
use super::recorder::Recorder;
use super::recording::{RecordedConnection, RecordedRequest};
use super::scenario::{
    self, ExpectedRequest, HELLO_COUNT, IDLE_TIME, SCENARIOS, Scenario, ScenarioHost, UserAction,
};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::tier::Tier;
use crate::fetcher::Fetcher;
use crate::fingerprint::Profile;
use crate::fingerprint::profile::WireProtocol;

/// The maximum time until a request arrives at the recorder.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How many recordings of a browser may fail.
const MAX_FAILURES: u32 = 2;
/// The time after which a click that caused no request is repeated. A browser ignores clicks before it has painted.
const CLICK_REPEAT: Duration = Duration::from_secs(5);
/// The time to wait for unexpected late requests.
const QUIET_TIME: Duration = Duration::from_millis(80);

/// All recorded traffic of one client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recording {
    /// The client, for example `Chrome/156.0.8078.79`.
    pub client: String,
    /// The output of the client's `--version`.
    pub version: String,
    /// The values that a page's script sees: `userAgent`, `languages`, `platform`, `brands` and more.
    pub page: serde_json::Value,
    /// First connections, to separate random fields from fixed ones.
    pub hellos: Vec<RecordedConnection>,
    /// The recorded connections by scenario and protocol (`form/h2`).
    pub scenarios: BTreeMap<String, Vec<RecordedConnection>>,
}

impl Recording {
    /// An empty recording.
    const fn new(client: String, version: String) -> Self {
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
    pub(super) fn requests(&self, scenario: &Scenario, over: WireProtocol) -> Vec<&RecordedRequest> {
        let all = self.scenarios.get(&scenario_key(scenario, over)).into_iter().flatten();
        all.flat_map(|connection| &connection.requests).collect()
    }
}

pub(super) fn scenario_key(scenario: &Scenario, over: WireProtocol) -> String {
    format!("{}/{}", scenario.name, over.name())
}

/// The recorders, one per wire protocol.
pub struct RecorderSet {
    authority: Arc<Authority>,
    h2: Recorder,
    h1: Recorder,
    cleartext: Recorder,
}

impl RecorderSet {
    /// Starts the recorders.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] or [`ErrorKind::Tls`] when one cannot listen.
    pub async fn new() -> Result<Self> {
        let hosts = scenario::hosts();
        let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let authority = Arc::new(Authority::new(&names)?);
        let others = [ScenarioHost::SameSite, ScenarioHost::CrossSite].map(scenario::address);
        let clear = || Recorder::builder().extra_addresses(&others);
        let tls = |protocols: &[&'static str]| clear().tls(Arc::clone(&authority), protocols);
        Ok(Self {
            h2: tls(&["h2", "http/1.1"]).start(scenario::respond).await?,
            h1: tls(&["http/1.1"]).start(scenario::respond).await?,
            cleartext: clear().start(scenario::respond).await?,
            authority,
        })
    }

    const fn recorder(&self, over: WireProtocol) -> &Recorder {
        match over {
            WireProtocol::Http2 => &self.h2,
            WireProtocol::Http1 => &self.h1,
            WireProtocol::Cleartext => &self.cleartext,
        }
    }

    fn url(&self, host: &str, over: WireProtocol, path: &str) -> String {
        let scheme = if over == WireProtocol::Cleartext { "http" } else { "https" };
        format!("{scheme}://{host}:{}{path}", self.recorder(over).addr().port())
    }

    /// Records the browser `binary`. `progress` receives the name of each scenario as it starts. A recording that fails,
    /// because the machine is busy or the browser exits, is made again with a new browser.
    ///
    /// # Errors
    /// [`ErrorKind::Browser`] when the browser does not start, or a scenario fails. The message names it.
    pub async fn record_browser(
        &self,
        binary: Option<PathBuf>,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<Recording> {
        let mut failures = 0;
        loop {
            let launch = LaunchOptions {
                binary: binary.clone(),
                pin: Some(self.authority.pin()?),
                rules: Some(host_resolver_rules()),
                headless_agent: true,
                ..LaunchOptions::default()
            };
            match self.record_started(Chromium::start(launch).await?, progress).await {
                Err(error) if failures < MAX_FAILURES => {
                    failures += 1;
                    progress(&format!("again, because it failed: {}", error.chain()));
                }
                recorded => return recorded,
            }
        }
    }

    async fn record_started(
        &self,
        mut chromium: Chromium,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<Recording> {
        let version = chromium.version().to_owned();
        let tools = chromium.devtools();
        let client = tools.version().await?.replace("Headless", "");
        let mut recording = Recording::new(client, version);
        progress("hellos");
        self.h1.clear();
        for n in 0..HELLO_COUNT {
            let host = scenario::hello_host(n);
            let tab = tools.open(&self.url(&host, WireProtocol::Http1, "/page")).await?;
            self.await_request(WireProtocol::Http1, &host, "/page", 1, "hellos").await?;
            if n == 0 {
                tools.wait_loaded(&tab, "/page").await?;
                recording.page = tools.evaluate(&tab, PAGE_SCRIPT).await?;
                if let Some(agent) = recording.page["userAgent"].as_str() {
                    recording.page["userAgent"] = without_headless(agent).into();
                }
            }
            tools.close(tab).await?;
        }
        recording.hellos = self.h1.connections();
        for scenario in SCENARIOS {
            for over in scenario.protocols {
                progress(&scenario_key(scenario, *over));
                let connections = self.perform(tools, scenario, *over).await?;
                recording.scenarios.insert(scenario_key(scenario, *over), connections);
            }
        }
        chromium.stop().await?;
        Ok(recording)
    }

    async fn perform(
        &self,
        tools: &mut DevTools,
        scenario: &Scenario,
        over: WireProtocol,
    ) -> Result<Vec<RecordedConnection>> {
        let recorder = self.recorder(over);
        recorder.clear();
        let mut tabs: Vec<Tab> = Vec::new();
        let mut expected = Vec::new();
        for step in scenario.steps {
            match (step.action, tabs.last()) {
                (UserAction::Open | UserAction::OpenLater, _) => {
                    if step.action == UserAction::OpenLater {
                        sleep(IDLE_TIME).await;
                    }
                    let host = scenario::host(scenario.name, over, ScenarioHost::Primary);
                    let path = step.requests.first().map_or("/", |request| request.path);
                    tabs.push(tools.open(&self.url(&host, over, path)).await?);
                }
                (UserAction::Click, Some(tab)) => {
                    let seen = count_requests(&recorder.connections());
                    tools.click(tab).await?;
                    if !recorder.wait_until(CLICK_REPEAT, |all| count_requests(all) > seen).await {
                        tools.click(tab).await?;
                    }
                }
                (UserAction::Reload, Some(tab)) => tools.reload(tab).await?,
                (_, None) => {}
            }
            for request in step.requests {
                expected.push(request.final_target);
                let times = expected.iter().filter(|target| **target == request.final_target).count();
                let (host_kind, path) = request.final_target;
                let host = scenario::host(scenario.name, over, host_kind);
                self.await_request(over, &host, path, times, &scenario_key(scenario, over)).await?;
            }
            if let (Some(tab), Some(request)) = (tabs.last(), step.requests.first()) {
                tools.wait_loaded(tab, request.final_target.1).await?;
            }
        }
        sleep(QUIET_TIME).await;
        let connections = self.connections(scenario, over);
        for tab in tabs {
            tools.close(tab).await?;
        }
        Ok(connections)
    }

    async fn await_request(
        &self,
        over: WireProtocol,
        host: &str,
        path: &str,
        times: usize,
        scenario: &str,
    ) -> Result<()> {
        let arrived = |all: &[RecordedConnection]| {
            let requests = all.iter().flat_map(|connection| &connection.requests);
            // A preflight is sent in addition to the expected request.
            let matching = requests.filter(|r| r.host() == host && r.path == path && r.method != "OPTIONS");
            matching.count() >= times
        };
        if self.recorder(over).wait_until(REQUEST_TIMEOUT, arrived).await {
            return Ok(());
        }
        let message = format!(
            "scenario `{scenario}` failed: timed out after {REQUEST_TIMEOUT:?} waiting for a request to {host}{path}"
        );
        Err(Error::new(ErrorKind::Browser, message))
    }

    /// The connections to the scenario's hosts. The port is replaced, since it differs per recorder.
    fn connections(&self, scenario: &Scenario, over: WireProtocol) -> Vec<RecordedConnection> {
        let hosts = scenario::scenario_hosts(scenario.name, over);
        let recorder = self.recorder(over);
        let port = format!(":{}", recorder.addr().port());
        let mut connections = recorder.connections();
        for connection in &mut connections {
            connection.requests.retain(|r| hosts.iter().any(|h| h == r.host()) && r.path != "/favicon.ico");
            for request in &mut connection.requests {
                request.authority = request.authority.replace(&port, ":PORT");
                for (_, value) in &mut request.headers {
                    *value = without_headless(&value.replace(&port, ":PORT"));
                }
                for field in &mut request.hpack {
                    field.value = without_headless(&field.value.replace(&port, ":PORT"));
                }
            }
        }
        let named = |c: &RecordedConnection| {
            let name = c.hello.as_ref().and_then(|hello| hello.server_name());
            name.is_some_and(|name| hosts.iter().any(|host| host == name))
        };
        connections.retain(|c| !c.requests.is_empty() || named(c));
        connections
    }

    /// Records the impersonate tier with `profile`.
    ///
    /// # Errors
    /// The error of a failed fetch, and [`ErrorKind::Io`] when the temporary CA file cannot be written.
    pub async fn record_impersonate(
        &self,
        profile: Arc<Profile>,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<Recording> {
        let unwritten =
            |cause| Error::new(ErrorKind::Io, "could not write the temporary CA file").with_source(cause);
        let ca = NamedTempFile::new().map_err(unwritten)?;
        std::fs::write(ca.path(), self.authority.ca_pem()).map_err(unwritten)?;
        let mut builder = Fetcher::builder()
            .min_tier(Tier::Impersonate)
            .max_tier(Tier::Impersonate)
            .retries(0)
            .browser_profile(Arc::clone(&profile))
            .ca_file(ca.path());
        for over in [WireProtocol::Http2, WireProtocol::Http1, WireProtocol::Cleartext] {
            let port = self.recorder(over).addr().port();
            builder = builder.resolve("*", port, IpAddr::V4(Ipv4Addr::LOCALHOST));
            for scenario in SCENARIOS {
                for host_kind in [ScenarioHost::SameSite, ScenarioHost::CrossSite] {
                    let host = scenario::host(scenario.name, over, host_kind);
                    builder = builder.resolve(&host, port, IpAddr::V4(scenario::address(host_kind)));
                }
            }
        }
        let fetcher = builder.build()?;
        let mut recording =
            Recording::new(format!("rungs as {}", profile.name), env!("CARGO_PKG_VERSION").to_owned());
        progress("hellos");
        self.h1.clear();
        for n in 0..HELLO_COUNT {
            fetcher.get(self.url(&scenario::hello_host(n), WireProtocol::Http1, "/page")).send().await?;
        }
        recording.hellos = self.h1.connections();
        for scenario in SCENARIOS {
            for over in scenario.protocols {
                progress(&scenario_key(scenario, *over));
                self.recorder(*over).clear();
                let session = fetcher.session(&scenario_key(scenario, *over));
                for step in scenario.steps {
                    if step.action == UserAction::OpenLater {
                        sleep(IDLE_TIME).await;
                    }
                    for request in step.requests {
                        self.fetch(&session, scenario, *over, request).await?;
                    }
                }
                if *over == WireProtocol::Http2 {
                    sleep(QUIET_TIME).await;
                }
                recording.scenarios.insert(scenario_key(scenario, *over), self.connections(scenario, *over));
            }
        }
        Ok(recording)
    }

    async fn fetch(
        &self,
        session: &Fetcher,
        scenario: &Scenario,
        over: WireProtocol,
        expected: &ExpectedRequest,
    ) -> Result<()> {
        let host = |place| scenario::host(scenario.name, over, place);
        let method = http::Method::from_bytes(expected.method.as_bytes()).unwrap_or_default();
        let mut request = session
            .request(method, self.url(&host(expected.host), over, expected.path))
            .context(expected.context);
        if let Some(from) = expected.referrer {
            request = request.header("referer", self.url(&host(ScenarioHost::Primary), over, from));
        }
        if let Some((media, text, times)) = expected.body {
            request = request.body(text.repeat(times));
            if let Some(media) = media {
                request = request.header("content-type", media);
            }
        }
        for (name, value) in expected.script_headers {
            request = request.header(*name, *value);
        }
        request.send().await.map(drop)
    }
}

fn count_requests(all: &[RecordedConnection]) -> usize {
    all.iter().map(|connection| connection.requests.len()).sum()
}

/// Chromium's `--host-resolver-rules` for the scenarios' hosts. The first matching rule applies.
fn host_resolver_rules() -> String {
    let rules = [
        ("near.*", ScenarioHost::SameSite),
        ("*-away.test", ScenarioHost::CrossSite),
        ("*.test", ScenarioHost::Primary),
    ];
    rules.map(|(hosts, host_kind)| format!("MAP {hosts} {}", scenario::address(host_kind))).join(", ")
}

/// Replaces the token of a headless browser, the only one in its user agent.
fn without_headless(text: &str) -> String {
    text.replace("HeadlessChrome/", "Chrome/")
}

/// The script that reads the browser's values in a page.
const PAGE_SCRIPT: &str = r#"(async () => {
  const data = navigator.userAgentData;
  const more = await data.getHighEntropyValues(["architecture", "bitness", "fullVersionList", "model", "platformVersion", "wow64", "formFactors"]);
  return {userAgent: navigator.userAgent, languages: navigator.languages, ...data.toJSON(), ...more};
})()"#;

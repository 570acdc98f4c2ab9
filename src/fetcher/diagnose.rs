//! Diagnoses which clients a site accepts. Sends probes that differ in one property each, slowly and one at a time.

mod conclude;
mod probe;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;
use url::Url;

use crate::detect::Expectation;
use crate::exchange::error::{Error, Result};
use crate::exchange::request::parse_url;
use crate::exchange::tier::Tier;
use crate::exchange::trace::Diagnosis;
use crate::exchange::verdict::VerdictKind;
use crate::fetcher::{Fetcher, FetcherBuilder, Response};
use crate::fingerprint::Profile;
#[cfg(feature = "memory")]
use crate::memory::{AttemptSample, HostMemory, SiteSection};
use crate::proxy::ProxyRules;
use crate::settings::budget::Budget;

pub use probe::{Probe, ProbeReport, ProbeResult};

/// Requests one URL with several probes, each of which differs from another in one property, and reports which passed.
/// Each probe is a separate visitor to the site, except where it is documented to reuse another's cookies.
///
/// Probes run one at a time, [`pause`](Self::pause) apart. A short `Retry-After` is waited out, a long one ends the
/// diagnosis. Sends at most [`MAX_REQUESTS`] requests, not counting what browser pages load. If the builder has a
/// file for the host memory, the results are recorded there.
///
/// ```no_run
/// # async fn example() -> rungs::Result<()> {
/// let report = rungs::diagnose::Diagnoser::new(rungs::Fetcher::builder(), "https://shop.example/").run().await?;
/// println!("{:?}: {:?}", report.works, report.diagnosis);
/// # Ok(()) }
/// ```
#[must_use = "nothing is sent before `run`"]
pub struct Diagnoser {
    builder: FetcherBuilder,
    url: String,
    headers: Vec<(String, String)>,
    pause: Duration,
    max_tier: Tier,
    direct: bool,
    window: bool,
    expect: Expectation,
}

/// The probes of one URL, and the conclusion.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DiagnosisReport {
    /// The URL, without credentials.
    pub url: String,
    /// Every probe in order, including the skipped ones.
    pub steps: Vec<ProbeReport>,
    /// The cheapest probe that passed.
    pub works: Option<Probe>,
    /// The property that the site probably detects. `None` if the plain client passes and no probe is refused.
    pub diagnosis: Option<Diagnosis>,
}

impl Diagnoser {
    /// Creates a diagnosis of `url` with the builder's settings. Its tiers and retries are ignored.
    pub fn new(builder: FetcherBuilder, url: impl Into<String>) -> Self {
        let max_tier = if cfg!(feature = "browser") { Tier::Browser } else { Tier::Impersonate };
        Self {
            builder,
            url: url.into(),
            headers: Vec::new(),
            pause: Duration::from_secs(2),
            max_tier,
            direct: false,
            window: has_display(),
            expect: Expectation::default(),
        }
    }

    /// What the page must contain. A 200 response without it does not pass. Default: nothing.
    pub fn expect(mut self, expect: Expectation) -> Self {
        self.expect = expect;
        self
    }

    /// Adds a header to every request.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The time between two probes. Default: 2 s.
    pub const fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The highest tier to use. Default: browser.
    pub const fn max_tier(mut self, tier: Tier) -> Self {
        self.max_tier = tier;
        self
    }

    /// Whether to send one probe without the proxy, from this machine's own address, if the builder sets a proxy.
    /// Default: false.
    pub const fn direct(mut self, direct: bool) -> Self {
        self.direct = direct;
        self
    }

    /// Whether a browser with a window may be tried. Default: true if the environment sets a display.
    pub const fn window(mut self, window: bool) -> Self {
        self.window = window;
        self
    }

    /// Returns the probes that may be tried, in order. Sends nothing.
    #[must_use]
    pub fn plan(&self) -> Vec<Probe> {
        Probe::ALL.into_iter().filter(|probe| self.check_allowed(*probe).is_ok()).collect()
    }

    /// Runs the probes. A block is part of the report, not an error.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidUrl`](crate::ErrorKind::InvalidUrl), and the errors of [`FetcherBuilder::build`].
    pub async fn run(self) -> Result<DiagnosisReport> {
        let url = parse_url(&self.url)?;
        let fetchers = ProbeFetchers::new(&self)?;
        let mut steps: Vec<ProbeReport> = Vec::new();
        for probe in Probe::ALL {
            let check = self.check_allowed(probe).and_then(|()| probe::check_useful(probe, &steps));
            let report = match check {
                Ok(()) if probe == Probe::Cookies && fetchers.has_no_cookies(&url) => {
                    ProbeReport::from_skipped(probe, "the site set no cookies")
                }
                Ok(()) if probe == Probe::Direct && !fetchers.has_proxy(&url) => {
                    ProbeReport::from_skipped(probe, "no proxy is configured")
                }
                Ok(()) => {
                    if steps.iter().any(|report| report.result != ProbeResult::Skipped) {
                        sleep(self.pause).await;
                    }
                    ProbeReport::from_outcome(probe, &self.run_probe(&fetchers, probe).await)
                }
                Err(reason) => ProbeReport::from_skipped(probe, reason),
            };
            steps.push(report);
        }
        fetchers.close().await;
        #[cfg(feature = "memory")]
        self.record_in_memory(&url, &fetchers, &steps).await;
        let (works, diagnosis) = (conclude::cheapest_passing(&steps), conclude::conclude(&steps));
        Ok(DiagnosisReport { url: crate::text::redact::url(&url), steps, works, diagnosis })
    }

    fn check_allowed(&self, probe: Probe) -> std::result::Result<(), &'static str> {
        if probe.tier() > self.max_tier {
            return Err("a higher tier than allowed");
        }
        match probe {
            Probe::Cleared if self.max_tier < Tier::Browser => Err("a higher tier than allowed"),
            Probe::Window if !self.window => Err("no display for a browser window"),
            Probe::Direct if !self.direct => Err("not requested"),
            _ => Ok(()),
        }
    }

    /// Records in the host memory's file, if there is one, which of the probes without earlier cookies passed.
    #[cfg(feature = "memory")]
    async fn record_in_memory(&self, url: &Url, fetchers: &ProbeFetchers, steps: &[ProbeReport]) {
        let Some(path) = self.builder.memory_file() else { return };
        let memory = HostMemory::new().with_file(path.to_owned());
        let section = Arc::new(SiteSection::from_url(url));
        for report in steps {
            let Some(fetcher) = fetchers.isolated_fetcher(report.probe) else { continue };
            let passed = match report.kind() {
                Some(VerdictKind::Genuine) => true,
                Some(kind) if kind.is_refusal() => false,
                _ => continue,
            };
            let tier = report.probe.tier();
            let identity = if tier == Tier::Plain { fetcher.plain_identity() } else { fetcher.identity() };
            let profile = identity.profile().name.clone();
            memory.record_attempt(
                AttemptSample { section: Arc::clone(&section), tier, cleared: false, profile },
                passed,
            );
        }
        memory.flush().await;
    }

    async fn run_probe(&self, fetchers: &ProbeFetchers, probe: Probe) -> Result<Response, Error> {
        let mut request =
            fetchers.fetcher_for(probe).get(&self.url).tier(probe.tier()).expect(self.expect.clone());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.send().await
    }
}

/// The fetchers of the probes: one for each difference that is a setting of a whole fetcher.
struct ProbeFetchers {
    base: Fetcher,
    /// A fetcher with another browser profile.
    other_profile: Fetcher,
    /// A fetcher with a browser's headers and the plain tier's TLS and HTTP/2.
    headers: Fetcher,
    window: Fetcher,
}

impl ProbeFetchers {
    fn new(diagnose: &Diagnoser) -> Result<Self> {
        let budget = Budget { attempts: MAX_ATTEMPTS, visits: MAX_ATTEMPTS, ..Budget::default() };
        // The memory of other runs would influence the result of the probes.
        let builder = diagnose.builder.clone();
        #[cfg(feature = "memory")]
        let builder = builder.without_memory();
        let builder = builder.retries(1).budget(budget);
        let builder = builder.min_tier(Tier::Plain).max_tier(diagnose.max_tier);
        let base = builder.clone().build()?;
        let profile = base.identity().profile();
        let plain = base.plain_identity().profile();
        let headers = Profile {
            name: format!("{}-headers", profile.name),
            tls: plain.tls.clone(),
            http2: plain.http2.clone(),
            ..Profile::clone(profile)
        };
        #[cfg(feature = "browser")]
        let window = builder.clone().headful(true).build()?;
        #[cfg(not(feature = "browser"))]
        let window = base.clone();
        let other =
            OTHER_PROFILES.into_iter().find(|name| *name != profile.name).unwrap_or(OTHER_PROFILES[0]);
        Ok(Self {
            other_profile: builder.clone().browser_profile(Profile::named(other)?).build()?,
            headers: builder.browser_profile(Arc::new(headers)).build()?,
            window,
            base,
        })
    }

    fn fetcher_for(&self, probe: Probe) -> Fetcher {
        match probe {
            Probe::Plain => self.base.session("plain"),
            Probe::Headers => self.headers.session("headers"),
            Probe::Impersonate | Probe::Cookies => self.base.session("impersonate"),
            Probe::Profile => self.other_profile.session("profile"),
            Probe::Browser | Probe::Cleared => self.base.session("browser"),
            Probe::Window => self.window.session("window"),
            Probe::Direct => self.base.session("direct").with_proxy_rules(&ProxyRules::default()),
        }
    }

    /// Returns the fetcher of a probe that uses one tier by itself, through the usual proxy.
    fn isolated_fetcher(&self, probe: Probe) -> Option<&Fetcher> {
        match probe {
            Probe::Plain | Probe::Impersonate | Probe::Browser => Some(&self.base),
            Probe::Profile => Some(&self.other_profile),
            Probe::Headers | Probe::Cookies | Probe::Cleared | Probe::Window | Probe::Direct => None,
        }
    }

    fn has_no_cookies(&self, url: &Url) -> bool {
        self.base.session("impersonate").identity().jar().pairs(url).is_empty()
    }

    fn has_proxy(&self, url: &Url) -> bool {
        self.base.identity().proxy_rules().proxy(url).is_some()
    }

    async fn close(&self) {
        self.base.close().await;
        self.window.close().await;
    }
}

fn has_display() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|at| !at.is_empty()))
}

/// The maximum number of attempts per probe: a second one after a failure, or if the site asked to wait.
const MAX_ATTEMPTS: u32 = 2;
/// The maximum number of requests of one diagnosis, not counting what browser pages load.
pub const MAX_REQUESTS: usize = Probe::ALL.len() * MAX_ATTEMPTS as usize;
/// Other browser profiles. The first one that is not the default profile is used.
const OTHER_PROFILES: [&str; 2] = ["google-chrome-156-windows", "edge-156-windows"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_contains_only_allowed_probes() {
        let plan = |max, direct, window| {
            Diagnoser::new(Fetcher::builder(), "https://a.example/")
                .max_tier(max)
                .direct(direct)
                .window(window)
                .plan()
        };
        assert_eq!(plan(Tier::Plain, false, false), [Probe::Plain]);
        assert_eq!(plan(Tier::Browser, true, true), Probe::ALL);
        let http = [Probe::Plain, Probe::Headers, Probe::Impersonate, Probe::Cookies, Probe::Profile];
        assert_eq!(plan(Tier::Impersonate, false, true), http);
    }
}

//! What a site lets through, asked one change at a time: the ladder step by step, politely.

mod conclude;
mod probe;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;
use url::Url;

use crate::budget::Budget;
use crate::detect::Expectation;
use crate::error::{Error, Result};
use crate::fetcher::{Fetcher, FetcherBuilder, Response};
use crate::fingerprint::Profile;
use crate::memory::{AttemptSample, HostMemory, SiteSection};
use crate::proxy::ProxyRules;
use crate::request::parse_url;
use crate::tier::Tier;
use crate::trace::Diagnosis;
use crate::verdict::VerdictKind;

pub use probe::{Probe, ProbeReport, ProbeResult};

/// Asks a site for one URL in several ways, each but one thing different from the one before, and tells what
/// passed. Every way is a visitor of its own, but where a way is said to bring another's cookies.
///
/// One request at a time, [`pause`](Self::pause) apart; Retry-After is waited out where it is short, and ends
/// everything where it is long. At most [`MAX_REQUESTS`] requests beside what pages in the browser load.
/// Where the builder has a file for the host memory, what passed and what was refused goes there.
///
/// ```no_run
/// # async fn example() -> rungs::Result<()> {
/// let report = rungs::diagnose::Diagnose::new(rungs::Fetcher::builder(), "https://shop.example/").run().await?;
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

/// What was asked, and what came of it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DiagnosisReport {
    /// The URL, without credentials.
    pub url: String,
    /// Every way, in order, those left out too.
    pub steps: Vec<ProbeReport>,
    /// The cheapest way that passed.
    pub works: Option<Probe>,
    /// What gives other ways away. `None` when an honest client passes and nothing else is refused.
    pub diagnosis: Option<Diagnosis>,
}

impl Diagnoser {
    /// Will ask for `url` with fetchers like the builder's; its tiers and retries do not matter.
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

    /// What the page must have: a 200 without it has not passed.
    pub fn expect(mut self, expect: Expectation) -> Self {
        self.expect = expect;
        self
    }

    /// Adds a header to every request.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The time between two ways. Default: 2 s.
    pub const fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The dearest tier to use. Default: browser.
    pub const fn max_tier(mut self, tier: Tier) -> Self {
        self.max_tier = tier;
        self
    }

    /// Where the builder's route leads through a proxy, asks once without it too: from this machine's own
    /// address. Default: false.
    pub const fn direct(mut self, direct: bool) -> Self {
        self.direct = direct;
        self
    }

    /// Whether a browser with a window may be tried. Default: whether the environment names a display.
    pub const fn window(mut self, window: bool) -> Self {
        self.window = window;
        self
    }

    /// The ways that may be tried, in order. Sends nothing.
    #[must_use]
    pub fn plan(&self) -> Vec<Probe> {
        Probe::ALL.into_iter().filter(|way| self.check_allowed(*way).is_ok()).collect()
    }

    /// Asks. A block is no error, but part of the report.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidUrl`](crate::ErrorKind::InvalidUrl) and what
    /// [`FetcherBuilder::build`] says.
    pub async fn run(self) -> Result<DiagnosisReport> {
        let url = parse_url(&self.url)?;
        let visitors = ProbeFetchers::new(&self)?;
        let mut steps: Vec<ProbeReport> = Vec::new();
        for way in Probe::ALL {
            let wanted = self.check_allowed(way).and_then(|()| probe::check_useful(way, &steps));
            let step = match wanted {
                Ok(()) if way == Probe::Cookies && visitors.has_no_cookies(&url) => {
                    ProbeReport::from_skipped(way, "the site set no cookies")
                }
                Ok(()) if way == Probe::Direct && !visitors.has_proxy(&url) => {
                    ProbeReport::from_skipped(way, "there is no proxy")
                }
                Ok(()) => {
                    if steps.iter().any(|step| step.found != ProbeResult::Skipped) {
                        sleep(self.pause).await;
                    }
                    ProbeReport::from_outcome(way, &self.run_probe(&visitors, way).await)
                }
                Err(reason) => ProbeReport::from_skipped(way, reason),
            };
            steps.push(step);
        }
        visitors.close().await;
        self.record_in_memory(&url, &visitors, &steps).await;
        let (works, diagnosis) = (conclude::cheapest_passing(&steps), conclude::conclude(&steps));
        Ok(DiagnosisReport { url: crate::redact::url(&url), steps, works, diagnosis })
    }

    fn check_allowed(&self, way: Probe) -> std::result::Result<(), &'static str> {
        if way.tier() > self.max_tier {
            return Err("a higher tier than allowed");
        }
        match way {
            Probe::Cleared if self.max_tier < Tier::Browser => Err("a higher tier than allowed"),
            Probe::Window if !self.window => Err("there is no display for a window"),
            Probe::Direct if !self.direct => Err("not asked for"),
            _ => Ok(()),
        }
    }

    /// Tells the host memory which of the visitors without a history passed, where there is a file for it.
    async fn record_in_memory(&self, url: &Url, visitors: &ProbeFetchers, steps: &[ProbeReport]) {
        let Some(path) = self.builder.memory_file() else { return };
        let memory = HostMemory::new(Some(path.to_owned()));
        let area = Arc::new(SiteSection::from_url(url));
        for step in steps {
            let Some(fetcher) = visitors.isolated_fetcher(step.way) else { continue };
            let page = match step.kind() {
                Some(VerdictKind::Genuine) => true,
                Some(kind) if kind.is_refusal() => false,
                _ => continue,
            };
            let tier = step.way.tier();
            let worn = if tier == Tier::Plain { fetcher.plain_identity() } else { fetcher.identity() };
            let profile = worn.profile().name.clone();
            memory.record_attempt(
                AttemptSample { section: Arc::clone(&area), tier, cleared: false, profile },
                page,
            );
        }
        memory.flush().await;
    }

    async fn run_probe(&self, visitors: &ProbeFetchers, way: Probe) -> Result<Response, Error> {
        let mut request =
            visitors.fetcher_for(way).get(&self.url).tier(way.tier()).expect(self.expect.clone());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.send().await
    }
}

/// One fetcher for each thing that only a fetcher can have another of.
struct ProbeFetchers {
    base: Fetcher,
    /// As another browser; where it speaks TLS and HTTP/2 as the plain tier does.
    other_profile: Fetcher,
    headers: Fetcher,
    window: Fetcher,
}

impl ProbeFetchers {
    fn new(diagnose: &Diagnoser) -> Result<Self> {
        let budget = Budget { attempts: MAX_ATTEMPTS, visits: MAX_ATTEMPTS, ..Budget::default() };
        // What other runs learned would be no answer to what is asked here.
        let builder = diagnose.builder.clone().without_memory().retries(1).budget(budget);
        let builder = builder.min_tier(Tier::Plain).max_tier(diagnose.max_tier);
        let own = builder.clone().build()?;
        let worn = own.identity().profile();
        let plain = own.plain_identity().profile();
        let headers = Profile {
            name: format!("{}-headers", worn.name),
            tls: plain.tls.clone(),
            http2: plain.http2.clone(),
            ..Profile::clone(worn)
        };
        #[cfg(feature = "browser")]
        let window = builder.clone().headful(true).build()?;
        #[cfg(not(feature = "browser"))]
        let window = own.clone();
        let other = OTHER_PROFILES.into_iter().find(|name| *name != worn.name).unwrap_or(OTHER_PROFILES[0]);
        Ok(Self {
            other_profile: builder.clone().browser_profile(Profile::named(other)?).build()?,
            headers: builder.browser_profile(Arc::new(headers)).build()?,
            window,
            base: own,
        })
    }

    fn fetcher_for(&self, way: Probe) -> Fetcher {
        match way {
            Probe::Plain => self.base.session("plain"),
            Probe::Headers => self.headers.session("headers"),
            Probe::Impersonate | Probe::Cookies => self.base.session("impersonate"),
            Probe::Profile => self.other_profile.session("profile"),
            Probe::Browser | Probe::Cleared => self.base.session("browser"),
            Probe::Window => self.window.session("window"),
            Probe::Direct => self.base.session("direct").with_proxy_rules(&ProxyRules::default()),
        }
    }

    /// Who asks this way, where that is one tier by itself, by the usual exit.
    fn isolated_fetcher(&self, way: Probe) -> Option<&Fetcher> {
        match way {
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

/// The most attempts of one way: a second after a failure, or when the site asked to wait.
const MAX_ATTEMPTS: u32 = 2;
/// The most requests of one diagnosis, beside what pages in the browser load.
pub const MAX_REQUESTS: usize = Probe::ALL.len() * MAX_ATTEMPTS as usize;
/// Other browsers to look like: the first that is not worn already.
const OTHER_PROFILES: [&str; 2] = ["google-chrome-156-windows", "edge-156-windows"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_leaves_out_what_is_not_allowed_here() {
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

//! What a site lets through, asked one change at a time: the ladder step by step, politely.

mod conclude;
mod step;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;
use url::Url;

use crate::budget::Budget;
use crate::detect::Expect;
use crate::error::{Error, Result};
use crate::fetcher::{Fetcher, FetcherBuilder, Page};
use crate::fingerprint::Profile;
use crate::memory::{Area, Attempted, Memory};
use crate::proxy::Route;
use crate::request::parse_url;
use crate::tier::Tier;
use crate::trace::Diagnosis;
use crate::verdict::VerdictKind;

pub use step::{Found, Step, Way};

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
pub struct Diagnose {
    builder: FetcherBuilder,
    url: String,
    headers: Vec<(String, String)>,
    pause: Duration,
    max_tier: Tier,
    direct: bool,
    window: bool,
    expect: Expect,
}

/// What was asked, and what came of it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The URL, without credentials.
    pub url: String,
    /// Every way, in order, those left out too.
    pub steps: Vec<Step>,
    /// The cheapest way that passed.
    pub works: Option<Way>,
    /// What gives other ways away. `None` when an honest client passes and nothing else is refused.
    pub diagnosis: Option<Diagnosis>,
}

impl Diagnose {
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
            expect: Expect::default(),
        }
    }

    /// What the page must have: a 200 without it has not passed.
    pub fn expect(mut self, expect: Expect) -> Self {
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
    pub fn plan(&self) -> Vec<Way> {
        Way::ALL.into_iter().filter(|way| self.is_possible(*way).is_ok()).collect()
    }

    /// Asks. A block is no error, but part of the report.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidUrl`](crate::ErrorKind::InvalidUrl) and what
    /// [`FetcherBuilder::build`] says.
    pub async fn run(self) -> Result<Report> {
        let url = parse_url(&self.url)?;
        let visitors = Visitors::new(&self)?;
        let mut steps: Vec<Step> = Vec::new();
        for way in Way::ALL {
            let wanted = self.is_possible(way).and_then(|()| step::wanted(way, &steps));
            let step = match wanted {
                Ok(()) if way == Way::Cookies && visitors.has_no_cookies(&url) => {
                    Step::skipped(way, "the site set no cookies")
                }
                Ok(()) if way == Way::Direct && !visitors.has_proxy(&url) => {
                    Step::skipped(way, "there is no proxy")
                }
                Ok(()) => {
                    if steps.iter().any(|step| step.found != Found::Skipped) {
                        sleep(self.pause).await;
                    }
                    Step::made(way, &self.ask(&visitors, way).await)
                }
                Err(reason) => Step::skipped(way, reason),
            };
            steps.push(step);
        }
        visitors.close().await;
        self.learn(&url, &visitors, &steps).await;
        let (works, diagnosis) = (conclude::works(&steps), conclude::conclude(&steps));
        Ok(Report { url: crate::redact::url(&url), steps, works, diagnosis })
    }

    fn is_possible(&self, way: Way) -> std::result::Result<(), &'static str> {
        if way.tier() > self.max_tier {
            return Err("a higher tier than allowed");
        }
        match way {
            Way::Cleared if self.max_tier < Tier::Browser => Err("a higher tier than allowed"),
            Way::Window if !self.window => Err("there is no display for a window"),
            Way::Direct if !self.direct => Err("not asked for"),
            _ => Ok(()),
        }
    }

    /// Tells the host memory which of the visitors without a history passed, where there is a file for it.
    async fn learn(&self, url: &Url, visitors: &Visitors, steps: &[Step]) {
        let Some(path) = self.builder.memory_file() else { return };
        let memory = Memory::new(Some(path.to_owned()));
        let area = Arc::new(Area::of(url));
        for step in steps {
            let Some(fetcher) = visitors.fresh(step.way) else { continue };
            let page = match step.kind() {
                Some(VerdictKind::Genuine) => true,
                Some(kind) if kind.is_refusal() => false,
                _ => continue,
            };
            let tier = step.way.tier();
            let worn = if tier == Tier::Plain { fetcher.plain_identity() } else { fetcher.identity() };
            let profile = worn.profile().name.clone();
            memory.tried(Attempted { area: Arc::clone(&area), tier, cleared: false, profile }, page);
        }
        memory.flush().await;
    }

    async fn ask(&self, visitors: &Visitors, way: Way) -> Result<Page, Error> {
        let mut request = visitors.who(way).get(&self.url).tier(way.tier()).expect(self.expect.clone());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.send().await
    }
}

/// One fetcher for each thing that only a fetcher can have another of.
struct Visitors {
    own: Fetcher,
    /// As another browser; where it speaks TLS and HTTP/2 as the plain tier does.
    other: Fetcher,
    headers: Fetcher,
    window: Fetcher,
}

impl Visitors {
    fn new(diagnose: &Diagnose) -> Result<Self> {
        let budget = Budget { attempts: ATTEMPTS, visits: ATTEMPTS, ..Budget::default() };
        // What other runs learned would be no answer to what is asked here.
        let builder = diagnose.builder.clone().forgetful().retries(1).budget(budget);
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
        let other = OTHERS.into_iter().find(|name| *name != worn.name).unwrap_or(OTHERS[0]);
        Ok(Self {
            other: builder.clone().browser_profile(Profile::named(other)?).build()?,
            headers: builder.browser_profile(Arc::new(headers)).build()?,
            window,
            own,
        })
    }

    fn who(&self, way: Way) -> Fetcher {
        match way {
            Way::Plain => self.own.session("plain"),
            Way::Headers => self.headers.session("headers"),
            Way::Impersonate | Way::Cookies => self.own.session("impersonate"),
            Way::Profile => self.other.session("profile"),
            Way::Browser | Way::Cleared => self.own.session("browser"),
            Way::Window => self.window.session("window"),
            Way::Direct => self.own.session("direct").by_route(&Route::default()),
        }
    }

    /// Who asks this way, where that is one tier by itself, by the usual exit.
    fn fresh(&self, way: Way) -> Option<&Fetcher> {
        match way {
            Way::Plain | Way::Impersonate | Way::Browser => Some(&self.own),
            Way::Profile => Some(&self.other),
            Way::Headers | Way::Cookies | Way::Cleared | Way::Window | Way::Direct => None,
        }
    }

    fn has_no_cookies(&self, url: &Url) -> bool {
        self.own.session("impersonate").identity().jar().pairs(url).is_empty()
    }

    fn has_proxy(&self, url: &Url) -> bool {
        self.own.identity().route().proxy(url).is_some()
    }

    async fn close(&self) {
        self.own.close().await;
        self.window.close().await;
    }
}

fn has_display() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|at| !at.is_empty()))
}

/// The most attempts of one way: a second after a failure, or when the site asked to wait.
const ATTEMPTS: u32 = 2;
/// The most requests of one diagnosis, beside what pages in the browser load.
pub const MAX_REQUESTS: usize = Way::ALL.len() * ATTEMPTS as usize;
/// Other browsers to look like: the first that is not worn already.
const OTHERS: [&str; 2] = ["google-chrome-156-windows", "edge-156-windows"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_leaves_out_what_is_not_allowed_here() {
        let plan = |max, direct, window| {
            Diagnose::new(Fetcher::builder(), "https://a.example/")
                .max_tier(max)
                .direct(direct)
                .window(window)
                .plan()
        };
        assert_eq!(plan(Tier::Plain, false, false), [Way::Plain]);
        assert_eq!(plan(Tier::Browser, true, true), Way::ALL);
        let http = [Way::Plain, Way::Headers, Way::Impersonate, Way::Cookies, Way::Profile];
        assert_eq!(plan(Tier::Impersonate, false, true), http);
    }
}

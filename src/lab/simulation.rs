//! A week with a site that tightens and relaxes, by a clock of its own: what each way of fetching it costs.
//!
//! The router, its policy, the verdicts and the host memory are the real ones; the site is a script, and the
//! three tiers are stand-ins that ask it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use crate::budget::Budget;
use crate::cookies::Cookie;
use crate::detect::Rules;
use crate::error::Result;
use crate::fingerprint::Profile;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::memory::{HostMemory, SavedIdentityKey, SiteSection};
use crate::net::{HttpClient, TrustConfig};
use crate::rate_limit::{RateLimit, RobotsPolicy};
use crate::render::RenderOptions;
use crate::request::{Request, parse_url};
use crate::response::{Body, HttpVersion, RawResponse};
use crate::retry::RetryPolicy;
use crate::robots;
use crate::router::{BodySink, EscalationPolicy, FetchPlan, IdentityPair, Router};
use crate::sync::lock_unpoisoned;
use crate::tier::Tier;
use crate::transport::{AttemptRequest, Transport};

/// How a site is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Strategy {
    /// As rungs does: by what it remembers.
    Memory,
    /// From the plain tier upwards each time, with the cookies it has.
    Climb,
    /// From the plain tier upwards each time, as somebody new.
    ClimbAnew,
    /// In the browser.
    Browser,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Climb, Self::ClimbAnew, Self::Browser];

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "host memory",
            Self::Climb => "always climb",
            Self::ClimbAnew => "always climb, nothing kept",
            Self::Browser => "always browser",
        }
    }
}

/// What a week cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SimulationCost {
    /// Pages asked for.
    pub fetches: u64,
    /// Genuine pages got.
    pub pages: u64,
    /// Those of them that the plain tier got.
    pub plain_pages: u64,
    /// Attempts in the browser.
    pub browser_visits: u64,
    /// Attempts on the two HTTP tiers.
    pub http_requests: u64,
    /// HTTP requests that were refused.
    pub wasted: u64,
}

/// Until which hour of the week the site is how strict.
const PHASES: [(i64, SitePhase); 6] = [
    (24, SitePhase::Open),
    (60, SitePhase::Gated),
    (108, SitePhase::Challenged),
    (132, SitePhase::Gated),
    (150, SitePhase::Open),
    (168, SitePhase::Challenged),
];
/// From one page to the next, in seconds.
const FETCH_INTERVAL: i64 = 180;
const HOUR: i64 = 3600;
/// How long a clearance lasts, in seconds.
const CLEARANCE_LIFETIME: i64 = 2 * HOUR;
/// The shares of a week in which the plain tier can get pages: what the script says.
#[cfg(test)]
const OPEN_HOURS: i64 = 24 + 18;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SitePhase {
    /// Everybody gets in.
    Open,
    /// Browsers, by what they look like on the wire.
    Gated,
    /// Whom a script cleared.
    Challenged,
}

/// Fetches a page of the site every three minutes for a week.
///
/// # Errors
/// What a fetch of its own URL, or its profiles, could be wrong with: nothing, as shipped.
pub async fn simulate_week(manners: Strategy) -> Result<SimulationCost> {
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let began = i64::try_from(began).unwrap_or_default();
    let site = Arc::new(SimulatedSite {
        started_at: began,
        now: AtomicI64::new(began),
        cost: Mutex::default(),
        clearances: Mutex::default(),
    });
    let clock: Arc<dyn Fn() -> i64 + Send + Sync> = {
        let site = Arc::clone(&site);
        Arc::new(move || site.now())
    };
    let transports: Vec<Arc<dyn Transport>> = Tier::ALL
        .map(|tier| Arc::new(SimulatedTransport { tier, site: Arc::clone(&site) }) as Arc<dyn Transport>)
        .into();
    let engine = Arc::new(HttpClient::new(Arc::default(), TrustConfig::default())?);
    let plain = Profile::named("plain")?;
    let router = || {
        let memory = HostMemory::with_clock(None, Arc::clone(&clock));
        let files = robots::RobotsCache::new(Arc::clone(&engine), Arc::clone(&plain));
        Router::new(transports.clone(), Rules::shipped(), files, memory)
    };
    let min = if manners == Strategy::Browser { Tier::Browser } else { Tier::Plain };
    let ladder = EscalationPolicy {
        min,
        start: min,
        max: Tier::Browser,
        retry_policy: RetryPolicy::default(),
        budget: Budget::default(),
    };
    let (bounds, view) = (Limits::default(), RenderOptions::default());
    let (mut kept, mut persona) = (router(), identity_pair()?);
    for fetch in 0..(7 * 24 * HOUR / FETCH_INTERVAL) {
        site.now.store(began + fetch * FETCH_INTERVAL, Ordering::SeqCst);
        if matches!(manners, Strategy::Climb | Strategy::ClimbAnew) {
            kept = router();
        }
        if manners == Strategy::ClimbAnew {
            persona = identity_pair()?;
        }
        let request = Request::get(parse_url(&format!("https://week.test/p/{fetch}"))?);
        let area = Arc::new(SiteSection::from_url(&request.url));
        let errand = FetchPlan {
            request: &request,
            site_section: &area,
            identities: &persona,
            limits: &bounds,
            policy: ladder,
            render: &view,
            body_sink: &BodySink::Memory,
            expectation: None,
            rules: None,
            robots: RobotsPolicy::Ignore,
            rate_limit: RateLimit::default(),
            identity_source: None,
            observer: None,
            sent_request: None,
            probe_fallback: None,
        };
        let (found, trace) = kept.run(&errand).await;
        let mut cost = site.cost();
        cost.fetches += 1;
        if found.is_ok() {
            cost.pages += 1;
            let tier = trace.attempts().last().map(|attempt| attempt.tier);
            cost.plain_pages += u64::from(tier == Some(Tier::Plain));
        }
    }
    let cost = *site.cost();
    Ok(cost)
}

fn identity_pair() -> Result<IdentityPair> {
    let dressed = Identity::new("default", Profile::named("chrome-156-linux")?, None);
    let who = SavedIdentityKey::new(None, &dressed);
    let plain = Identity::new("default", Profile::named("plain")?, None);
    Ok(IdentityPair {
        plain,
        browser: dressed,
        memory_key: Some(who),
        proxy_session: None,
        is_direct_fallback: false,
    })
}

/// The site: what time it is there, what was asked of it, and whom it cleared until when.
struct SimulatedSite {
    started_at: i64,
    now: AtomicI64,
    cost: Mutex<SimulationCost>,
    clearances: Mutex<Vec<(String, i64)>>,
}

impl SimulatedSite {
    fn now(&self) -> i64 {
        self.now.load(Ordering::SeqCst)
    }

    fn cost(&self) -> MutexGuard<'_, SimulationCost> {
        lock_unpoisoned(&self.cost)
    }

    fn phase(&self) -> SitePhase {
        let hour = (self.now() - self.started_at) / HOUR;
        PHASES.iter().find(|(until, _)| hour < *until).map_or(SitePhase::Challenged, |(_, strict)| *strict)
    }

    fn issue_clearance(&self) -> Cookie {
        let until = self.now() + CLEARANCE_LIFETIME;
        let mut given = lock_unpoisoned(&self.clearances);
        let mut cookie = Cookie::session(super::CLEARANCE_COOKIE, given.len().to_string(), "week.test");
        (cookie.expires, cookie.secure) = (Some(until), true);
        given.push((cookie.value.clone(), until));
        cookie
    }

    fn is_cleared(&self, job: AttemptRequest<'_>) -> bool {
        let given = lock_unpoisoned(&self.clearances);
        let held = job.identity.jar().pairs(&job.request.url);
        given.iter().any(|(value, until)| *until > self.now() && held.iter().any(|(_, own)| own == value))
    }
}

/// A tier that asks the script instead of the network.
struct SimulatedTransport {
    tier: Tier,
    site: Arc<SimulatedSite>,
}

impl Transport for SimulatedTransport {
    fn tier(&self) -> Tier {
        self.tier
    }

    fn execute<'a>(&'a self, job: AttemptRequest<'a>) -> BoxFuture<'a, Result<RawResponse>> {
        let lets_in = match (self.site.phase(), self.tier) {
            (SitePhase::Open, _) | (SitePhase::Gated, Tier::Impersonate | Tier::Browser) => true,
            (SitePhase::Gated | SitePhase::Challenged, Tier::Plain) => false,
            (SitePhase::Challenged, Tier::Impersonate) => self.site.is_cleared(job),
            (SitePhase::Challenged, Tier::Browser) => {
                if !self.site.is_cleared(job) {
                    job.identity.jar().insert_from_site(&self.site.issue_clearance());
                }
                true
            }
        };
        let mut cost = self.site.cost();
        if self.tier == Tier::Browser {
            cost.browser_visits += 1;
        } else {
            cost.http_requests += 1;
            cost.wasted += u64::from(!lets_in);
        }
        drop(cost);
        std::future::ready(Ok(response(job, lets_in))).boxed()
    }
}

fn response(job: AttemptRequest<'_>, lets_in: bool) -> RawResponse {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    let (status, page) = if lets_in {
        (StatusCode::OK, "<!doctype html><title>A page</title><p>A page with some words in it.</p>")
    } else {
        headers.insert("cf-mitigated", HeaderValue::from_static("challenge"));
        (
            StatusCode::FORBIDDEN,
            "<!doctype html><title>Just a moment...</title><script>window._cf_chl_opt = {}</script>",
        )
    };
    RawResponse {
        status,
        version: HttpVersion::Http2,
        headers,
        url: job.request.url.clone(),
        redirects: Vec::new(),
        body: Body::Buffered(Bytes::from_static(page.as_bytes())),
        timings: crate::trace::Timings::default(),
        browser: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn in_a_week_the_memory_saves_browser_visits_and_wasted_requests_and_notices_every_change() {
        let [memory, climb, anew, browser] = [
            simulate_week(Strategy::Memory).await.unwrap(),
            simulate_week(Strategy::Climb).await.unwrap(),
            simulate_week(Strategy::ClimbAnew).await.unwrap(),
            simulate_week(Strategy::Browser).await.unwrap(),
        ];
        for (week, name) in [memory, climb, anew, browser].iter().zip(Strategy::ALL.map(Strategy::name)) {
            eprintln!("{name}: {week:?}");
            assert_eq!(week.pages, week.fetches, "{name}: no page is lost");
        }
        assert!(memory.browser_visits <= climb.browser_visits);
        assert!(memory.browser_visits * 20 < anew.browser_visits);
        assert!(memory.browser_visits * 50 < browser.browser_visits);
        assert!(memory.wasted * 20 < climb.wasted);
        // Where the site was open, it was fetched cheaply; a probe now and then is what that costs.
        let open = u64::try_from(OPEN_HOURS * HOUR / FETCH_INTERVAL).unwrap();
        assert!(memory.plain_pages * 10 >= open * 6, "{} of {open}", memory.plain_pages);
        assert_eq!(climb.plain_pages, open);
    }
}

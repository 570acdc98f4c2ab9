//! Simulates a week with a site that becomes stricter and relaxes again, and counts the cost per strategy.
//!
//! Router, policy, verdicts and host memory are the real ones. The clock, the site and the three transports
//! are simulated.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use crate::detect::Rules;
use crate::exchange::error::Result;
use crate::exchange::request::{Request, parse_url};
use crate::exchange::response::{Body, HttpVersion, RawResponse, ReceivedHead};
use crate::exchange::robots_policy::RobotsPolicy;
use crate::exchange::tier::Tier;
use crate::fingerprint::Profile;
use crate::identity::Identity;
use crate::identity::cookies::Cookie;
use crate::memory::{HostMemory, SavedIdentityKey, SiteSection};
use crate::net::AttemptRequest;
use crate::net::{HttpClient, TrustConfig};
use crate::os::sync::lock_unpoisoned;
use crate::router::robots;
use crate::router::{
    BodySink, EscalationPolicy, FetchPlan, FirstIdentities, IdentityPair, Router, StoredBody,
};
use crate::settings::budget::Budget;
use crate::settings::limits::Limits;
use crate::settings::rate_limit::RateLimit;
use crate::settings::render::RenderOptions;
use crate::settings::retry::RetryPolicy;
use crate::transport::Transport;

/// A strategy for fetching from a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Strategy {
    /// The default of rungs: start on the tier that host memory suggests.
    Memory,
    /// Start every fetch on the plain tier, with the cookies of earlier fetches.
    Climb,
    /// Start every fetch on the plain tier, with a new identity.
    ClimbAnew,
    /// Fetch everything in the browser.
    Browser,
}

impl Strategy {
    /// All strategies.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Climb, Self::ClimbAnew, Self::Browser];

    /// The display name.
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

/// The challenge of the simulated site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum SimulatedChallenge {
    /// A challenge that a block rule knows.
    Known,
    /// A page with status 200 that is only a script, of a vendor that no rule knows.
    UnknownScript,
    /// A page with status 202 that says what it does, of another vendor that no rule knows.
    UnknownNotice,
}

impl SimulatedChallenge {
    /// All challenges.
    pub const ALL: [Self; 3] = [Self::Known, Self::UnknownScript, Self::UnknownNotice];

    /// The display name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Known => "a known vendor's challenge",
            Self::UnknownScript => "an unknown script, status 200",
            Self::UnknownNotice => "an unknown notice, status 202",
        }
    }
}

/// The cost of a week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SimulationCost {
    /// Fetches.
    pub fetches: u64,
    /// Genuine pages received.
    pub pages: u64,
    /// Challenges that were returned as pages.
    pub false_pages: u64,
    /// Genuine pages received by the plain tier.
    pub plain_pages: u64,
    /// Attempts in the browser.
    pub browser_visits: u64,
    /// Attempts on the two HTTP tiers.
    pub http_requests: u64,
    /// HTTP requests that the site blocked.
    pub wasted: u64,
}

/// Phases of the site, each with the hour of the week at which it ends.
const PHASES: [(i64, SitePhase); 6] = [
    (24, SitePhase::Open),
    (60, SitePhase::Gated),
    (108, SitePhase::Challenged),
    (132, SitePhase::Gated),
    (150, SitePhase::Open),
    (168, SitePhase::Challenged),
];
/// Seconds between two fetches.
const FETCH_INTERVAL: i64 = 180;
const HOUR: i64 = 3600;
/// The lifetime of a clearance, in seconds.
const CLEARANCE_LIFETIME: i64 = 2 * HOUR;
/// Hours of the week in which the plain tier is accepted.
#[cfg(test)]
const OPEN_HOURS: i64 = 24 + 18;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SitePhase {
    /// Every client is accepted.
    Open,
    /// Clients with the fingerprint of a browser are accepted.
    Gated,
    /// Clients with a clearance are accepted.
    Challenged,
}

/// Fetches a page of the site every three minutes for a week.
///
/// # Errors
/// An error of the request URL or of a shipped profile. It cannot occur with the shipped data.
pub async fn simulate_week(strategy: Strategy) -> Result<SimulationCost> {
    simulate_week_with(strategy, SimulatedChallenge::Known, &Rules::shipped()).await
}

/// Simulates a week as [`simulate_week`] does, with another challenge and other rules.
///
/// # Errors
/// Those of [`simulate_week`].
pub async fn simulate_week_with(
    strategy: Strategy,
    challenge: SimulatedChallenge,
    rules: &Rules,
) -> Result<SimulationCost> {
    let started_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let started_at = i64::try_from(started_at).unwrap_or_default();
    let site = Arc::new(SimulatedSite {
        started_at,
        challenge,
        now: AtomicI64::new(started_at),
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
    let robots_profile = Profile::named("plain")?;
    let new_router = || {
        let memory = HostMemory::with_clock(Arc::clone(&clock));
        let files = robots::RobotsCache::new(Arc::clone(&engine), Arc::clone(&robots_profile));
        Router::new(transports.clone(), rules.clone(), files, memory)
    };
    let min = if strategy == Strategy::Browser { Tier::Browser } else { Tier::Plain };
    let policy = EscalationPolicy {
        min,
        start: min,
        max: Tier::Browser,
        retry_policy: RetryPolicy::default(),
        budget: Budget::default(),
    };
    let (limits, render) = (Limits::default(), RenderOptions::default());
    let (mut router, mut identities) = (new_router(), identity_pair()?);
    for fetch in 0..(7 * 24 * HOUR / FETCH_INTERVAL) {
        site.now.store(started_at + fetch * FETCH_INTERVAL, Ordering::SeqCst);
        if matches!(strategy, Strategy::Climb | Strategy::ClimbAnew) {
            router = new_router();
        }
        if strategy == Strategy::ClimbAnew {
            identities = identity_pair()?;
        }
        let request = Request::get(parse_url(&format!("https://week.test/p/{fetch}"))?);
        let site_section = Arc::new(SiteSection::from_url(&request.url));
        let plan = FetchPlan {
            request: &request,
            site_section: &site_section,
            limits: &limits,
            policy,
            render: &render,
            body_sink: &BodySink::Memory,
            expectation: None,
            rules: None,
            robots: RobotsPolicy::Ignore,
            rate_limit: RateLimit::default(),
            identity_source: None,
            observer: None,
            capture: None,
        };
        let first = FirstIdentities { identities: Arc::clone(&identities), probe_fallback: None };
        let (result, trace) = router.run(&plan, first).await;
        let mut cost = site.cost();
        cost.fetches += 1;
        let is_page = |response: &RawResponse<StoredBody>| response.body.bytes == PAGE.as_bytes();
        if result.as_ref().is_ok_and(|response| !is_page(response)) {
            cost.false_pages += 1;
        } else if result.is_ok() {
            cost.pages += 1;
            let tier = trace.attempts().last().map(|attempt| attempt.tier);
            cost.plain_pages += u64::from(tier == Some(Tier::Plain));
        }
    }
    let cost = *site.cost();
    Ok(cost)
}

fn identity_pair() -> Result<Arc<IdentityPair>> {
    let browser = Identity::new("default", Profile::named("chrome-156-linux")?, None);
    let memory_key = SavedIdentityKey::new(None, &browser);
    let plain = Identity::new("default", Profile::named("plain")?, None);
    Ok(Arc::new(IdentityPair {
        plain,
        browser,
        memory_key: Some(memory_key),
        proxy_session: None,
        is_direct_fallback: false,
    }))
}

/// The simulated site: its clock, the cost so far, and the clearances with their expiry.
struct SimulatedSite {
    started_at: i64,
    challenge: SimulatedChallenge,
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
        PHASES.iter().find(|(until, _)| hour < *until).map_or(SitePhase::Challenged, |(_, phase)| *phase)
    }

    fn issue_clearance(&self) -> Cookie {
        let until = self.now() + CLEARANCE_LIFETIME;
        let mut issued = lock_unpoisoned(&self.clearances);
        let mut cookie = Cookie::session(super::CLEARANCE_COOKIE, issued.len().to_string(), "week.test");
        (cookie.expires, cookie.secure) = (Some(until), true);
        issued.push((cookie.value.clone(), until));
        cookie
    }

    fn is_cleared(&self, attempt: AttemptRequest<'_>) -> bool {
        let issued = lock_unpoisoned(&self.clearances);
        let cookies = attempt.identity.jar().pairs(&attempt.request.url);
        issued.iter().any(|(value, until)| *until > self.now() && cookies.iter().any(|(_, own)| own == value))
    }
}

/// A tier that is answered by the simulated site instead of the network.
struct SimulatedTransport {
    tier: Tier,
    site: Arc<SimulatedSite>,
}

impl Transport for SimulatedTransport {
    fn tier(&self) -> Tier {
        self.tier
    }

    fn execute<'a>(&'a self, attempt: AttemptRequest<'a>) -> BoxFuture<'a, Result<RawResponse>> {
        let is_accepted = match (self.site.phase(), self.tier) {
            (SitePhase::Open, _) | (SitePhase::Gated, Tier::Impersonate | Tier::Browser) => true,
            (SitePhase::Gated | SitePhase::Challenged, Tier::Plain) => false,
            (SitePhase::Challenged, Tier::Impersonate) => self.site.is_cleared(attempt),
            (SitePhase::Challenged, Tier::Browser) => {
                if !self.site.is_cleared(attempt) {
                    attempt.identity.jar().insert_from_site(&self.site.issue_clearance());
                }
                true
            }
        };
        let mut cost = self.site.cost();
        if self.tier == Tier::Browser {
            cost.browser_visits += 1;
        } else {
            cost.http_requests += 1;
            cost.wasted += u64::from(!is_accepted);
        }
        drop(cost);
        std::future::ready(Ok(response(attempt, is_accepted, self.site.challenge))).boxed()
    }
}

fn response(attempt: AttemptRequest<'_>, is_accepted: bool, challenge: SimulatedChallenge) -> RawResponse {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    let (status, page) = match challenge {
        _ if is_accepted => (StatusCode::OK, PAGE),
        SimulatedChallenge::Known => {
            headers.insert("cf-mitigated", HeaderValue::from_static("challenge"));
            (
                StatusCode::FORBIDDEN,
                "<!doctype html><title>Just a moment...</title><script>window._cf_chl_opt = {}</script>",
            )
        }
        SimulatedChallenge::UnknownScript => (StatusCode::OK, UNKNOWN_SCRIPT),
        SimulatedChallenge::UnknownNotice => (StatusCode::ACCEPTED, UNKNOWN_NOTICE),
    };
    RawResponse {
        status,
        version: HttpVersion::Http2,
        headers,
        received: ReceivedHead::default(),
        url: attempt.request.url.clone(),
        redirects: Vec::new(),
        body: Body::Buffered(Bytes::from_static(page.as_bytes())),
        timings: crate::exchange::trace::Timings::default(),
        browser: None,
    }
}

const PAGE: &str = "<!doctype html><title>A page</title><p>A page with some words in it.</p>";
const UNKNOWN_SCRIPT: &str = "<!doctype html><html><head><script>(function(){var n='8c1f04',s=0;\
    for(var i=0;i<n.length;i++){s=(s*31+n.charCodeAt(i))>>>0}document.cookie='gate='+n+'.'+s+'; path=/';\
    location.reload()})()</script></head></html>";
const UNKNOWN_NOTICE: &str = "<!doctype html><html lang=de><head><title>Einen Moment bitte</title></head><body>\
    <p>Ihr Browser wird gepr\u{fc}ft. Sie werden automatisch weitergeleitet.</p><script src=/pruefung/v2.js></script>\
    </body></html>";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn challenges_of_unknown_vendors_cost_as_much_as_known_ones_and_nothing_is_returned_in_place_of_a_page()
     {
        let off = "schema = 1\nname = \"structure\"\noff = [\"challenge\", \"captcha\", \"block\"]\n";
        let rules_alone = Rules::shipped().and_toml(off, "off.toml").unwrap();
        let week = |challenge, rules| async move {
            simulate_week_with(Strategy::Memory, challenge, &rules).await.unwrap()
        };
        let known = week(SimulatedChallenge::Known, Rules::shipped()).await;
        for challenge in [SimulatedChallenge::UnknownScript, SimulatedChallenge::UnknownNotice] {
            let cost = week(challenge, Rules::shipped()).await;
            eprintln!("{}: {cost:?}", challenge.name());
            assert_eq!((cost.pages, cost.false_pages), (cost.fetches, 0), "{}", challenge.name());
            assert!(cost.browser_visits <= known.browser_visits * 2, "{cost:?} {known:?}");
            let cost = week(challenge, rules_alone.clone()).await;
            eprintln!("rules alone: {cost:?}");
        }
    }

    #[tokio::test]
    async fn host_memory_saves_browser_visits_and_blocked_requests_and_follows_every_change() {
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
        // In the open phases most fetches used the plain tier. The rest is the cost of occasional probes.
        let open = u64::try_from(OPEN_HOURS * HOUR / FETCH_INTERVAL).unwrap();
        assert!(memory.plain_pages * 10 >= open * 6, "{} of {open}", memory.plain_pages);
        assert_eq!(climb.plain_pages, open);
    }
}

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

use crate::bounds::Bounds;
use crate::budget::Budget;
use crate::cookies::Cookie;
use crate::detect::Rules;
use crate::error::Result;
use crate::fingerprint::Profile;
use crate::identity::Identity;
use crate::lock::lock;
use crate::memory::{Area, Memory, Who};
use crate::net::{Engine, Trust};
use crate::politeness::{Pace, Robots};
use crate::request::{Request, parse_url};
use crate::response::{Answer, Body, HttpVersion};
use crate::robots;
use crate::router::{Errand, Keep, Ladder, Persona, Router};
use crate::schedule::Schedule;
use crate::tier::Tier;
use crate::transport::{Job, Transport};
use crate::view::View;

/// How a site is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Manners {
    /// As rungs does: by what it remembers.
    Memory,
    /// From the plain tier upwards each time, with the cookies it has.
    Climb,
    /// From the plain tier upwards each time, as somebody new.
    ClimbAnew,
    /// In the browser.
    Browser,
}

impl Manners {
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
pub struct Week {
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
const SCRIPT: [(i64, Strict); 6] = [
    (24, Strict::Open),
    (60, Strict::Gated),
    (108, Strict::Challenged),
    (132, Strict::Gated),
    (150, Strict::Open),
    (168, Strict::Challenged),
];
/// From one page to the next, in seconds.
const EVERY: i64 = 180;
const HOUR: i64 = 3600;
/// How long a clearance lasts, in seconds.
const CLEARANCE: i64 = 2 * HOUR;
/// The shares of a week in which the plain tier can get pages: what the script says.
#[cfg(test)]
const OPEN_HOURS: i64 = 24 + 18;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strict {
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
pub async fn week(manners: Manners) -> Result<Week> {
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let began = i64::try_from(began).unwrap_or_default();
    let site =
        Arc::new(Site { began, now: AtomicI64::new(began), cost: Mutex::default(), given: Mutex::default() });
    let clock: Arc<dyn Fn() -> i64 + Send + Sync> = {
        let site = Arc::clone(&site);
        Arc::new(move || site.now())
    };
    let transports: Vec<Arc<dyn Transport>> = Tier::ALL
        .map(|tier| Arc::new(StandIn { tier, site: Arc::clone(&site) }) as Arc<dyn Transport>)
        .into();
    let engine = Arc::new(Engine::new(Arc::default(), Trust::default())?);
    let plain = Profile::named("plain")?;
    let router = || {
        let memory = Memory::with_clock(None, Arc::clone(&clock));
        let files = robots::Files::new(Arc::clone(&engine), Arc::clone(&plain));
        Router::new(transports.clone(), Rules::shipped(), files, memory)
    };
    let min = if manners == Manners::Browser { Tier::Browser } else { Tier::Plain };
    let ladder = Ladder {
        min,
        start: min,
        max: Tier::Browser,
        schedule: Schedule::default(),
        budget: Budget::default(),
    };
    let (bounds, view) = (Bounds::default(), View::default());
    let (mut kept, mut persona) = (router(), persona()?);
    for fetch in 0..(7 * 24 * HOUR / EVERY) {
        site.now.store(began + fetch * EVERY, Ordering::SeqCst);
        if matches!(manners, Manners::Climb | Manners::ClimbAnew) {
            kept = router();
        }
        if manners == Manners::ClimbAnew {
            persona = self::persona()?;
        }
        let request = Request::get(parse_url(&format!("https://week.test/p/{fetch}"))?);
        let area = Arc::new(Area::of(&request.url));
        let errand = Errand {
            request: &request,
            area: &area,
            persona: &persona,
            bounds: &bounds,
            ladder,
            view: &view,
            keep: &Keep::Memory,
            expect: None,
            rules: None,
            robots: Robots::Ignore,
            pace: Pace::default(),
            others: None,
            watch: None,
            sent: None,
            instead: None,
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

fn persona() -> Result<Persona> {
    let dressed = Identity::new("default", Profile::named("chrome-156-linux")?, None);
    let who = Who::new(None, &dressed);
    let plain = Identity::new("default", Profile::named("plain")?, None);
    Ok(Persona { plain, dressed, who: Some(who), session: None, is_stopgap: false })
}

/// The site: what time it is there, what was asked of it, and whom it cleared until when.
struct Site {
    began: i64,
    now: AtomicI64,
    cost: Mutex<Week>,
    given: Mutex<Vec<(String, i64)>>,
}

impl Site {
    fn now(&self) -> i64 {
        self.now.load(Ordering::SeqCst)
    }

    fn cost(&self) -> MutexGuard<'_, Week> {
        lock(&self.cost)
    }

    fn strictness(&self) -> Strict {
        let hour = (self.now() - self.began) / HOUR;
        SCRIPT.iter().find(|(until, _)| hour < *until).map_or(Strict::Challenged, |(_, strict)| *strict)
    }

    fn clear(&self) -> Cookie {
        let until = self.now() + CLEARANCE;
        let mut given = lock(&self.given);
        let mut cookie = Cookie::session(super::CLEARANCE_COOKIE, given.len().to_string(), "week.test");
        (cookie.expires, cookie.secure) = (Some(until), true);
        given.push((cookie.value.clone(), until));
        cookie
    }

    fn is_cleared(&self, job: Job<'_>) -> bool {
        let given = lock(&self.given);
        let held = job.identity.jar().pairs(&job.request.url);
        given.iter().any(|(value, until)| *until > self.now() && held.iter().any(|(_, own)| own == value))
    }
}

/// A tier that asks the script instead of the network.
struct StandIn {
    tier: Tier,
    site: Arc<Site>,
}

impl Transport for StandIn {
    fn tier(&self) -> Tier {
        self.tier
    }

    fn attempt<'a>(&'a self, job: Job<'a>) -> BoxFuture<'a, Result<Answer>> {
        let lets_in = match (self.site.strictness(), self.tier) {
            (Strict::Open, _) | (Strict::Gated, Tier::Impersonate | Tier::Browser) => true,
            (Strict::Gated | Strict::Challenged, Tier::Plain) => false,
            (Strict::Challenged, Tier::Impersonate) => self.site.is_cleared(job),
            (Strict::Challenged, Tier::Browser) => {
                if !self.site.is_cleared(job) {
                    job.identity.jar().earn(&self.site.clear());
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
        std::future::ready(Ok(answer(job, lets_in))).boxed()
    }
}

fn answer(job: Job<'_>, lets_in: bool) -> Answer {
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
    Answer {
        status,
        version: HttpVersion::Http2,
        headers,
        url: job.request.url.clone(),
        redirects: Vec::new(),
        body: Body::Whole(Bytes::from_static(page.as_bytes())),
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
            week(Manners::Memory).await.unwrap(),
            week(Manners::Climb).await.unwrap(),
            week(Manners::ClimbAnew).await.unwrap(),
            week(Manners::Browser).await.unwrap(),
        ];
        for (week, name) in [memory, climb, anew, browser].iter().zip(Manners::ALL.map(Manners::name)) {
            eprintln!("{name}: {week:?}");
            assert_eq!(week.pages, week.fetches, "{name}: no page is lost");
        }
        assert!(memory.browser_visits <= climb.browser_visits);
        assert!(memory.browser_visits * 20 < anew.browser_visits);
        assert!(memory.browser_visits * 50 < browser.browser_visits);
        assert!(memory.wasted * 20 < climb.wasted);
        // Where the site was open, it was fetched cheaply; a probe now and then is what that costs.
        let open = u64::try_from(OPEN_HOURS * HOUR / EVERY).unwrap();
        assert!(memory.plain_pages * 10 >= open * 6, "{} of {open}", memory.plain_pages);
        assert_eq!(climb.plain_pages, open);
    }
}

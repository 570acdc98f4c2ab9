//! Pure parts of a fetch by themselves, for benches; not for use.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};

use crate::budget::Budget;
use crate::error::Result;
use crate::fingerprint::Profile;
use crate::fingerprint::profile::Over;
use crate::hints::Hints;
use crate::kind::ErrorKind;
use crate::net::dress::{self, Occasion};
use crate::net::origin::Journey;
use crate::request::Request;
use crate::router::policy::{self, History, Ladder, Means, Outcome, Step};
use crate::schedule::Schedule;
use crate::tier::Tier;
use crate::verdict::Verdict;

/// How one attempt ended.
pub enum End {
    /// With an answer: what it was judged to be, and what its Retry-After asks for.
    Answer(Verdict, Option<Duration>),
    /// With an error.
    Failure(ErrorKind),
}

/// A fetch with the defaults and a proxy account, all of whose attempts end as `ends` says: how many are made, and on
/// which tier the last was.
#[must_use]
pub fn climbed(ends: &[End]) -> (u32, Tier) {
    let (schedule, budget) = (Schedule::default(), Budget::default());
    let ladder = Ladder { min: Tier::Plain, start: Tier::Plain, max: Tier::Browser, schedule, budget };
    let means = Means { exit: true, direct: false, session: true };
    let mut history = History::new(Method::GET);
    let mut tier = ladder.start;
    for end in ends {
        history.attempted(tier, PAGE, history.elapsed + BETWEEN);
        let outcome = match end {
            End::Answer(verdict, retry_after) => Outcome::Answered { verdict, retry_after: *retry_after },
            End::Failure(kind) => Outcome::Failed(*kind),
        };
        let step = policy::decide(&ladder, means, &history, &outcome, 0.5);
        history.took(&step);
        match step {
            Step::Climb { to, .. } => tier = to,
            Step::Done | Step::Blocked { .. } | Step::Spent { .. } | Step::Fail => break,
            Step::Retry { .. } | Step::Wait { .. } | Step::NewSession { .. } | Step::NewExit { .. } => {}
        }
    }
    (history.attempts, history.tier)
}

/// A request to be dressed again and again.
pub struct Wardrobe {
    profile: Arc<Profile>,
    request: Request,
    journey: Journey,
    hints: Hints,
    cookies: Vec<(String, String)>,
    over: Over,
}

impl Wardrobe {
    /// `request` as `profile` writes it `over` a connection, with `cookies`, on an origin that asked for `hints` by Accept-CH.
    #[must_use]
    pub fn new(
        profile: Arc<Profile>,
        request: Request,
        over: Over,
        cookies: Vec<(String, String)>,
        hints: Option<HeaderValue>,
    ) -> Self {
        let asked = Hints::default();
        let headers: HeaderMap = hints.map(|line| (crate::hints::ACCEPT_CH, line)).into_iter().collect();
        asked.note(&request.url, &headers);
        let journey = Journey::begin(&request);
        Self { profile, request, journey, hints: asked, cookies, over }
    }

    /// The header fields in wire order.
    ///
    /// # Errors
    /// [`ErrorKind::Profile`] and [`ErrorKind::InvalidRequest`] for what cannot be written.
    pub fn fields(&self) -> Result<Vec<(Arc<str>, HeaderValue)>> {
        let occasion = Occasion {
            over: self.over,
            journey: &self.journey,
            hints: &self.hints,
            cookies: &self.cookies,
            proxy_authorization: None,
        };
        dress::fields(&self.profile, &self.request, &occasion)
    }
}

/// What an attempt brings, in bytes, and how long after the one before it the next begins.
const PAGE: u64 = 50_000;
const BETWEEN: Duration = Duration::from_millis(200);

//! The four sites of the demo origin: how each responds to a recorded request.

use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Instant;

use serde::Serialize;

use crate::os::sync::lock_unpoisoned;

use super::challenge::{
    ChallengeAnswer, ChallengeError, ChallengeMode, ChallengeOutcome, ClearanceStore, DIFFICULTY,
};
use super::recording::Exchange;
use super::reference::{ClientFingerprint, Reference};
use super::reply::Reply;

/// The cookie that a passed challenge sets.
pub const CLEARANCE_COOKIE: &str = "cf_clearance";
/// The path at which a browser's recording starts.
pub(super) const REFERENCE_PATH: &str = "/__lab/reference";
/// The last request of that recording.
pub(super) const REFERENCE_END: &str = "/__lab/reference/done";

/// Set by an answer to a challenge whose outcome is not a clearance.
const ANSWERED_COOKIE: &str = "lab_answered";
const VERIFY: &str = "/__lab/verify";
const ME: &str = "/__lab/me";

/// Counters of all sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SiteCounters {
    /// Pages sent by open.test.
    pub open: u64,
    /// Pages sent by gated.test.
    pub gated_passed: u64,
    /// Block pages sent by gated.test.
    pub gated_refused: u64,
    /// Challenge pages sent by challenged.test.
    pub challenges: u64,
    /// Answers to challenges, correct or not. Each needs a browser.
    pub verifies: u64,
    /// Clearances issued.
    pub clearances: u64,
    /// Pages sent by challenged.test to cleared clients.
    pub challenged_passed: u64,
    /// Captcha and block pages sent by challenged.test after a correct answer.
    pub challenged_refused: u64,
    /// Block pages sent by closed.test.
    pub closed: u64,
}

/// The state of the sites. They identify a client only by its recorded traffic.
#[derive(Default)]
pub(super) struct DemoSites {
    pub(super) reference: OnceLock<Reference>,
    counts: Mutex<SiteCounters>,
    clearances: Mutex<ClearanceStore>,
    refusals: Mutex<Vec<&'static str>>,
}

impl DemoSites {
    pub(super) fn counts(&self) -> MutexGuard<'_, SiteCounters> {
        lock_unpoisoned(&self.counts)
    }

    /// Sets the behaviour of challenged.test from now on.
    pub(super) fn set_challenge_mode(&self, mode: ChallengeMode) {
        lock_unpoisoned(&self.clearances).set_mode(mode);
    }

    fn record_refusal(&self, reason: Vec<&'static str>) {
        *lock_unpoisoned(&self.refusals) = reason;
    }

    /// The reason that gated.test rejected the last request, or challenged.test the last answer.
    pub(super) fn last_refusal(&self) -> Vec<&'static str> {
        lock_unpoisoned(&self.refusals).clone()
    }

    pub(super) fn respond(&self, exchange: &Exchange) -> Reply {
        let request = &exchange.request;
        let path = request.path.split('?').next().unwrap_or_default();
        if matches!(path, "/favicon.ico" | "/robots.txt") {
            return Reply::status(404);
        }
        match request.host() {
            "open.test" => self.open(exchange, path),
            "gated.test" => self.gated(exchange),
            "challenged.test" => self.challenged(exchange, path),
            "closed.test" => self.closed(exchange),
            _ => Reply::html(404, "<title>Not found</title><p>There is no such site in the lab."),
        }
    }

    fn open(&self, exchange: &Exchange, path: &str) -> Reply {
        match path {
            ME => describe_client(exchange),
            REFERENCE_PATH => Reply::redirect(302, "/__lab/reference/landed")
                .header("set-cookie", "reference=1; Path=/; Secure"),
            "/__lab/reference/landed" => Reply::html(200, include_str!("pages/reference.html")),
            REFERENCE_END => Reply::status(204),
            _ => {
                self.counts().open += 1;
                page("An open page")
            }
        }
    }

    fn gated(&self, exchange: &Exchange) -> Reply {
        let differences = match self.reference.get() {
            Some(reference) => reference.differences(&exchange.client, &exchange.request),
            None => vec!["reference"],
        };
        if differences.is_empty() {
            self.counts().gated_passed += 1;
            return page("A gated page");
        }
        self.counts().gated_refused += 1;
        self.record_refusal(differences);
        let number = format!("{:016x}", rand::random::<u64>());
        Reply::html(403, include_str!("pages/gated.html").replace("{reference}", &number))
    }

    fn challenged(&self, exchange: &Exchange, path: &str) -> Reply {
        let client = ClientFingerprint::from_request(&exchange.client, &exchange.request);
        let now = Instant::now();
        let mut store = lock_unpoisoned(&self.clearances);
        if path == VERIFY && exchange.request.method == "POST" {
            self.counts().verifies += 1;
            let Ok(answer) = serde_json::from_slice::<ChallengeAnswer>(&exchange.body) else {
                self.record_refusal(vec!["malformed"]);
                return with_vendor_headers(Reply::json(400, r#"{"ok":false,"why":"malformed"}"#));
            };
            let result = store.verify(&answer, client, now);
            return with_vendor_headers(self.challenge_reply(
                result,
                store.outcome(),
                store.lifetime().as_secs(),
            ));
        }
        if exchange.request.cookie(ANSWERED_COOKIE).is_some() && store.outcome() != ChallengeOutcome::Passed {
            self.counts().challenged_refused += 1;
            return match store.outcome() {
                ChallengeOutcome::Captcha => {
                    with_vendor_headers(Reply::html(403, include_str!("pages/captcha.html")))
                }
                _ => closed_page("challenged.test"),
            };
        }
        if exchange.request.cookie(CLEARANCE_COOKIE).is_some_and(|token| store.redeem(token, &client, now)) {
            self.counts().challenged_passed += 1;
            return with_vendor_headers(page("A challenged page"));
        }
        self.counts().challenges += 1;
        let html = include_str!("pages/challenge.html")
            .replace("{host}", "challenged.test")
            .replace("{nonce}", &store.issue_puzzle(client, now))
            .replace("{difficulty}", &DIFFICULTY.to_string());
        with_vendor_headers(Reply::html(403, html))
            .header("cf-mitigated", "challenge")
            .header("cache-control", "private, no-store")
    }

    /// The reply to the answer to a challenge.
    fn challenge_reply(
        &self,
        result: Result<String, ChallengeError>,
        outcome: ChallengeOutcome,
        age: u64,
    ) -> Reply {
        let cookie = |name: &str, value: &str| {
            format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; Secure; SameSite=Lax")
        };
        match (result, outcome) {
            (Ok(token), ChallengeOutcome::Passed) => {
                self.counts().clearances += 1;
                Reply::json(200, r#"{"ok":true}"#).header("set-cookie", cookie(CLEARANCE_COOKIE, &token))
            }
            (Ok(_), ChallengeOutcome::Captcha | ChallengeOutcome::Refused) => {
                Reply::json(200, r#"{"ok":true}"#).header("set-cookie", cookie(ANSWERED_COOKIE, "1"))
            }
            (Ok(_), ChallengeOutcome::Endless) => Reply::json(403, r#"{"ok":false}"#),
            (Err(refusal), _) => {
                self.record_refusal(vec![refusal.name()]);
                Reply::json(403, format!(r#"{{"ok":false,"why":"{}"}}"#, refusal.name()))
            }
        }
    }

    fn closed(&self, _: &Exchange) -> Reply {
        self.counts().closed += 1;
        closed_page("closed.test")
    }
}

fn closed_page(host: &str) -> Reply {
    let html = include_str!("pages/closed.html").replace("{host}", host);
    with_vendor_headers(Reply::html(403, html)).header("cf-mitigated", "block")
}

/// Adds the headers that the simulated vendor sets on every response.
fn with_vendor_headers(reply: Reply) -> Reply {
    reply.header("server", "cloudflare").header("cf-ray", format!("{:016x}-LAB", rand::random::<u64>()))
}

fn page(title: &str) -> Reply {
    Reply::html(200, include_str!("pages/open.html").replace("{title}", title))
}

/// Returns a client's own recording.
fn describe_client(exchange: &Exchange) -> Reply {
    match serde_json::to_string_pretty(&exchange.client.to_connection()) {
        Ok(text) => Reply::json(200, text),
        Err(_) => Reply::status(500),
    }
}

//! The four sites of the demo origin: what each answers to what was heard.

use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Instant;

use serde::Serialize;

use crate::sync::lock_unpoisoned;

use super::challenge::{
    ChallengeAnswer, ChallengeError, ChallengeMode, ChallengeOutcome, ClearanceStore, DIFFICULTY,
};
use super::recording::Exchange;
use super::reference::{ClientFingerprint, Reference};
use super::reply::Reply;

/// The cookie a passed challenge earns.
pub const CLEARANCE_COOKIE: &str = "cf_clearance";
/// Where a browser is sent to be recorded.
pub(super) const REFERENCE_PATH: &str = "/__lab/reference";
/// The last request of that recording.
pub(super) const REFERENCE_END: &str = "/__lab/reference/done";

/// Set by an answer to a challenge that ends in something else than a clearance.
const ANSWERED_COOKIE: &str = "lab_answered";
const VERIFY: &str = "/__lab/verify";
const ME: &str = "/__lab/me";

/// How often each site did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SiteCounters {
    /// Pages open.test gave.
    pub open: u64,
    /// Pages gated.test gave.
    pub gated_passed: u64,
    /// Block pages gated.test gave.
    pub gated_refused: u64,
    /// Challenge pages challenged.test gave.
    pub challenges: u64,
    /// Answers to challenges that came in, right or wrong: each took a browser.
    pub verifies: u64,
    /// Clearances given.
    pub clearances: u64,
    /// Pages challenged.test gave to who was cleared.
    pub challenged_passed: u64,
    /// Captcha and block pages challenged.test gave after a right answer.
    pub challenged_refused: u64,
    /// Block pages closed.test gave.
    pub closed: u64,
}

/// The sites' state. They know nothing of who asks but what was heard.
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

    /// How challenged.test behaves from now on.
    pub(super) fn set_challenge_mode(&self, manner: ChallengeMode) {
        lock_unpoisoned(&self.clearances).set_mode(manner);
    }

    fn record_refusal(&self, why: Vec<&'static str>) {
        *lock_unpoisoned(&self.refusals) = why;
    }

    /// Why the last request was refused by gated.test, or the last answer by challenged.test.
    pub(super) fn last_refusal(&self) -> Vec<&'static str> {
        lock_unpoisoned(&self.refusals).clone()
    }

    pub(super) fn respond(&self, heard: &Exchange) -> Reply {
        let request = &heard.request;
        let path = request.path.split('?').next().unwrap_or_default();
        if matches!(path, "/favicon.ico" | "/robots.txt") {
            return Reply::status(404);
        }
        match request.host() {
            "open.test" => self.open(heard, path),
            "gated.test" => self.gated(heard),
            "challenged.test" => self.challenged(heard, path),
            "closed.test" => self.closed(heard),
            _ => Reply::html(404, "<title>Not found</title><p>There is no such site in the lab."),
        }
    }

    fn open(&self, heard: &Exchange, path: &str) -> Reply {
        match path {
            ME => describe_client(heard),
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

    fn gated(&self, heard: &Exchange) -> Reply {
        let differences = match self.reference.get() {
            Some(reference) => reference.differences(&heard.client, &heard.request),
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

    fn challenged(&self, heard: &Exchange, path: &str) -> Reply {
        let holder = ClientFingerprint::from_request(&heard.client, &heard.request);
        let now = Instant::now();
        let mut ledger = lock_unpoisoned(&self.clearances);
        if path == VERIFY && heard.request.method == "POST" {
            self.counts().verifies += 1;
            let Ok(answer) = serde_json::from_slice::<ChallengeAnswer>(&heard.body) else {
                self.record_refusal(vec!["malformed"]);
                return with_vendor_headers(Reply::json(400, r#"{"ok":false,"why":"malformed"}"#));
            };
            let judged = ledger.verify(&answer, holder, now);
            return with_vendor_headers(self.challenge_reply(
                judged,
                ledger.outcome(),
                ledger.lifetime().as_secs(),
            ));
        }
        if heard.request.cookie(ANSWERED_COOKIE).is_some() && ledger.outcome() != ChallengeOutcome::Passed {
            self.counts().challenged_refused += 1;
            return match ledger.outcome() {
                ChallengeOutcome::Captcha => {
                    with_vendor_headers(Reply::html(403, include_str!("pages/captcha.html")))
                }
                _ => closed_page("challenged.test"),
            };
        }
        if heard.request.cookie(CLEARANCE_COOKIE).is_some_and(|token| ledger.redeem(token, &holder, now)) {
            self.counts().challenged_passed += 1;
            return with_vendor_headers(page("A challenged page"));
        }
        self.counts().challenges += 1;
        let html = include_str!("pages/challenge.html")
            .replace("{host}", "challenged.test")
            .replace("{nonce}", &ledger.issue_puzzle(holder, now))
            .replace("{difficulty}", &DIFFICULTY.to_string());
        with_vendor_headers(Reply::html(403, html))
            .header("cf-mitigated", "challenge")
            .header("cache-control", "private, no-store")
    }

    /// The answer to an answer.
    fn challenge_reply(
        &self,
        judged: Result<String, ChallengeError>,
        ending: ChallengeOutcome,
        age: u64,
    ) -> Reply {
        let cookie = |name: &str, value: &str| {
            format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; Secure; SameSite=Lax")
        };
        match (judged, ending) {
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

/// What stands on every answer of a site behind that vendor, good or bad.
fn with_vendor_headers(reply: Reply) -> Reply {
    reply.header("server", "cloudflare").header("cf-ray", format!("{:016x}-LAB", rand::random::<u64>()))
}

fn page(title: &str) -> Reply {
    Reply::html(200, include_str!("pages/open.html").replace("{title}", title))
}

/// Tells a client what was heard of it.
fn describe_client(heard: &Exchange) -> Reply {
    match serde_json::to_string_pretty(&heard.client.to_connection()) {
        Ok(text) => Reply::json(200, text),
        Err(_) => Reply::status(500),
    }
}

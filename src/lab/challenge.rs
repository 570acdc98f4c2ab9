//! The JavaScript challenge: puzzles given out, answers judged, clearances kept.
//!
//! Decides only; what time it is comes from outside.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::reference::ClientFingerprint;
use crate::hex;

/// How many leading zero bits an answer's hash must have.
pub(super) const DIFFICULTY: u32 = 10;
/// How long a clearance is good.
pub(super) const CLEARANCE_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// How long a puzzle may take.
const PUZZLE_LIFETIME: Duration = Duration::from_secs(120);
/// The most puzzles, and the most clearances, kept; the oldest go first.
const MAX_ENTRIES: usize = 1024;

/// How the challenge behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChallengeMode {
    /// What comes of a right answer. Default: a clearance.
    pub outcome: ChallengeOutcome,
    /// How many pages a clearance is good for, besides its time. Default: any number. With 1 the
    /// browser that earned it uses it up: it is no good to anybody else.
    pub pages: Option<u32>,
    /// How long a clearance and its cookie are good. Default: 30 minutes.
    pub lifetime: Option<Duration>,
}

impl ChallengeMode {
    /// A right answer ends so.
    #[must_use]
    pub const fn outcome(mut self, ending: ChallengeOutcome) -> Self {
        self.outcome = ending;
        self
    }

    /// A clearance is good for so many pages.
    #[must_use]
    pub const fn pages(mut self, pages: u32) -> Self {
        self.pages = Some(pages);
        self
    }

    /// A clearance is good for so long.
    #[must_use]
    pub const fn lifetime(mut self, lasts: Duration) -> Self {
        self.lifetime = Some(lasts);
        self
    }
}

/// What comes of a right answer to the challenge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChallengeOutcome {
    /// A clearance.
    #[default]
    Passed,
    /// A page with a widget that a person must click.
    Captcha,
    /// A block page.
    Refused,
    /// Nothing: the challenge page stays.
    Endless,
}

/// What the page's script reports.
#[derive(Debug, Deserialize)]
pub(super) struct ChallengeAnswer {
    nonce: String,
    counter: u64,
    webdriver: bool,
    user_agent: String,
    screen: (u32, u32),
    languages: Vec<String>,
}

/// Why an answer was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChallengeError {
    UnknownPuzzle,
    WrongHash,
    Webdriver,
    UserAgent,
    NoScreen,
    NoLanguage,
}

impl ChallengeError {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::UnknownPuzzle => "unknown_puzzle",
            Self::WrongHash => "wrong_hash",
            Self::Webdriver => "webdriver",
            Self::UserAgent => "user_agent",
            Self::NoScreen => "no_screen",
            Self::NoLanguage => "no_language",
        }
    }
}

/// Puzzles open and clearances given.
#[derive(Debug, Default)]
pub(super) struct ClearanceStore {
    puzzles: VecDeque<IssuedToken>,
    clearances: VecDeque<IssuedToken>,
    mode: ChallengeMode,
}

#[derive(Debug)]
struct IssuedToken {
    token: String,
    holder: ClientFingerprint,
    until: Instant,
    /// How often it may still be used, where that is limited.
    uses_left: Option<u32>,
}

impl ClearanceStore {
    /// How the challenge behaves from now on.
    pub(super) const fn set_mode(&mut self, manner: ChallengeMode) {
        self.mode = manner;
    }

    pub(super) const fn outcome(&self) -> ChallengeOutcome {
        self.mode.outcome
    }

    /// How long a clearance is good.
    pub(super) fn lifetime(&self) -> Duration {
        self.mode.lifetime.unwrap_or(CLEARANCE_LIFETIME)
    }

    /// A new puzzle for this client.
    pub(super) fn issue_puzzle(&mut self, holder: ClientFingerprint, now: Instant) -> String {
        issue_token(&mut self.puzzles, holder, now + PUZZLE_LIFETIME, None)
    }

    /// Judges an answer; a right one becomes a clearance. A puzzle is good for one answer.
    pub(super) fn verify(
        &mut self,
        answer: &ChallengeAnswer,
        holder: ClientFingerprint,
        now: Instant,
    ) -> Result<String, ChallengeError> {
        let place = self
            .puzzles
            .iter()
            .position(|p| p.token == answer.nonce && p.holder == holder && p.until > now)
            .ok_or(ChallengeError::UnknownPuzzle)?;
        self.puzzles.remove(place);
        if leading_zeros(&answer.nonce, &answer.user_agent, answer.counter) < DIFFICULTY {
            return Err(ChallengeError::WrongHash);
        }
        if answer.webdriver {
            return Err(ChallengeError::Webdriver);
        }
        // What the page sees must be what the wire said.
        if !holder.has_user_agent(&answer.user_agent) || answer.user_agent.contains("Headless") {
            return Err(ChallengeError::UserAgent);
        }
        if answer.screen.0 == 0 || answer.screen.1 == 0 {
            return Err(ChallengeError::NoScreen);
        }
        if answer.languages.is_empty() {
            return Err(ChallengeError::NoLanguage);
        }
        let until = now + self.lifetime();
        Ok(issue_token(&mut self.clearances, holder, until, self.mode.pages))
    }

    /// Whether this clearance is good in these hands, for one page.
    pub(super) fn redeem(&mut self, token: &str, holder: &ClientFingerprint, now: Instant) -> bool {
        let mut held = self.clearances.iter_mut();
        let Some(found) = held.find(|c| c.token == token && c.holder == *holder && c.until > now) else {
            return false;
        };
        match &mut found.uses_left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

fn issue_token(
    entries: &mut VecDeque<IssuedToken>,
    holder: ClientFingerprint,
    until: Instant,
    left: Option<u32>,
) -> String {
    let token = hex::encode(&rand::random::<[u8; 16]>());
    entries.push_back(IssuedToken { token: token.clone(), holder, until, uses_left: left });
    if entries.len() > MAX_ENTRIES {
        entries.pop_front();
    }
    token
}

fn leading_zeros(nonce: &str, user_agent: &str, counter: u64) -> u32 {
    let hash = Sha256::digest(format!("{nonce}:{user_agent}:{counter}"));
    let (head, _) = hash.split_at(4);
    u32::from_be_bytes([head[0], head[1], head[2], head[3]]).leading_zeros()
}

/// Solves a puzzle as the page's script would.
#[cfg(test)]
pub(super) fn solve(nonce: &str, user_agent: &str) -> String {
    let counter =
        (0..u32::MAX).find(|counter| leading_zeros(nonce, user_agent, u64::from(*counter)) >= DIFFICULTY);
    serde_json::json!({
        "nonce": nonce,
        "counter": counter,
        "webdriver": false,
        "user_agent": user_agent,
        "screen": [1920, 1080],
        "languages": ["en-US"],
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: &str = "Mozilla/5.0 Test";

    fn holder(ja4: &str) -> ClientFingerprint {
        ClientFingerprint::for_test(ja4, AGENT)
    }

    fn solved(nonce: &str) -> ChallengeAnswer {
        serde_json::from_str(&solve(nonce, AGENT)).unwrap()
    }

    #[test]
    fn a_right_answer_clears_only_the_client_that_gave_it() {
        let (mut ledger, now) = (ClearanceStore::default(), Instant::now());
        let nonce = ledger.issue_puzzle(holder("one"), now);
        let token = ledger.verify(&solved(&nonce), holder("one"), now).unwrap();
        assert!(ledger.redeem(&token, &holder("one"), now));
        assert!(!ledger.redeem(&token, &holder("two"), now));
        assert!(!ledger.redeem(&token, &ClientFingerprint::for_test("one", "another"), now));
        assert!(!ledger.redeem("0", &holder("one"), now));
        assert!(!ledger.redeem(&token, &holder("one"), now + CLEARANCE_LIFETIME));
    }

    #[test]
    fn a_clearance_for_some_pages_is_used_up_by_them() {
        let (mut ledger, now) = (ClearanceStore::default(), Instant::now());
        ledger.set_mode(ChallengeMode::default().pages(2).lifetime(Duration::from_secs(5)));
        let nonce = ledger.issue_puzzle(holder("one"), now);
        let token = ledger.verify(&solved(&nonce), holder("one"), now).unwrap();
        let mut used = || ledger.redeem(&token, &holder("one"), now);
        assert_eq!([used(), used(), used()], [true, true, false]);
        let nonce = ledger.issue_puzzle(holder("one"), now);
        let token = ledger.verify(&solved(&nonce), holder("one"), now).unwrap();
        assert!(!ledger.redeem(&token, &holder("one"), now + Duration::from_secs(5)));
    }

    #[test]
    fn a_puzzle_is_good_once_and_only_for_who_got_it() {
        let (mut ledger, now) = (ClearanceStore::default(), Instant::now());
        let nonce = ledger.issue_puzzle(holder("one"), now);
        let answer = solved(&nonce);
        assert_eq!(ledger.verify(&answer, holder("two"), now), Err(ChallengeError::UnknownPuzzle));
        assert_eq!(
            ledger.verify(&answer, holder("one"), now + PUZZLE_LIFETIME),
            Err(ChallengeError::UnknownPuzzle)
        );
        assert!(ledger.verify(&answer, holder("one"), now).is_ok());
        assert_eq!(ledger.verify(&answer, holder("one"), now), Err(ChallengeError::UnknownPuzzle));
    }

    #[test]
    fn what_a_driven_browser_shows_is_refused() {
        type Change = fn(&mut ChallengeAnswer);
        let cases: [(Change, ChallengeError); 5] = [
            (|a| a.webdriver = true, ChallengeError::Webdriver),
            (|a| a.screen = (0, 0), ChallengeError::NoScreen),
            (|a| a.languages.clear(), ChallengeError::NoLanguage),
            (|a| a.counter = u64::MAX, ChallengeError::WrongHash),
            (|a| a.nonce.push('0'), ChallengeError::UnknownPuzzle),
        ];
        for (change, refusal) in cases {
            let (mut ledger, now) = (ClearanceStore::default(), Instant::now());
            let mut answer = solved(&ledger.issue_puzzle(holder("one"), now));
            change(&mut answer);
            assert_eq!(ledger.verify(&answer, holder("one"), now), Err(refusal));
        }
    }

    #[test]
    fn the_user_agent_in_the_page_must_be_the_one_on_the_wire() {
        let (mut ledger, now) = (ClearanceStore::default(), Instant::now());
        let other = ClientFingerprint::for_test("one", "another");
        let nonce = ledger.issue_puzzle(other.clone(), now);
        assert_eq!(ledger.verify(&solved(&nonce), other, now), Err(ChallengeError::UserAgent));
    }
}

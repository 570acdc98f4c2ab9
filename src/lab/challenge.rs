//! The JavaScript challenge: issues puzzles, verifies answers, stores clearances.
//!
//! Pure: the caller passes the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::reference::ClientFingerprint;
use crate::text::hex;

/// The number of leading zero bits that an answer's hash must have.
pub(super) const DIFFICULTY: u32 = 10;
/// How long a clearance is valid.
pub(super) const CLEARANCE_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// How long a puzzle is valid.
const PUZZLE_LIFETIME: Duration = Duration::from_secs(120);
/// The maximum number of puzzles, and of clearances. The oldest are dropped.
const MAX_ENTRIES: usize = 1024;

/// The behaviour of the challenge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChallengeMode {
    /// The outcome of a correct answer. Default: a clearance.
    pub outcome: ChallengeOutcome,
    /// The number of pages for which a clearance is valid, besides its lifetime. Default: unlimited. With 1,
    /// the browser that passed the challenge uses it up, so it is not portable to another client.
    pub pages: Option<u32>,
    /// How long a clearance and its cookie are valid. Default: 30 minutes.
    pub lifetime: Option<Duration>,
}

impl ChallengeMode {
    /// Sets the outcome of a correct answer.
    #[must_use]
    pub const fn outcome(mut self, outcome: ChallengeOutcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Sets the number of pages for which a clearance is valid.
    #[must_use]
    pub const fn pages(mut self, pages: u32) -> Self {
        self.pages = Some(pages);
        self
    }

    /// Sets how long a clearance is valid.
    #[must_use]
    pub const fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }
}

/// The outcome of a correct answer to the challenge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChallengeOutcome {
    /// A clearance.
    #[default]
    Passed,
    /// A captcha page, whose widget a person must click.
    Captcha,
    /// A block page.
    Refused,
    /// The challenge page again.
    Endless,
}

/// The answer that the page's script sends.
#[derive(Debug, Deserialize)]
pub(super) struct ChallengeAnswer {
    nonce: String,
    counter: u64,
    webdriver: bool,
    user_agent: String,
    screen: (u32, u32),
    languages: Vec<String>,
}

/// The reason that an answer was rejected.
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

/// Open puzzles and issued clearances.
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
    /// The remaining uses, if limited.
    uses_left: Option<u32>,
}

impl ClearanceStore {
    /// Sets the behaviour of the challenge from now on.
    pub(super) const fn set_mode(&mut self, mode: ChallengeMode) {
        self.mode = mode;
    }

    pub(super) const fn outcome(&self) -> ChallengeOutcome {
        self.mode.outcome
    }

    /// How long a clearance is valid.
    pub(super) fn lifetime(&self) -> Duration {
        self.mode.lifetime.unwrap_or(CLEARANCE_LIFETIME)
    }

    /// Issues a puzzle for this client.
    pub(super) fn issue_puzzle(&mut self, holder: ClientFingerprint, now: Instant) -> String {
        issue_token(&mut self.puzzles, holder, now + PUZZLE_LIFETIME, None)
    }

    /// Verifies an answer and issues a clearance if it is correct. A puzzle accepts one answer.
    pub(super) fn verify(
        &mut self,
        answer: &ChallengeAnswer,
        holder: ClientFingerprint,
        now: Instant,
    ) -> Result<String, ChallengeError> {
        let index = self
            .puzzles
            .iter()
            .position(|p| p.token == answer.nonce && p.holder == holder && p.until > now)
            .ok_or(ChallengeError::UnknownPuzzle)?;
        self.puzzles.remove(index);
        if leading_zeros(&answer.nonce, &answer.user_agent, answer.counter) < DIFFICULTY {
            return Err(ChallengeError::WrongHash);
        }
        if answer.webdriver {
            return Err(ChallengeError::Webdriver);
        }
        // The user agent that the page sees must equal the one on the wire.
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

    /// Uses a clearance for one page. Returns whether it is valid for this client.
    pub(super) fn redeem(&mut self, token: &str, holder: &ClientFingerprint, now: Instant) -> bool {
        let mut clearances = self.clearances.iter_mut();
        let Some(found) = clearances.find(|c| c.token == token && c.holder == *holder && c.until > now)
        else {
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
    uses_left: Option<u32>,
) -> String {
    let token = hex::encode(&rand::random::<[u8; 16]>());
    entries.push_back(IssuedToken { token: token.clone(), holder, until, uses_left });
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

/// Solves a puzzle as the page's script does.
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
    fn a_correct_answer_clears_only_the_client_that_sent_it() {
        let (mut store, now) = (ClearanceStore::default(), Instant::now());
        let nonce = store.issue_puzzle(holder("one"), now);
        let token = store.verify(&solved(&nonce), holder("one"), now).unwrap();
        assert!(store.redeem(&token, &holder("one"), now));
        assert!(!store.redeem(&token, &holder("two"), now));
        assert!(!store.redeem(&token, &ClientFingerprint::for_test("one", "another"), now));
        assert!(!store.redeem("0", &holder("one"), now));
        assert!(!store.redeem(&token, &holder("one"), now + CLEARANCE_LIFETIME));
    }

    #[test]
    fn a_clearance_is_valid_for_its_number_of_pages() {
        let (mut store, now) = (ClearanceStore::default(), Instant::now());
        store.set_mode(ChallengeMode::default().pages(2).lifetime(Duration::from_secs(5)));
        let nonce = store.issue_puzzle(holder("one"), now);
        let token = store.verify(&solved(&nonce), holder("one"), now).unwrap();
        let mut used = || store.redeem(&token, &holder("one"), now);
        assert_eq!([used(), used(), used()], [true, true, false]);
        let nonce = store.issue_puzzle(holder("one"), now);
        let token = store.verify(&solved(&nonce), holder("one"), now).unwrap();
        assert!(!store.redeem(&token, &holder("one"), now + Duration::from_secs(5)));
    }

    #[test]
    fn a_puzzle_accepts_one_answer_of_the_client_it_was_issued_to() {
        let (mut store, now) = (ClearanceStore::default(), Instant::now());
        let nonce = store.issue_puzzle(holder("one"), now);
        let answer = solved(&nonce);
        assert_eq!(store.verify(&answer, holder("two"), now), Err(ChallengeError::UnknownPuzzle));
        assert_eq!(
            store.verify(&answer, holder("one"), now + PUZZLE_LIFETIME),
            Err(ChallengeError::UnknownPuzzle)
        );
        assert!(store.verify(&answer, holder("one"), now).is_ok());
        assert_eq!(store.verify(&answer, holder("one"), now), Err(ChallengeError::UnknownPuzzle));
    }

    #[test]
    fn answers_of_an_automated_browser_are_rejected() {
        type Change = fn(&mut ChallengeAnswer);
        let cases: [(Change, ChallengeError); 5] = [
            (|a| a.webdriver = true, ChallengeError::Webdriver),
            (|a| a.screen = (0, 0), ChallengeError::NoScreen),
            (|a| a.languages.clear(), ChallengeError::NoLanguage),
            (|a| a.counter = u64::MAX, ChallengeError::WrongHash),
            (|a| a.nonce.push('0'), ChallengeError::UnknownPuzzle),
        ];
        for (change, refusal) in cases {
            let (mut store, now) = (ClearanceStore::default(), Instant::now());
            let mut answer = solved(&store.issue_puzzle(holder("one"), now));
            change(&mut answer);
            assert_eq!(store.verify(&answer, holder("one"), now), Err(refusal));
        }
    }

    #[test]
    fn the_user_agent_in_the_page_must_be_the_one_on_the_wire() {
        let (mut store, now) = (ClearanceStore::default(), Instant::now());
        let other = ClientFingerprint::for_test("one", "another");
        let nonce = store.issue_puzzle(other.clone(), now);
        assert_eq!(store.verify(&solved(&nonce), other, now), Err(ChallengeError::UserAgent));
    }
}

//! The JavaScript challenge: puzzles given out, answers judged, clearances kept.
//!
//! Decides only; what time it is comes from outside.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::reference::Fingerprint;
use crate::hex;

/// How many leading zero bits an answer's hash must have.
pub(super) const DIFFICULTY: u32 = 10;
/// How long a clearance is good.
pub(super) const CLEARANCE: Duration = Duration::from_secs(30 * 60);
/// How long a puzzle may take.
const PUZZLE: Duration = Duration::from_secs(120);
/// The most puzzles, and the most clearances, kept; the oldest go first.
const MAX_KEPT: usize = 1024;

/// How the challenge behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manner {
    /// What comes of a right answer. Default: a clearance.
    pub ending: Ending,
    /// How many pages a clearance is good for, besides its time. Default: any number. With 1 the
    /// browser that earned it uses it up: it is no good to anybody else.
    pub pages: Option<u32>,
    /// How long a clearance and its cookie are good. Default: 30 minutes.
    pub lasts: Option<Duration>,
}

impl Manner {
    /// A right answer ends so.
    #[must_use]
    pub const fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
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
    pub const fn lasts(mut self, lasts: Duration) -> Self {
        self.lasts = Some(lasts);
        self
    }
}

/// What comes of a right answer to the challenge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
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
pub(super) struct Answer {
    nonce: String,
    counter: u64,
    webdriver: bool,
    user_agent: String,
    screen: (u32, u32),
    languages: Vec<String>,
}

/// Why an answer was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownPuzzle,
    WrongHash,
    Webdriver,
    UserAgent,
    NoScreen,
    NoLanguage,
}

impl Refusal {
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
pub(super) struct Ledger {
    puzzles: VecDeque<Entry>,
    clearances: VecDeque<Entry>,
    manner: Manner,
}

#[derive(Debug)]
struct Entry {
    token: String,
    holder: Fingerprint,
    until: Instant,
    /// How often it may still be used, where that is limited.
    left: Option<u32>,
}

impl Ledger {
    /// How the challenge behaves from now on.
    pub(super) const fn behave(&mut self, manner: Manner) {
        self.manner = manner;
    }

    pub(super) const fn ending(&self) -> Ending {
        self.manner.ending
    }

    /// How long a clearance is good.
    pub(super) fn lasts(&self) -> Duration {
        self.manner.lasts.unwrap_or(CLEARANCE)
    }

    /// A new puzzle for this client.
    pub(super) fn puzzle(&mut self, holder: Fingerprint, now: Instant) -> String {
        give(&mut self.puzzles, holder, now + PUZZLE, None)
    }

    /// Judges an answer; a right one becomes a clearance. A puzzle is good for one answer.
    pub(super) fn judge(
        &mut self,
        answer: &Answer,
        holder: Fingerprint,
        now: Instant,
    ) -> Result<String, Refusal> {
        let place = self
            .puzzles
            .iter()
            .position(|p| p.token == answer.nonce && p.holder == holder && p.until > now)
            .ok_or(Refusal::UnknownPuzzle)?;
        self.puzzles.remove(place);
        if leading_zeros(&answer.nonce, &answer.user_agent, answer.counter) < DIFFICULTY {
            return Err(Refusal::WrongHash);
        }
        if answer.webdriver {
            return Err(Refusal::Webdriver);
        }
        // What the page sees must be what the wire said.
        if !holder.has_user_agent(&answer.user_agent) || answer.user_agent.contains("Headless") {
            return Err(Refusal::UserAgent);
        }
        if answer.screen.0 == 0 || answer.screen.1 == 0 {
            return Err(Refusal::NoScreen);
        }
        if answer.languages.is_empty() {
            return Err(Refusal::NoLanguage);
        }
        let until = now + self.lasts();
        Ok(give(&mut self.clearances, holder, until, self.manner.pages))
    }

    /// Whether this clearance is good in these hands, for one page.
    pub(super) fn clears(&mut self, token: &str, holder: &Fingerprint, now: Instant) -> bool {
        let mut held = self.clearances.iter_mut();
        let Some(found) = held.find(|c| c.token == token && c.holder == *holder && c.until > now) else {
            return false;
        };
        match &mut found.left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

fn give(entries: &mut VecDeque<Entry>, holder: Fingerprint, until: Instant, left: Option<u32>) -> String {
    let token = hex::encode(&rand::random::<[u8; 16]>());
    entries.push_back(Entry { token: token.clone(), holder, until, left });
    if entries.len() > MAX_KEPT {
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

    fn holder(ja4: &str) -> Fingerprint {
        Fingerprint::for_test(ja4, AGENT)
    }

    fn solved(nonce: &str) -> Answer {
        serde_json::from_str(&solve(nonce, AGENT)).unwrap()
    }

    #[test]
    fn a_right_answer_clears_who_gave_it_and_nobody_else() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let nonce = ledger.puzzle(holder("one"), now);
        let token = ledger.judge(&solved(&nonce), holder("one"), now).unwrap();
        assert!(ledger.clears(&token, &holder("one"), now));
        assert!(!ledger.clears(&token, &holder("two"), now));
        assert!(!ledger.clears(&token, &Fingerprint::for_test("one", "another"), now));
        assert!(!ledger.clears("0", &holder("one"), now));
        assert!(!ledger.clears(&token, &holder("one"), now + CLEARANCE));
    }

    #[test]
    fn a_clearance_for_some_pages_is_used_up_by_them() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        ledger.behave(Manner::default().pages(2).lasts(Duration::from_secs(5)));
        let nonce = ledger.puzzle(holder("one"), now);
        let token = ledger.judge(&solved(&nonce), holder("one"), now).unwrap();
        let mut used = || ledger.clears(&token, &holder("one"), now);
        assert_eq!([used(), used(), used()], [true, true, false]);
        let nonce = ledger.puzzle(holder("one"), now);
        let token = ledger.judge(&solved(&nonce), holder("one"), now).unwrap();
        assert!(!ledger.clears(&token, &holder("one"), now + Duration::from_secs(5)));
    }

    #[test]
    fn a_puzzle_is_good_once_and_only_for_who_got_it() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let nonce = ledger.puzzle(holder("one"), now);
        let answer = solved(&nonce);
        assert_eq!(ledger.judge(&answer, holder("two"), now), Err(Refusal::UnknownPuzzle));
        assert_eq!(ledger.judge(&answer, holder("one"), now + PUZZLE), Err(Refusal::UnknownPuzzle));
        assert!(ledger.judge(&answer, holder("one"), now).is_ok());
        assert_eq!(ledger.judge(&answer, holder("one"), now), Err(Refusal::UnknownPuzzle));
    }

    #[test]
    fn what_a_driven_browser_shows_is_refused() {
        type Change = fn(&mut Answer);
        let cases: [(Change, Refusal); 5] = [
            (|a| a.webdriver = true, Refusal::Webdriver),
            (|a| a.screen = (0, 0), Refusal::NoScreen),
            (|a| a.languages.clear(), Refusal::NoLanguage),
            (|a| a.counter = u64::MAX, Refusal::WrongHash),
            (|a| a.nonce.push('0'), Refusal::UnknownPuzzle),
        ];
        for (change, refusal) in cases {
            let (mut ledger, now) = (Ledger::default(), Instant::now());
            let mut answer = solved(&ledger.puzzle(holder("one"), now));
            change(&mut answer);
            assert_eq!(ledger.judge(&answer, holder("one"), now), Err(refusal));
        }
    }

    #[test]
    fn the_user_agent_in_the_page_must_be_the_one_on_the_wire() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let other = Fingerprint::for_test("one", "another");
        let nonce = ledger.puzzle(other.clone(), now);
        assert_eq!(ledger.judge(&solved(&nonce), other, now), Err(Refusal::UserAgent));
    }
}

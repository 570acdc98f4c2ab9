//! What is known of one site, and where a fetch of it starts. Pure.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::tally::{DecayingTally, TierStatus};
use crate::tier::Tier;

/// What an attempt stood on: a tier, and for the impersonate tier whether a browser had cleared the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TierMode {
    /// The plain tier.
    Plain,
    /// The impersonate tier by itself.
    Impersonate,
    /// The impersonate tier with what a browser earned.
    Cleared,
    /// The browser tier.
    Browser,
}

impl TierMode {
    /// All of them, cheapest first.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Impersonate, Self::Cleared, Self::Browser];

    /// The stable lower-case name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Impersonate => "impersonate",
            Self::Cleared => "cleared",
            Self::Browser => "browser",
        }
    }

    pub(crate) const fn new(tier: Tier, cleared: bool) -> Self {
        match tier {
            Tier::Plain => Self::Plain,
            Tier::Impersonate if cleared => Self::Cleared,
            Tier::Impersonate => Self::Impersonate,
            Tier::Browser => Self::Browser,
        }
    }
}

/// Where in a site something was seen, and as what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StatKey {
    pub(crate) path_prefix: String,
    pub(crate) mode: TierMode,
    /// The browser profile's name; that of the honest profile on the plain tier.
    pub(crate) profile: String,
}

/// What was seen of one site.
#[derive(Clone, Debug, Default)]
pub(crate) struct SiteTierStats(HashMap<StatKey, DecayingTally>);

/// Who asks for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TierQuery<'a> {
    pub(crate) path_prefix: &'a str,
    /// The profiles of the plain tier and of the others.
    pub(crate) plain_profile: &'a str,
    pub(crate) browser_profile: &'a str,
    /// Whether the identity holds a clearance that still counts.
    pub(crate) cleared: bool,
    pub(crate) min: Tier,
    /// Where to begin while nothing is known; from `min` to `max`.
    pub(crate) start: Tier,
    pub(crate) max: Tier,
}

/// Where to start. Below `known` it is a probe: one request to learn whether the site relaxed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StartTier {
    pub(crate) tier: Tier,
    /// The cheapest tier that is not known to be refused.
    pub(crate) known: Tier,
}

impl StartTier {
    pub(crate) fn is_probe(self) -> bool {
        self.tier < self.known
    }
}

/// In which browser's clothes a fetch goes whose caller named none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProfileDecision {
    /// In the default's.
    Default,
    /// In those of this profile: it gets pages where the default is refused.
    Other(String),
    /// In the default's, to learn whether it is let in again. Refused, the fetch goes on as the other.
    Probe { fallback: String },
}

impl SiteTierStats {
    /// Adds what was seen.
    pub(crate) fn add(&mut self, slot: StatKey, seen: DecayingTally) {
        if self.0.len() >= MAX_KEYS
            && !self.0.contains_key(&slot)
            && let Some(oldest) =
                self.0.iter().min_by_key(|(_, tally)| tally.seen).map(|(slot, _)| slot.clone())
        {
            self.0.remove(&oldest);
        }
        let tally = self.0.entry(slot).or_default();
        *tally = tally.merge(seen);
    }

    /// Takes over what all processes together saw, unless this one saw something since.
    pub(crate) fn set(&mut self, slot: StatKey, all: DecayingTally) {
        if self.0.get(&slot).is_none_or(|own| own.seen <= all.seen) {
            self.0.insert(slot, all);
        }
    }

    /// Where to start.
    pub(crate) fn start_tier(&self, question: &TierQuery<'_>, now: i64) -> StartTier {
        let TierQuery { min, start, max, .. } = *question;
        let tiers = || Tier::ALL.into_iter().filter(|tier| (min..=max).contains(tier));
        if tiers().all(|tier| self.status(question, tier, now) == TierStatus::Unknown) {
            return StartTier { tier: start, known: start };
        }
        let refused = |tier| match self.status(question, tier, now) {
            TierStatus::Refused { retry_at: ask_again } => Some(ask_again),
            TierStatus::Unknown | TierStatus::Works => None,
        };
        // Where all are refused nothing is known to be worth its price, and the climb is from below.
        let Some(known) = tiers().find(|tier| refused(*tier).is_none()) else {
            return StartTier { tier: min, known: min };
        };
        let below = tiers().take_while(|tier| *tier < known).last();
        let due = below.filter(|tier| refused(*tier).is_some_and(|ask_again| ask_again <= now));
        StartTier { tier: due.unwrap_or(known), known }
    }

    /// Which profile to wear. `question.dressed` is the default; `wearable` tells which others may take its
    /// place, of which the one with the most recent pages does.
    pub(crate) fn choose_profile(
        &self,
        question: &TierQuery<'_>,
        wearable: impl Fn(&str) -> bool,
        now: i64,
    ) -> ProfileDecision {
        let TierQuery { path_prefix: group, browser_profile: dressed, min, max, .. } = *question;
        let question = TierQuery { cleared: false, ..*question };
        let default = self.status(&question, Tier::Impersonate, now);
        let TierStatus::Refused { retry_at: ask_again } = default else { return ProfileDecision::Default };
        if !(min..=max).contains(&Tier::Impersonate) {
            return ProfileDecision::Default;
        }
        let others =
            self.0.iter().filter(|(slot, _)| slot.mode == TierMode::Impersonate && slot.profile != dressed);
        let passing = others.filter(|(slot, tally)| {
            let (here, elsewhere) = self.statuses(group, TierMode::Impersonate, &slot.profile, now);
            let passes =
                here == TierStatus::Works || here == TierStatus::Unknown && elsewhere == TierStatus::Works;
            passes && tally.status(now) == TierStatus::Works && wearable(&slot.profile)
        });
        // What it got on this part of the site comes first.
        let rank = |slot: &StatKey, tally: &DecayingTally| (slot.path_prefix == group, tally.weight(now));
        let best = passing.max_by(|(slot, tally), (other, others)| {
            let ((here, weight), (there, more)) = (rank(slot, tally), rank(other, others));
            let order = here.cmp(&there).then(weight.total_cmp(&more));
            order.then_with(|| other.profile.cmp(&slot.profile))
        });
        let Some(other) = best.map(|(slot, _)| slot.profile.clone()) else { return ProfileDecision::Default };
        // Where a fetch starts lower down, that is the probe it makes.
        let starts = self.start_tier(&TierQuery { browser_profile: &other, ..question }, now).tier;
        if ask_again <= now && starts == Tier::Impersonate {
            return ProfileDecision::Probe { fallback: other };
        }
        ProfileDecision::Other(other)
    }

    /// What is known of a tier: by this part of the site, or else by the others, where some refuse and none lets in.
    fn status(&self, question: &TierQuery<'_>, tier: Tier, now: i64) -> TierStatus {
        if tier == Tier::Impersonate && question.cleared {
            return TierStatus::Works;
        }
        let profile = if tier == Tier::Plain { question.plain_profile } else { question.browser_profile };
        match self.statuses(question.path_prefix, TierMode::new(tier, false), profile, now) {
            (TierStatus::Unknown, TierStatus::Works) => TierStatus::Unknown,
            (TierStatus::Unknown, elsewhere) => elsewhere,
            (here, _) => here,
        }
    }

    /// What was seen of a rung in a profile's clothes, in this part of the site and in all the others.
    fn statuses(&self, group: &str, rung: TierMode, profile: &str, now: i64) -> (TierStatus, TierStatus) {
        let (mut here, mut elsewhere) = (TierStatus::Unknown, TierStatus::Unknown);
        for (slot, tally) in &self.0 {
            if slot.mode != rung || slot.profile != profile {
                continue;
            }
            let known = tally.status(now);
            if slot.path_prefix == group {
                here = known;
                continue;
            }
            elsewhere = match (elsewhere, known) {
                (TierStatus::Works, _) | (_, TierStatus::Works) => TierStatus::Works,
                (TierStatus::Refused { retry_at: a }, TierStatus::Refused { retry_at: b }) => {
                    TierStatus::Refused { retry_at: a.max(b) }
                }
                (TierStatus::Unknown, other) | (other, TierStatus::Unknown) => other,
            };
        }
        (here, elsewhere)
    }
}

/// The most that is kept of one site.
const MAX_KEYS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;
    const HOUR: i64 = 3600;

    fn key(group: &str, rung: TierMode, profile: &str) -> StatKey {
        StatKey { path_prefix: group.to_owned(), mode: rung, profile: profile.to_owned() }
    }

    /// Evidence as words: `plain- impersonate+`, in the group `/`.
    fn stats(words: &str) -> SiteTierStats {
        let mut evidence = SiteTierStats::default();
        for word in words.split_whitespace() {
            let (name, end) = word.split_at(word.len() - 1);
            let rung = TierMode::ALL.into_iter().find(|rung| rung.name() == name).unwrap();
            let profile = if rung == TierMode::Plain { "plain" } else { "chrome" };
            let seen =
                if end == "+" { DecayingTally::from_page(NOW) } else { DecayingTally::from_refusal(NOW) };
            evidence.add(key("/", rung, profile), seen);
        }
        evidence
    }

    fn query(group: &str) -> TierQuery<'_> {
        let (min, start, max) = (Tier::Plain, Tier::Plain, Tier::Browser);
        TierQuery {
            path_prefix: group,
            plain_profile: "plain",
            browser_profile: "chrome",
            cleared: false,
            min,
            start,
            max,
        }
    }

    /// Who is worn after what profiles met on the impersonate tier, `chrome- /p/`, in the group `/` where none
    /// is named; `plain-` is the plain tier.
    fn chosen_profile(words: &[&str], later: i64, min: Tier, max: Tier) -> ProfileDecision {
        let mut evidence = SiteTierStats::default();
        for word in words {
            let (said, group) = word.split_once(' ').unwrap_or((word, "/"));
            let (profile, end) = said.split_at(said.len() - 1);
            let rung = if profile == "plain" { TierMode::Plain } else { TierMode::Impersonate };
            let seen =
                if end == "+" { DecayingTally::from_page(NOW) } else { DecayingTally::from_refusal(NOW) };
            evidence.add(key(group, rung, profile), seen);
        }
        let question = TierQuery { min, start: min, max, ..query("/") };
        evidence.choose_profile(&question, |name| ["edge", "android"].contains(&name), NOW + later)
    }

    #[test]
    fn a_fetch_starts_at_the_cheapest_tier_that_is_not_refused_and_asks_one_below_when_it_is_time() {
        use Tier::{Browser, Impersonate, Plain};
        for (words, later, start, known) in [
            ("", 0, Plain, Plain),
            ("plain+", 0, Plain, Plain),
            ("plain- impersonate+", 0, Impersonate, Impersonate),
            ("plain- impersonate+", HOUR, Plain, Impersonate),
            ("plain- impersonate- browser+", 0, Browser, Browser),
            ("plain- impersonate- browser+", HOUR, Impersonate, Browser),
            ("plain- impersonate- browser-", 0, Plain, Plain),
            ("plain- impersonate-", 0, Browser, Browser),
            ("browser+", 0, Plain, Plain),
            ("impersonate- browser+", 0, Plain, Plain),
            ("plain- impersonate- cleared+ browser+", 0, Browser, Browser),
            ("plain- impersonate+", 100 * 24 * HOUR, Plain, Plain),
        ] {
            let plan = stats(words).start_tier(&query("/"), NOW + later);
            assert_eq!(plan, StartTier { tier: start, known }, "{words:?} {later}");
            assert_eq!(plan.is_probe(), start < known);
        }
    }

    #[test]
    fn a_clearance_makes_the_impersonate_tier_work_and_plain_is_still_asked() {
        let evidence = stats("plain- impersonate- browser+");
        let cleared = TierQuery { cleared: true, ..query("/") };
        let (start, known) = (Tier::Impersonate, Tier::Impersonate);
        assert_eq!(evidence.start_tier(&cleared, NOW), StartTier { tier: start, known });
        assert_eq!(evidence.start_tier(&cleared, NOW + HOUR), StartTier { tier: Tier::Plain, known });
    }

    #[test]
    fn the_tiers_allowed_are_kept_to() {
        let evidence = stats("plain- impersonate- browser+");
        for (min, max, start) in [
            (Tier::Plain, Tier::Impersonate, Tier::Plain),
            (Tier::Impersonate, Tier::Impersonate, Tier::Impersonate),
            (Tier::Browser, Tier::Browser, Tier::Browser),
            (Tier::Impersonate, Tier::Browser, Tier::Browser),
        ] {
            for later in [0, 50 * HOUR] {
                let plan =
                    evidence.start_tier(&TierQuery { min, start: min, max, ..query("/") }, NOW + later);
                assert!((min..=max).contains(&plan.tier) && (min..=max).contains(&plan.known));
                assert!(later > 0 || plan.tier == start, "{min} {max} {plan:?}");
            }
        }
    }

    #[test]
    fn where_nothing_is_known_a_fetch_begins_at_the_configured_tier() {
        let (min, start, max) = (Tier::Plain, Tier::Impersonate, Tier::Browser);
        let told = TierQuery { min, start, max, ..query("/") };
        for (words, later, begins) in [
            ("", 0, Tier::Impersonate),
            ("plain+", 0, Tier::Plain),
            ("plain- impersonate-", 0, Tier::Browser),
            ("plain- impersonate-", 100 * 24 * HOUR, Tier::Impersonate),
        ] {
            assert_eq!(stats(words).start_tier(&told, NOW + later).tier, begins, "{words:?} {later}");
        }
    }

    #[test]
    fn a_new_part_of_a_site_is_taken_as_the_others_until_one_of_them_lets_in() {
        let mut evidence = stats("plain- impersonate+");
        assert_eq!(evidence.start_tier(&query("/new/"), NOW).tier, Tier::Impersonate);
        evidence.add(key("/blog/", TierMode::Plain, "plain"), DecayingTally::from_page(NOW));
        assert_eq!(evidence.start_tier(&query("/new/"), NOW).tier, Tier::Plain);
        assert_eq!(
            evidence.start_tier(&query("/"), NOW).tier,
            Tier::Impersonate,
            "its own evidence comes first"
        );
        assert_eq!(evidence.start_tier(&query("/blog/"), NOW).tier, Tier::Plain);
    }

    #[test]
    fn results_of_one_browser_profile_do_not_count_for_another() {
        let evidence = stats("plain- impersonate- browser+");
        let other = TierQuery { browser_profile: "edge", ..query("/") };
        assert_eq!(evidence.start_tier(&other, NOW).tier, Tier::Impersonate);
    }

    #[test]
    fn another_profile_is_used_where_it_passes_and_the_default_does_not() {
        let default =
            |words: &[&str]| ProfileDecision::Default == chosen_profile(words, 0, Tier::Plain, Tier::Browser);
        for words in [
            &[][..],
            &["chrome+", "edge+"],
            &["edge+"],
            &["chrome-"],
            &["chrome-", "edge-"],
            &["chrome-", "unknown+"],
            &["chrome+ /", "chrome- /p/", "edge+ /p/"],
            &["chrome- /p/", "chrome+ /q/", "edge+ /p/"],
            &["chrome-", "edge- /", "edge+ /p/"],
        ] {
            assert!(default(words), "{words:?}");
        }
        let other = |name: &str| ProfileDecision::Other(name.to_owned());
        for (words, name) in [
            (&["chrome-", "edge+"][..], "edge"),
            (&["chrome-", "edge+", "android+"], "android"),
            (&["chrome-", "edge+", "edge+", "android+"], "edge"),
            (&["chrome- /", "edge+ /", "android+ /p/", "android+ /p/"], "edge"),
            (&["chrome- /p/", "edge+ /p/"], "edge"),
            (&["chrome- /", "edge+ /p/"], "edge"),
        ] {
            assert_eq!(chosen_profile(words, 0, Tier::Plain, Tier::Browser), other(name), "{words:?}");
        }
    }

    #[test]
    fn the_default_is_asked_again_when_it_is_time_and_only_where_that_is_the_first_request() {
        use Tier::{Browser, Impersonate, Plain};
        let (words, other) = (&["plain-", "chrome-", "edge+"][..], "edge".to_owned());
        for (later, min, max, dress) in [
            (0, Plain, Browser, ProfileDecision::Other(other.clone())),
            // The plain tier is due as well, and is asked first.
            (HOUR, Plain, Browser, ProfileDecision::Other(other.clone())),
            (HOUR, Impersonate, Browser, ProfileDecision::Probe { fallback: other.clone() }),
            (HOUR, Impersonate, Impersonate, ProfileDecision::Probe { fallback: other.clone() }),
            (0, Browser, Browser, ProfileDecision::Default),
            (0, Plain, Plain, ProfileDecision::Default),
            (100 * 24 * HOUR, Plain, Browser, ProfileDecision::Default),
        ] {
            assert_eq!(chosen_profile(words, later, min, max), dress, "{later} {min} {max}");
        }
    }

    #[test]
    fn no_more_is_kept_of_a_site_than_allowed() {
        let mut evidence = SiteTierStats::default();
        for group in 0..=MAX_KEYS {
            let at = NOW + i64::try_from(group).unwrap();
            evidence.add(key(&format!("/{group}/"), TierMode::Plain, "plain"), DecayingTally::from_page(at));
        }
        assert_eq!(evidence.0.len(), MAX_KEYS);
        assert!(!evidence.0.contains_key(&key("/0/", TierMode::Plain, "plain")), "the oldest left");
    }
}

//! Tier statistics of one site, and the tier and profile that a fetch starts with. Pure.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::tally::{DecayingTally, TierStatus};
use crate::exchange::tier::Tier;

/// The tier of an attempt. The impersonate tier counts separately with a browser's clearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TierMode {
    /// The plain tier.
    Plain,
    /// The impersonate tier without a clearance.
    Impersonate,
    /// The impersonate tier with a browser's clearance.
    Cleared,
    /// The browser tier.
    Browser,
}

impl TierMode {
    /// All modes, cheapest first.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Impersonate, Self::Cleared, Self::Browser];

    /// Returns the stable lower-case name.
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

/// Key of a tally within a site.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StatKey {
    pub(crate) path_prefix: String,
    pub(crate) mode: TierMode,
    /// Name of the browser profile; on the plain tier that of the plain profile.
    pub(crate) profile: String,
}

/// The tallies of one site.
#[derive(Clone, Debug, Default)]
pub(crate) struct SiteTierStats(HashMap<StatKey, DecayingTally>);

/// The site section, the identity and the allowed tiers of a fetch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TierQuery<'a> {
    pub(crate) path_prefix: &'a str,
    /// The profiles of the plain tier and of the other tiers.
    pub(crate) plain_profile: &'a str,
    pub(crate) browser_profile: &'a str,
    /// Whether the identity has a clearance that has not expired.
    pub(crate) cleared: bool,
    pub(crate) min: Tier,
    /// The tier to start at while nothing is known; from `min` to `max`.
    pub(crate) start: Tier,
    pub(crate) max: Tier,
}

/// The tier to start at. If it is below `known`, it is a probe: one request that checks whether the site relaxed.
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

/// Which browser profile to use when the caller did not choose one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProfileDecision {
    /// The default profile.
    Default,
    /// This profile, which gets pages where the default is refused.
    Other(String),
    /// The default profile, as a probe. If it is refused, the fetch continues with `fallback`.
    Probe { fallback: String },
}

impl SiteTierStats {
    /// Adds a result.
    pub(crate) fn add(&mut self, key: StatKey, result: DecayingTally) {
        if self.0.len() >= MAX_KEYS
            && !self.0.contains_key(&key)
            && let Some(oldest) =
                self.0.iter().min_by_key(|(_, tally)| tally.seen).map(|(key, _)| key.clone())
        {
            self.0.remove(&oldest);
        }
        let tally = self.0.entry(key).or_default();
        *tally = tally.merge(result);
    }

    /// Takes over the tally of all processes, unless this process has a newer result.
    pub(crate) fn set(&mut self, key: StatKey, shared: DecayingTally) {
        if self.0.get(&key).is_none_or(|own| own.seen <= shared.seen) {
            self.0.insert(key, shared);
        }
    }

    /// Returns all tallies.
    #[cfg(test)]
    pub(super) fn tallies(&self) -> impl Iterator<Item = (&StatKey, &DecayingTally)> {
        self.0.iter()
    }

    /// Returns the tier to start at.
    pub(crate) fn start_tier(&self, query: &TierQuery<'_>, now: i64) -> StartTier {
        let TierQuery { min, start, max, .. } = *query;
        let tiers = || Tier::ALL.into_iter().filter(|tier| (min..=max).contains(tier));
        if tiers().all(|tier| self.status(query, tier, now) == TierStatus::Unknown) {
            return StartTier { tier: start, known: start };
        }
        let retry_at_of = |tier| match self.status(query, tier, now) {
            TierStatus::Refused { retry_at } => Some(retry_at),
            TierStatus::Unknown | TierStatus::Works => None,
        };
        // If all tiers are refused, none is known to be worth its cost, so the fetch climbs from the lowest.
        let Some(known) = tiers().find(|tier| retry_at_of(*tier).is_none()) else {
            return StartTier { tier: min, known: min };
        };
        let below = tiers().take_while(|tier| *tier < known).last();
        let due = below.filter(|tier| retry_at_of(*tier).is_some_and(|retry_at| retry_at <= now));
        StartTier { tier: due.unwrap_or(known), known }
    }

    /// Returns the profile to use. `query.browser_profile` is the default; `is_usable` tells which others may
    /// replace it. Among those, the one with the highest weight of recent pages is chosen.
    pub(crate) fn choose_profile(
        &self,
        query: &TierQuery<'_>,
        is_usable: impl Fn(&str) -> bool,
        now: i64,
    ) -> ProfileDecision {
        let TierQuery { path_prefix, browser_profile, min, max, .. } = *query;
        let query = TierQuery { cleared: false, ..*query };
        let default = self.status(&query, Tier::Impersonate, now);
        let TierStatus::Refused { retry_at } = default else { return ProfileDecision::Default };
        if !(min..=max).contains(&Tier::Impersonate) {
            return ProfileDecision::Default;
        }
        let others = self
            .0
            .iter()
            .filter(|(key, _)| key.mode == TierMode::Impersonate && key.profile != browser_profile);
        let passing = others.filter(|(key, tally)| {
            let (here, elsewhere) = self.statuses(path_prefix, TierMode::Impersonate, &key.profile, now);
            let passes =
                here == TierStatus::Works || here == TierStatus::Unknown && elsewhere == TierStatus::Works;
            passes && tally.status(now) == TierStatus::Works && is_usable(&key.profile)
        });
        // Results of this section come first.
        let rank = |key: &StatKey, tally: &DecayingTally| (key.path_prefix == path_prefix, tally.weight(now));
        let best = passing.max_by(|(a, a_tally), (b, b_tally)| {
            let ((a_here, a_weight), (b_here, b_weight)) = (rank(a, a_tally), rank(b, b_tally));
            let order = a_here.cmp(&b_here).then(a_weight.total_cmp(&b_weight));
            order.then_with(|| b.profile.cmp(&a.profile))
        });
        let Some(other) = best.map(|(key, _)| key.profile.clone()) else { return ProfileDecision::Default };
        // If the fetch starts at a lower tier, that is its probe.
        let start = self.start_tier(&TierQuery { browser_profile: &other, ..query }, now).tier;
        if retry_at <= now && start == Tier::Impersonate {
            return ProfileDecision::Probe { fallback: other };
        }
        ProfileDecision::Other(other)
    }

    /// Returns the status of a tier in this section. If it is unknown, other sections count, but only if some
    /// refuse and none works.
    fn status(&self, query: &TierQuery<'_>, tier: Tier, now: i64) -> TierStatus {
        if tier == Tier::Impersonate && query.cleared {
            return TierStatus::Works;
        }
        let profile = if tier == Tier::Plain { query.plain_profile } else { query.browser_profile };
        match self.statuses(query.path_prefix, TierMode::new(tier, false), profile, now) {
            (TierStatus::Unknown, TierStatus::Works) => TierStatus::Unknown,
            (TierStatus::Unknown, elsewhere) => elsewhere,
            (here, _) => here,
        }
    }

    /// Returns the status of a mode and profile in this section, and in all other sections.
    fn statuses(
        &self,
        path_prefix: &str,
        mode: TierMode,
        profile: &str,
        now: i64,
    ) -> (TierStatus, TierStatus) {
        let (mut here, mut elsewhere) = (TierStatus::Unknown, TierStatus::Unknown);
        for (key, tally) in &self.0 {
            if key.mode != mode || key.profile != profile {
                continue;
            }
            let status = tally.status(now);
            if key.path_prefix == path_prefix {
                here = status;
                continue;
            }
            elsewhere = match (elsewhere, status) {
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

/// Maximum number of tallies per site.
const MAX_KEYS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;
    const HOUR: i64 = 3600;

    fn key(path_prefix: &str, mode: TierMode, profile: &str) -> StatKey {
        StatKey { path_prefix: path_prefix.to_owned(), mode, profile: profile.to_owned() }
    }

    /// Parses results such as `plain- impersonate+`, all in the section `/`.
    fn stats(words: &str) -> SiteTierStats {
        let mut stats = SiteTierStats::default();
        for word in words.split_whitespace() {
            let (name, sign) = word.split_at(word.len() - 1);
            let mode = TierMode::ALL.into_iter().find(|mode| mode.name() == name).unwrap();
            let profile = if mode == TierMode::Plain { "plain" } else { "chrome" };
            let result =
                if sign == "+" { DecayingTally::from_page(NOW) } else { DecayingTally::from_refusal(NOW) };
            stats.add(key("/", mode, profile), result);
        }
        stats
    }

    fn query(path_prefix: &str) -> TierQuery<'_> {
        let (min, start, max) = (Tier::Plain, Tier::Plain, Tier::Browser);
        TierQuery {
            path_prefix,
            plain_profile: "plain",
            browser_profile: "chrome",
            cleared: false,
            min,
            start,
            max,
        }
    }

    /// Returns the profile chosen after results such as `chrome- /p/` on the impersonate tier. The default section
    /// is `/`; `plain-` is a result of the plain tier.
    fn chosen_profile(words: &[&str], later: i64, min: Tier, max: Tier) -> ProfileDecision {
        let mut stats = SiteTierStats::default();
        for word in words {
            let (signed, path_prefix) = word.split_once(' ').unwrap_or((word, "/"));
            let (profile, sign) = signed.split_at(signed.len() - 1);
            let mode = if profile == "plain" { TierMode::Plain } else { TierMode::Impersonate };
            let result =
                if sign == "+" { DecayingTally::from_page(NOW) } else { DecayingTally::from_refusal(NOW) };
            stats.add(key(path_prefix, mode, profile), result);
        }
        let tier_query = TierQuery { min, start: min, max, ..query("/") };
        stats.choose_profile(&tier_query, |name| ["edge", "android"].contains(&name), NOW + later)
    }

    #[test]
    fn a_fetch_starts_at_the_cheapest_tier_that_is_not_refused_and_probes_below_it_when_due() {
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
            let result = stats(words).start_tier(&query("/"), NOW + later);
            assert_eq!(result, StartTier { tier: start, known }, "{words:?} {later}");
            assert_eq!(result.is_probe(), start < known);
        }
    }

    #[test]
    fn a_clearance_makes_the_impersonate_tier_work_and_plain_is_still_probed() {
        let stats = stats("plain- impersonate- browser+");
        let cleared = TierQuery { cleared: true, ..query("/") };
        let (start, known) = (Tier::Impersonate, Tier::Impersonate);
        assert_eq!(stats.start_tier(&cleared, NOW), StartTier { tier: start, known });
        assert_eq!(stats.start_tier(&cleared, NOW + HOUR), StartTier { tier: Tier::Plain, known });
    }

    #[test]
    fn only_allowed_tiers_are_used() {
        let stats = stats("plain- impersonate- browser+");
        for (min, max, start) in [
            (Tier::Plain, Tier::Impersonate, Tier::Plain),
            (Tier::Impersonate, Tier::Impersonate, Tier::Impersonate),
            (Tier::Browser, Tier::Browser, Tier::Browser),
            (Tier::Impersonate, Tier::Browser, Tier::Browser),
        ] {
            for later in [0, 50 * HOUR] {
                let result = stats.start_tier(&TierQuery { min, start: min, max, ..query("/") }, NOW + later);
                assert!((min..=max).contains(&result.tier) && (min..=max).contains(&result.known));
                assert!(later > 0 || result.tier == start, "{min} {max} {result:?}");
            }
        }
    }

    #[test]
    fn a_fetch_starts_at_the_configured_tier_while_nothing_is_known() {
        let (min, start, max) = (Tier::Plain, Tier::Impersonate, Tier::Browser);
        let configured = TierQuery { min, start, max, ..query("/") };
        for (words, later, expected) in [
            ("", 0, Tier::Impersonate),
            ("plain+", 0, Tier::Plain),
            ("plain- impersonate-", 0, Tier::Browser),
            ("plain- impersonate-", 100 * 24 * HOUR, Tier::Impersonate),
        ] {
            assert_eq!(stats(words).start_tier(&configured, NOW + later).tier, expected, "{words:?} {later}");
        }
    }

    #[test]
    fn a_new_section_follows_the_others_until_a_tier_works_in_one_of_them() {
        let mut stats = stats("plain- impersonate+");
        assert_eq!(stats.start_tier(&query("/new/"), NOW).tier, Tier::Impersonate);
        stats.add(key("/blog/", TierMode::Plain, "plain"), DecayingTally::from_page(NOW));
        assert_eq!(stats.start_tier(&query("/new/"), NOW).tier, Tier::Plain);
        assert_eq!(stats.start_tier(&query("/"), NOW).tier, Tier::Impersonate, "its own results come first");
        assert_eq!(stats.start_tier(&query("/blog/"), NOW).tier, Tier::Plain);
    }

    #[test]
    fn results_of_one_browser_profile_do_not_count_for_another() {
        let stats = stats("plain- impersonate- browser+");
        let other = TierQuery { browser_profile: "edge", ..query("/") };
        assert_eq!(stats.start_tier(&other, NOW).tier, Tier::Impersonate);
    }

    #[test]
    fn another_profile_is_used_if_it_passes_and_the_default_does_not() {
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
    fn the_default_profile_is_probed_when_due_and_only_as_the_first_request() {
        use Tier::{Browser, Impersonate, Plain};
        let (words, other) = (&["plain-", "chrome-", "edge+"][..], "edge".to_owned());
        for (later, min, max, expected) in [
            (0, Plain, Browser, ProfileDecision::Other(other.clone())),
            // The plain tier is due as well and is probed first.
            (HOUR, Plain, Browser, ProfileDecision::Other(other.clone())),
            (HOUR, Impersonate, Browser, ProfileDecision::Probe { fallback: other.clone() }),
            (HOUR, Impersonate, Impersonate, ProfileDecision::Probe { fallback: other.clone() }),
            (0, Browser, Browser, ProfileDecision::Default),
            (0, Plain, Plain, ProfileDecision::Default),
            (100 * 24 * HOUR, Plain, Browser, ProfileDecision::Default),
        ] {
            assert_eq!(chosen_profile(words, later, min, max), expected, "{later} {min} {max}");
        }
    }

    #[test]
    fn the_number_of_tallies_per_site_is_limited() {
        let mut stats = SiteTierStats::default();
        for index in 0..=MAX_KEYS {
            let at = NOW + i64::try_from(index).unwrap();
            stats.add(key(&format!("/{index}/"), TierMode::Plain, "plain"), DecayingTally::from_page(at));
        }
        assert_eq!(stats.0.len(), MAX_KEYS);
        assert!(!stats.0.contains_key(&key("/0/", TierMode::Plain, "plain")), "the oldest is dropped");
    }
}

//! What is known of one site, and where a fetch of it starts. Pure.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::tally::{Known, Tally};
use crate::tier::Tier;

/// What an attempt stood on: a tier, and for the impersonate tier whether a browser had cleared the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rung {
    /// The plain tier.
    Plain,
    /// The impersonate tier by itself.
    Impersonate,
    /// The impersonate tier with what a browser earned.
    Cleared,
    /// The browser tier.
    Browser,
}

impl Rung {
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

    pub(crate) const fn of(tier: Tier, cleared: bool) -> Self {
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
pub(crate) struct Slot {
    pub(crate) group: String,
    pub(crate) rung: Rung,
    /// The browser profile's name; that of the honest profile on the plain tier.
    pub(crate) profile: String,
}

/// What was seen of one site.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence(HashMap<Slot, Tally>);

/// Who asks for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) group: &'a str,
    /// The profiles of the plain tier and of the others.
    pub(crate) plain: &'a str,
    pub(crate) dressed: &'a str,
    /// Whether the identity holds a clearance that still counts.
    pub(crate) cleared: bool,
    pub(crate) min: Tier,
    /// Where to begin while nothing is known; from `min` to `max`.
    pub(crate) start: Tier,
    pub(crate) max: Tier,
}

/// Where to start. Below `known` it is a probe: one request to learn whether the site relaxed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) start: Tier,
    /// The cheapest tier that is not known to be refused.
    pub(crate) known: Tier,
}

impl Plan {
    pub(crate) fn is_probe(self) -> bool {
        self.start < self.known
    }
}

/// In which browser's clothes a fetch goes whose caller named none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dress {
    /// In the default's.
    Default,
    /// In those of this profile: it gets pages where the default is refused.
    Other(String),
    /// In the default's, to learn whether it is let in again. Refused, the fetch goes on as the other.
    Probe { instead: String },
}

impl Evidence {
    /// Adds what was seen.
    pub(crate) fn add(&mut self, slot: Slot, seen: Tally) {
        if self.0.len() >= MAX_SLOTS
            && !self.0.contains_key(&slot)
            && let Some(oldest) =
                self.0.iter().min_by_key(|(_, tally)| tally.seen).map(|(slot, _)| slot.clone())
        {
            self.0.remove(&oldest);
        }
        let tally = self.0.entry(slot).or_default();
        *tally = tally.and(seen);
    }

    /// Takes over what all processes together saw, unless this one saw something since.
    pub(crate) fn set(&mut self, slot: Slot, all: Tally) {
        if self.0.get(&slot).is_none_or(|own| own.seen <= all.seen) {
            self.0.insert(slot, all);
        }
    }

    /// Where to start.
    pub(crate) fn plan(&self, question: &Question<'_>, now: i64) -> Plan {
        let Question { min, start, max, .. } = *question;
        let tiers = || Tier::ALL.into_iter().filter(|tier| (min..=max).contains(tier));
        if tiers().all(|tier| self.known(question, tier, now) == Known::Nothing) {
            return Plan { start, known: start };
        }
        let refused = |tier| match self.known(question, tier, now) {
            Known::Refused { ask_again } => Some(ask_again),
            Known::Nothing | Known::Works => None,
        };
        // Where all are refused nothing is known to be worth its price, and the climb is from below.
        let Some(known) = tiers().find(|tier| refused(*tier).is_none()) else {
            return Plan { start: min, known: min };
        };
        let below = tiers().take_while(|tier| *tier < known).last();
        let due = below.filter(|tier| refused(*tier).is_some_and(|ask_again| ask_again <= now));
        Plan { start: due.unwrap_or(known), known }
    }

    /// Which profile to wear. `question.dressed` is the default; `wearable` tells which others may take its
    /// place, of which the one with the most recent pages does.
    pub(crate) fn dress(&self, question: &Question<'_>, wearable: impl Fn(&str) -> bool, now: i64) -> Dress {
        let Question { group, dressed, min, max, .. } = *question;
        let question = Question { cleared: false, ..*question };
        let default = self.known(&question, Tier::Impersonate, now);
        let Known::Refused { ask_again } = default else { return Dress::Default };
        if !(min..=max).contains(&Tier::Impersonate) {
            return Dress::Default;
        }
        let others =
            self.0.iter().filter(|(slot, _)| slot.rung == Rung::Impersonate && slot.profile != dressed);
        let passing = others.filter(|(slot, tally)| {
            let (here, elsewhere) = self.seen(group, Rung::Impersonate, &slot.profile, now);
            let passes = here == Known::Works || here == Known::Nothing && elsewhere == Known::Works;
            passes && tally.known(now) == Known::Works && wearable(&slot.profile)
        });
        // What it got on this part of the site comes first.
        let rank = |slot: &Slot, tally: &Tally| (slot.group == group, tally.weight(now));
        let best = passing.max_by(|(slot, tally), (other, others)| {
            let ((here, weight), (there, more)) = (rank(slot, tally), rank(other, others));
            let order = here.cmp(&there).then(weight.total_cmp(&more));
            order.then_with(|| other.profile.cmp(&slot.profile))
        });
        let Some(other) = best.map(|(slot, _)| slot.profile.clone()) else { return Dress::Default };
        // Where a fetch starts lower down, that is the probe it makes.
        let starts = self.plan(&Question { dressed: &other, ..question }, now).start;
        if ask_again <= now && starts == Tier::Impersonate {
            return Dress::Probe { instead: other };
        }
        Dress::Other(other)
    }

    /// What is known of a tier: by this part of the site, or else by the others, where some refuse and none lets in.
    fn known(&self, question: &Question<'_>, tier: Tier, now: i64) -> Known {
        if tier == Tier::Impersonate && question.cleared {
            return Known::Works;
        }
        let profile = if tier == Tier::Plain { question.plain } else { question.dressed };
        match self.seen(question.group, Rung::of(tier, false), profile, now) {
            (Known::Nothing, Known::Works) => Known::Nothing,
            (Known::Nothing, elsewhere) => elsewhere,
            (here, _) => here,
        }
    }

    /// What was seen of a rung in a profile's clothes, in this part of the site and in all the others.
    fn seen(&self, group: &str, rung: Rung, profile: &str, now: i64) -> (Known, Known) {
        let (mut here, mut elsewhere) = (Known::Nothing, Known::Nothing);
        for (slot, tally) in &self.0 {
            if slot.rung != rung || slot.profile != profile {
                continue;
            }
            let known = tally.known(now);
            if slot.group == group {
                here = known;
                continue;
            }
            elsewhere = match (elsewhere, known) {
                (Known::Works, _) | (_, Known::Works) => Known::Works,
                (Known::Refused { ask_again: a }, Known::Refused { ask_again: b }) => {
                    Known::Refused { ask_again: a.max(b) }
                }
                (Known::Nothing, other) | (other, Known::Nothing) => other,
            };
        }
        (here, elsewhere)
    }
}

/// The most that is kept of one site.
const MAX_SLOTS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;
    const HOUR: i64 = 3600;

    fn slot(group: &str, rung: Rung, profile: &str) -> Slot {
        Slot { group: group.to_owned(), rung, profile: profile.to_owned() }
    }

    /// Evidence as words: `plain- impersonate+`, in the group `/`.
    fn evidence(words: &str) -> Evidence {
        let mut evidence = Evidence::default();
        for word in words.split_whitespace() {
            let (name, end) = word.split_at(word.len() - 1);
            let rung = Rung::ALL.into_iter().find(|rung| rung.name() == name).unwrap();
            let profile = if rung == Rung::Plain { "plain" } else { "chrome" };
            let seen = if end == "+" { Tally::page(NOW) } else { Tally::refusal(NOW) };
            evidence.add(slot("/", rung, profile), seen);
        }
        evidence
    }

    fn question(group: &str) -> Question<'_> {
        let (min, start, max) = (Tier::Plain, Tier::Plain, Tier::Browser);
        Question { group, plain: "plain", dressed: "chrome", cleared: false, min, start, max }
    }

    /// Who is worn after what profiles met on the impersonate tier, `chrome- /p/`, in the group `/` where none
    /// is named; `plain-` is the plain tier.
    fn dressed(words: &[&str], later: i64, min: Tier, max: Tier) -> Dress {
        let mut evidence = Evidence::default();
        for word in words {
            let (said, group) = word.split_once(' ').unwrap_or((word, "/"));
            let (profile, end) = said.split_at(said.len() - 1);
            let rung = if profile == "plain" { Rung::Plain } else { Rung::Impersonate };
            let seen = if end == "+" { Tally::page(NOW) } else { Tally::refusal(NOW) };
            evidence.add(slot(group, rung, profile), seen);
        }
        let question = Question { min, start: min, max, ..question("/") };
        evidence.dress(&question, |name| ["edge", "android"].contains(&name), NOW + later)
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
            let plan = evidence(words).plan(&question("/"), NOW + later);
            assert_eq!(plan, Plan { start, known }, "{words:?} {later}");
            assert_eq!(plan.is_probe(), start < known);
        }
    }

    #[test]
    fn a_clearance_makes_the_impersonate_tier_work_and_plain_is_still_asked() {
        let evidence = evidence("plain- impersonate- browser+");
        let cleared = Question { cleared: true, ..question("/") };
        let (start, known) = (Tier::Impersonate, Tier::Impersonate);
        assert_eq!(evidence.plan(&cleared, NOW), Plan { start, known });
        assert_eq!(evidence.plan(&cleared, NOW + HOUR), Plan { start: Tier::Plain, known });
    }

    #[test]
    fn the_tiers_allowed_are_kept_to() {
        let evidence = evidence("plain- impersonate- browser+");
        for (min, max, start) in [
            (Tier::Plain, Tier::Impersonate, Tier::Plain),
            (Tier::Impersonate, Tier::Impersonate, Tier::Impersonate),
            (Tier::Browser, Tier::Browser, Tier::Browser),
            (Tier::Impersonate, Tier::Browser, Tier::Browser),
        ] {
            for later in [0, 50 * HOUR] {
                let plan = evidence.plan(&Question { min, start: min, max, ..question("/") }, NOW + later);
                assert!((min..=max).contains(&plan.start) && (min..=max).contains(&plan.known));
                assert!(later > 0 || plan.start == start, "{min} {max} {plan:?}");
            }
        }
    }

    #[test]
    fn where_nothing_is_known_a_fetch_begins_where_it_was_told_to() {
        let (min, start, max) = (Tier::Plain, Tier::Impersonate, Tier::Browser);
        let told = Question { min, start, max, ..question("/") };
        for (words, later, begins) in [
            ("", 0, Tier::Impersonate),
            ("plain+", 0, Tier::Plain),
            ("plain- impersonate-", 0, Tier::Browser),
            ("plain- impersonate-", 100 * 24 * HOUR, Tier::Impersonate),
        ] {
            assert_eq!(evidence(words).plan(&told, NOW + later).start, begins, "{words:?} {later}");
        }
    }

    #[test]
    fn a_new_part_of_a_site_is_taken_as_the_others_until_one_of_them_lets_in() {
        let mut evidence = evidence("plain- impersonate+");
        assert_eq!(evidence.plan(&question("/new/"), NOW).start, Tier::Impersonate);
        evidence.add(slot("/blog/", Rung::Plain, "plain"), Tally::page(NOW));
        assert_eq!(evidence.plan(&question("/new/"), NOW).start, Tier::Plain);
        assert_eq!(
            evidence.plan(&question("/"), NOW).start,
            Tier::Impersonate,
            "its own evidence comes first"
        );
        assert_eq!(evidence.plan(&question("/blog/"), NOW).start, Tier::Plain);
    }

    #[test]
    fn what_one_browser_profile_meets_says_nothing_of_another() {
        let evidence = evidence("plain- impersonate- browser+");
        let other = Question { dressed: "edge", ..question("/") };
        assert_eq!(evidence.plan(&other, NOW).start, Tier::Impersonate);
    }

    #[test]
    fn another_profile_is_worn_where_it_passes_and_the_default_does_not() {
        let default = |words: &[&str]| Dress::Default == dressed(words, 0, Tier::Plain, Tier::Browser);
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
        let other = |name: &str| Dress::Other(name.to_owned());
        for (words, name) in [
            (&["chrome-", "edge+"][..], "edge"),
            (&["chrome-", "edge+", "android+"], "android"),
            (&["chrome-", "edge+", "edge+", "android+"], "edge"),
            (&["chrome- /", "edge+ /", "android+ /p/", "android+ /p/"], "edge"),
            (&["chrome- /p/", "edge+ /p/"], "edge"),
            (&["chrome- /", "edge+ /p/"], "edge"),
        ] {
            assert_eq!(dressed(words, 0, Tier::Plain, Tier::Browser), other(name), "{words:?}");
        }
    }

    #[test]
    fn the_default_is_asked_again_when_it_is_time_and_only_where_that_is_the_first_request() {
        use Tier::{Browser, Impersonate, Plain};
        let (words, other) = (&["plain-", "chrome-", "edge+"][..], "edge".to_owned());
        for (later, min, max, dress) in [
            (0, Plain, Browser, Dress::Other(other.clone())),
            // The plain tier is due as well, and is asked first.
            (HOUR, Plain, Browser, Dress::Other(other.clone())),
            (HOUR, Impersonate, Browser, Dress::Probe { instead: other.clone() }),
            (HOUR, Impersonate, Impersonate, Dress::Probe { instead: other.clone() }),
            (0, Browser, Browser, Dress::Default),
            (0, Plain, Plain, Dress::Default),
            (100 * 24 * HOUR, Plain, Browser, Dress::Default),
        ] {
            assert_eq!(dressed(words, later, min, max), dress, "{later} {min} {max}");
        }
    }

    #[test]
    fn no_more_is_kept_of_a_site_than_allowed() {
        let mut evidence = Evidence::default();
        for group in 0..=MAX_SLOTS {
            let at = NOW + i64::try_from(group).unwrap();
            evidence.add(slot(&format!("/{group}/"), Rung::Plain, "plain"), Tally::page(at));
        }
        assert_eq!(evidence.0.len(), MAX_SLOTS);
        assert!(!evidence.0.contains_key(&slot("/0/", Rung::Plain, "plain")), "the oldest left");
    }
}

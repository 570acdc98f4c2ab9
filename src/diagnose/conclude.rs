//! From what passed to what gives the rest away. Pure.

use super::step::{Found, Step, Way, found};
use crate::trace::{Diagnosis, Layer, Trace};

/// The cheapest way that passed.
pub(super) fn works(steps: &[Step]) -> Option<Way> {
    let passed = |way: &Way| found(*way, steps) == Some(Found::Passed);
    CHEAPEST.into_iter().find(passed)
}

/// What gives the other ways away. `None` when plain passes and so does all else that was tried.
pub(super) fn conclude(steps: &[Step]) -> Option<Diagnosis> {
    let mut diagnosis = match works(steps) {
        Some(way) => passing(way, steps)?,
        None => nothing(steps),
    };
    diagnosis.tried = tried(steps);
    Some(diagnosis)
}

/// What it tells that `way` passed and those before it did not.
fn passing(way: Way, steps: &[Step]) -> Option<Diagnosis> {
    let is = |way, wanted| found(way, steps) == Some(wanted);
    Some(match way {
        Way::Plain if is(Way::Impersonate, Found::Refused) => Diagnosis::new(
            Layer::Headers,
            &["an honest client passes, and a browser's looks are refused"],
            &["stay honest: `--max-tier plain`", "look like another browser: `--as`"],
        ),
        Way::Plain => return None,
        Way::Impersonate if is(Way::Headers, Found::Passed) => Diagnosis::new(
            Layer::Headers,
            &["a browser's headers passed, whatever the TLS"],
            &["begin there: `--min-tier impersonate`"],
        ),
        Way::Impersonate if is(Way::Headers, Found::Refused) || is(Way::Headers, Found::Failed) => {
            Diagnosis::new(
                Layer::Tls,
                &["a browser's headers alone were refused, with its TLS and HTTP/2 they passed"],
                &["begin there: `--min-tier impersonate`"],
            )
        }
        Way::Impersonate => Diagnosis::new(
            Layer::Unknown,
            &["a browser's looks passed, and an honest client's did not"],
            &["begin there: `--min-tier impersonate`"],
        ),
        Way::Headers => Diagnosis::new(
            Layer::Tls,
            &[
                "the same headers passed with the plain tier's TLS and HTTP/2, and not with the browser profile's",
            ],
            &[
                "check that the profile is of a browser of today: `rungs profile lint`",
                "look like another browser: `--as`",
            ],
        ),
        Way::Cookies => Diagnosis::new(
            Layer::Headers,
            &["the first visit was refused, the second passed with the cookies of the first"],
            &["ask twice as one visitor, or bring the cookies: `-b`"],
        ),
        Way::Profile => Diagnosis::new(
            Layer::Headers,
            &["another browser's name and headers passed, over the same TLS and HTTP/2"],
            &["look like that one: `--as`"],
        ),
        Way::Browser if is(Way::Cleared, Found::Passed) => Diagnosis::new(
            Layer::Javascript,
            &["only a browser passes, and what it earns is good one tier lower"],
            &["allow it: `--max-tier browser`; one visit pays for many pages"],
        ),
        Way::Browser if is(Way::Cleared, Found::Refused) => Diagnosis::new(
            Layer::Javascript,
            &["only a browser passes, and what it earns is not good one tier lower"],
            &["let the browser fetch: `--min-tier browser`"],
        ),
        Way::Browser => {
            Diagnosis::new(Layer::Javascript, &["only a browser passes"], &["allow it: `--max-tier browser`"])
        }
        Way::Window => Diagnosis::new(
            Layer::Javascript,
            &["a browser passes with a window, and not without: scripts see the difference"],
            &["start the browser with a window: `--headful`"],
        ),
        Way::Direct | Way::Cleared => Diagnosis::new(
            Layer::Ip,
            &["the same passed without the proxy: its address is not trusted"],
            &["take another proxy, or none"],
        ),
    })
}

/// Nothing passed: what the ladder's own trace tells.
fn nothing(steps: &[Step]) -> Diagnosis {
    let ladder = steps.iter().filter(|step| LADDER.contains(&step.way) && step.found == Found::Refused);
    let mut trace = Trace::default();
    ladder.flat_map(|step| step.attempts.iter().cloned()).for_each(|attempt| trace.push(attempt));
    if let Some(diagnosis) = trace.diagnosis() {
        return diagnosis;
    }
    let failure = steps.iter().find_map(|step| step.attempts.last()?.error.as_ref());
    let because = failure.map_or_else(
        || "nothing was tried".to_owned(),
        |error| format!("no way got an answer; the first ended with a {} error", error.kind),
    );
    Diagnosis::new(Layer::Unknown, &[&because], &["see that the URL, the network and the proxy are right"])
}

fn tried(steps: &[Step]) -> Vec<String> {
    let line = |step: &Step| {
        let last = step.attempts.last()?;
        let outcome = match (&last.verdict, &last.error) {
            (Some(verdict), _) => verdict.to_string(),
            (None, Some(error)) => format!("{} error", error.kind),
            (None, None) => return None,
        };
        Some(format!("{}: {outcome}", step.way))
    };
    steps.iter().filter_map(line).collect()
}

/// The ways by what they cost a user who takes them.
const CHEAPEST: [Way; 8] = [
    Way::Plain,
    Way::Impersonate,
    Way::Profile,
    Way::Cookies,
    Way::Headers,
    Way::Browser,
    Way::Window,
    Way::Direct,
];
/// The ways that are the ladder's own rungs.
const LADDER: [Way; 4] = [Way::Plain, Way::Impersonate, Way::Browser, Way::Window];

#[cfg(test)]
mod tests {
    use super::super::step::tests::{answered, failed};
    use super::*;
    use crate::kind::ErrorKind;
    use crate::verdict::VerdictKind::{self, Block, Challenge, Genuine, RateLimit};

    fn steps(kinds: &[(Way, VerdictKind)]) -> Vec<Step> {
        kinds.iter().map(|(way, kind)| answered(*way, *kind)).collect()
    }

    #[test]
    fn what_passed_first_tells_what_gave_the_others_away() {
        use Way::{Browser, Cleared, Cookies, Direct, Headers, Impersonate, Plain, Profile, Window};
        for (found, works_by, layer) in [
            (&[(Plain, Genuine), (Impersonate, Genuine)][..], Some(Plain), None),
            (&[(Plain, Genuine), (Impersonate, Block)], Some(Plain), Some(Layer::Headers)),
            (
                &[(Plain, Block), (Headers, Genuine), (Impersonate, Genuine)],
                Some(Impersonate),
                Some(Layer::Headers),
            ),
            (
                &[(Plain, Block), (Headers, Block), (Impersonate, Genuine)],
                Some(Impersonate),
                Some(Layer::Tls),
            ),
            (&[(Plain, Block), (Headers, Genuine), (Impersonate, Block)], Some(Headers), Some(Layer::Tls)),
            (
                &[(Plain, Block), (Impersonate, Block), (Cookies, Genuine)],
                Some(Cookies),
                Some(Layer::Headers),
            ),
            (
                &[(Plain, Block), (Impersonate, Block), (Profile, Genuine)],
                Some(Profile),
                Some(Layer::Headers),
            ),
            (
                &[(Impersonate, Challenge), (Browser, Genuine), (Cleared, Genuine)],
                Some(Browser),
                Some(Layer::Javascript),
            ),
            (
                &[(Impersonate, Challenge), (Browser, Block), (Window, Genuine)],
                Some(Window),
                Some(Layer::Javascript),
            ),
            (&[(Impersonate, Block), (Browser, Block), (Direct, Genuine)], Some(Direct), Some(Layer::Ip)),
            (&[(Plain, Block), (Impersonate, Block), (Browser, Block)], None, Some(Layer::Ip)),
            (&[(Plain, Challenge), (Impersonate, Challenge)], None, Some(Layer::Javascript)),
            (&[(Plain, RateLimit)], None, Some(Layer::Pace)),
        ] {
            let steps = steps(found);
            assert_eq!(works(&steps), works_by, "{found:?}");
            let diagnosis = conclude(&steps);
            assert_eq!(diagnosis.as_ref().map(|diagnosis| diagnosis.layer), layer, "{found:?}");
            if let Some(diagnosis) = diagnosis {
                assert!(!diagnosis.because.is_empty() && !diagnosis.change.is_empty(), "{diagnosis:?}");
                assert_eq!(diagnosis.tried.len(), found.len(), "{diagnosis:?}");
            }
        }
    }

    #[test]
    fn whether_clearance_moves_decides_what_to_do_about_a_challenge() {
        for (below, change) in [(Genuine, "--max-tier browser"), (Challenge, "--min-tier browser")] {
            let steps =
                steps(&[(Way::Impersonate, Challenge), (Way::Browser, Genuine), (Way::Cleared, below)]);
            let diagnosis = conclude(&steps).unwrap();
            assert!(diagnosis.change[0].contains(change), "{diagnosis:?}");
        }
    }

    #[test]
    fn a_site_that_never_answers_is_not_called_a_block() {
        let steps = [failed(Way::Plain, ErrorKind::Connect), failed(Way::Impersonate, ErrorKind::Connect)];
        let diagnosis = conclude(&steps).unwrap();
        assert_eq!((works(&steps), diagnosis.layer), (None, Layer::Unknown));
        assert!(diagnosis.because[0].contains("connect error"), "{diagnosis:?}");
    }

    #[test]
    fn a_second_visit_that_was_refused_like_the_first_says_nothing_of_clearance() {
        let steps = steps(&[
            (Way::Plain, Block),
            (Way::Impersonate, Challenge),
            (Way::Cookies, Challenge),
            (Way::Profile, Challenge),
        ]);
        assert_eq!(conclude(&steps).unwrap().layer, Layer::Javascript);
    }
}

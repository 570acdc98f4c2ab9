//! From what passed to what gives the rest away. Pure.

use super::probe::{Probe, ProbeReport, ProbeResult, result_of};
use crate::trace::{DetectionLayer, Diagnosis, Trace};

/// The cheapest way that passed.
pub(super) fn cheapest_passing(steps: &[ProbeReport]) -> Option<Probe> {
    let passed = |way: &Probe| result_of(*way, steps) == Some(ProbeResult::Passed);
    BY_COST.into_iter().find(passed)
}

/// What gives the other ways away. `None` when plain passes and so does all else that was tried.
pub(super) fn conclude(steps: &[ProbeReport]) -> Option<Diagnosis> {
    let mut diagnosis = match cheapest_passing(steps) {
        Some(way) => diagnose_pass(way, steps)?,
        None => diagnose_failure(steps),
    };
    diagnosis.tried = format_attempts(steps);
    Some(diagnosis)
}

/// What it tells that `way` passed and those before it did not.
fn diagnose_pass(way: Probe, steps: &[ProbeReport]) -> Option<Diagnosis> {
    let is = |way, wanted| result_of(way, steps) == Some(wanted);
    Some(match way {
        Probe::Plain if is(Probe::Impersonate, ProbeResult::Refused) => Diagnosis::new(
            DetectionLayer::Headers,
            &["an honest client passes, and a browser's looks are refused"],
            &["stay honest: `--max-tier plain`", "look like another browser: `--as`"],
        ),
        Probe::Plain => return None,
        Probe::Impersonate if is(Probe::Headers, ProbeResult::Passed) => Diagnosis::new(
            DetectionLayer::Headers,
            &["a browser's headers passed, whatever the TLS"],
            &["begin there: `--min-tier impersonate`"],
        ),
        Probe::Impersonate
            if is(Probe::Headers, ProbeResult::Refused) || is(Probe::Headers, ProbeResult::Failed) =>
        {
            Diagnosis::new(
                DetectionLayer::Tls,
                &["a browser's headers alone were refused, with its TLS and HTTP/2 they passed"],
                &["begin there: `--min-tier impersonate`"],
            )
        }
        Probe::Impersonate => Diagnosis::new(
            DetectionLayer::Unknown,
            &["a browser's looks passed, and an honest client's did not"],
            &["begin there: `--min-tier impersonate`"],
        ),
        Probe::Headers => Diagnosis::new(
            DetectionLayer::Tls,
            &[
                "the same headers passed with the plain tier's TLS and HTTP/2, and not with the browser profile's",
            ],
            &[
                "check that the profile is of a browser of today: `rungs profile lint`",
                "look like another browser: `--as`",
            ],
        ),
        Probe::Cookies => Diagnosis::new(
            DetectionLayer::Headers,
            &["the first visit was refused, the second passed with the cookies of the first"],
            &["ask twice as one visitor, or bring the cookies: `-b`"],
        ),
        Probe::Profile => Diagnosis::new(
            DetectionLayer::Headers,
            &["another browser's name and headers passed, over the same TLS and HTTP/2"],
            &["look like that one: `--as`"],
        ),
        Probe::Browser if is(Probe::Cleared, ProbeResult::Passed) => Diagnosis::new(
            DetectionLayer::Javascript,
            &["only a browser passes, and what it earns is good one tier lower"],
            &["allow it: `--max-tier browser`; one visit pays for many pages"],
        ),
        Probe::Browser if is(Probe::Cleared, ProbeResult::Refused) => Diagnosis::new(
            DetectionLayer::Javascript,
            &["only a browser passes, and what it earns is not good one tier lower"],
            &["let the browser fetch: `--min-tier browser`"],
        ),
        Probe::Browser => Diagnosis::new(
            DetectionLayer::Javascript,
            &["only a browser passes"],
            &["allow it: `--max-tier browser`"],
        ),
        Probe::Window => Diagnosis::new(
            DetectionLayer::Javascript,
            &["a browser passes with a window, and not without: scripts see the difference"],
            &["start the browser with a window: `--headful`"],
        ),
        Probe::Direct | Probe::Cleared => Diagnosis::new(
            DetectionLayer::Ip,
            &["the same passed without the proxy: its address is not trusted"],
            &["take another proxy, or none"],
        ),
    })
}

/// Nothing passed: what the ladder's own trace tells.
fn diagnose_failure(steps: &[ProbeReport]) -> Diagnosis {
    let ladder =
        steps.iter().filter(|step| TIER_PROBES.contains(&step.way) && step.found == ProbeResult::Refused);
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
    Diagnosis::new(
        DetectionLayer::Unknown,
        &[&because],
        &["see that the URL, the network and the proxy are right"],
    )
}

fn format_attempts(steps: &[ProbeReport]) -> Vec<String> {
    let line = |step: &ProbeReport| {
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
const BY_COST: [Probe; 8] = [
    Probe::Plain,
    Probe::Impersonate,
    Probe::Profile,
    Probe::Cookies,
    Probe::Headers,
    Probe::Browser,
    Probe::Window,
    Probe::Direct,
];
/// The ways that are the ladder's own rungs.
const TIER_PROBES: [Probe; 4] = [Probe::Plain, Probe::Impersonate, Probe::Browser, Probe::Window];

#[cfg(test)]
mod tests {
    use super::super::probe::tests::{answered, failed};
    use super::*;
    use crate::error_kind::ErrorKind;
    use crate::verdict::VerdictKind::{self, Block, Challenge, Genuine, RateLimit};

    fn steps(kinds: &[(Probe, VerdictKind)]) -> Vec<ProbeReport> {
        kinds.iter().map(|(way, kind)| answered(*way, *kind)).collect()
    }

    #[test]
    fn what_passed_first_tells_what_gave_the_others_away() {
        use Probe::{Browser, Cleared, Cookies, Direct, Headers, Impersonate, Plain, Profile, Window};
        for (found, works_by, layer) in [
            (&[(Plain, Genuine), (Impersonate, Genuine)][..], Some(Plain), None),
            (&[(Plain, Genuine), (Impersonate, Block)], Some(Plain), Some(DetectionLayer::Headers)),
            (
                &[(Plain, Block), (Headers, Genuine), (Impersonate, Genuine)],
                Some(Impersonate),
                Some(DetectionLayer::Headers),
            ),
            (
                &[(Plain, Block), (Headers, Block), (Impersonate, Genuine)],
                Some(Impersonate),
                Some(DetectionLayer::Tls),
            ),
            (
                &[(Plain, Block), (Headers, Genuine), (Impersonate, Block)],
                Some(Headers),
                Some(DetectionLayer::Tls),
            ),
            (
                &[(Plain, Block), (Impersonate, Block), (Cookies, Genuine)],
                Some(Cookies),
                Some(DetectionLayer::Headers),
            ),
            (
                &[(Plain, Block), (Impersonate, Block), (Profile, Genuine)],
                Some(Profile),
                Some(DetectionLayer::Headers),
            ),
            (
                &[(Impersonate, Challenge), (Browser, Genuine), (Cleared, Genuine)],
                Some(Browser),
                Some(DetectionLayer::Javascript),
            ),
            (
                &[(Impersonate, Challenge), (Browser, Block), (Window, Genuine)],
                Some(Window),
                Some(DetectionLayer::Javascript),
            ),
            (
                &[(Impersonate, Block), (Browser, Block), (Direct, Genuine)],
                Some(Direct),
                Some(DetectionLayer::Ip),
            ),
            (&[(Plain, Block), (Impersonate, Block), (Browser, Block)], None, Some(DetectionLayer::Ip)),
            (&[(Plain, Challenge), (Impersonate, Challenge)], None, Some(DetectionLayer::Javascript)),
            (&[(Plain, RateLimit)], None, Some(DetectionLayer::Pace)),
        ] {
            let steps = steps(found);
            assert_eq!(cheapest_passing(&steps), works_by, "{found:?}");
            let diagnosis = conclude(&steps);
            assert_eq!(diagnosis.as_ref().map(|diagnosis| diagnosis.layer), layer, "{found:?}");
            if let Some(diagnosis) = diagnosis {
                assert!(!diagnosis.evidence.is_empty() && !diagnosis.suggestions.is_empty(), "{diagnosis:?}");
                assert_eq!(diagnosis.tried.len(), found.len(), "{diagnosis:?}");
            }
        }
    }

    #[test]
    fn whether_clearance_moves_decides_what_to_do_about_a_challenge() {
        for (below, change) in [(Genuine, "--max-tier browser"), (Challenge, "--min-tier browser")] {
            let steps =
                steps(&[(Probe::Impersonate, Challenge), (Probe::Browser, Genuine), (Probe::Cleared, below)]);
            let diagnosis = conclude(&steps).unwrap();
            assert!(diagnosis.suggestions[0].contains(change), "{diagnosis:?}");
        }
    }

    #[test]
    fn a_site_that_never_answers_is_not_called_a_block() {
        let steps =
            [failed(Probe::Plain, ErrorKind::Connect), failed(Probe::Impersonate, ErrorKind::Connect)];
        let diagnosis = conclude(&steps).unwrap();
        assert_eq!((cheapest_passing(&steps), diagnosis.layer), (None, DetectionLayer::Unknown));
        assert!(diagnosis.evidence[0].contains("connect error"), "{diagnosis:?}");
    }

    #[test]
    fn a_second_visit_that_was_refused_like_the_first_says_nothing_of_clearance() {
        let steps = steps(&[
            (Probe::Plain, Block),
            (Probe::Impersonate, Challenge),
            (Probe::Cookies, Challenge),
            (Probe::Profile, Challenge),
        ]);
        assert_eq!(conclude(&steps).unwrap().layer, DetectionLayer::Javascript);
    }
}

//! Concludes from the results of the probes which property the site detects. Pure.

use super::probe::{Probe, ProbeReport, ProbeResult, result_of};
use crate::exchange::trace::{DetectionLayer, Diagnosis, Trace};

/// Returns the cheapest probe that passed.
pub(super) fn cheapest_passing(steps: &[ProbeReport]) -> Option<Probe> {
    let passed = |probe: &Probe| result_of(*probe, steps) == Some(ProbeResult::Passed);
    BY_COST.into_iter().find(passed)
}

/// Returns the property that the site detects in the other probes. `None` if plain and all other tried probes pass.
pub(super) fn conclude(steps: &[ProbeReport]) -> Option<Diagnosis> {
    let mut diagnosis = match cheapest_passing(steps) {
        Some(probe) => diagnose_pass(probe, steps)?,
        None => diagnose_failure(steps),
    };
    diagnosis.tried = format_attempts(steps);
    Some(diagnosis)
}

/// Diagnoses a site where `probe` is the cheapest one that passed.
fn diagnose_pass(probe: Probe, steps: &[ProbeReport]) -> Option<Diagnosis> {
    let is = |probe, wanted| result_of(probe, steps) == Some(wanted);
    Some(match probe {
        Probe::Plain if is(Probe::Impersonate, ProbeResult::Refused) => Diagnosis::new(
            DetectionLayer::Headers,
            &["the plain client passes, and a browser fingerprint is refused"],
            &["stay on the plain tier: `--max-tier plain`", "use another browser profile: `--as`"],
        ),
        Probe::Plain => return None,
        Probe::Impersonate if is(Probe::Headers, ProbeResult::Passed) => Diagnosis::new(
            DetectionLayer::Headers,
            &["a browser's headers passed, also over the plain tier's TLS and HTTP/2"],
            &["start there: `--min-tier impersonate`"],
        ),
        Probe::Impersonate
            if is(Probe::Headers, ProbeResult::Refused) || is(Probe::Headers, ProbeResult::Failed) =>
        {
            Diagnosis::new(
                DetectionLayer::Tls,
                &[
                    "a browser's headers passed over its own TLS and HTTP/2 and were refused over the plain tier's",
                ],
                &["start there: `--min-tier impersonate`"],
            )
        }
        Probe::Impersonate => Diagnosis::new(
            DetectionLayer::Unknown,
            &["a browser fingerprint passed, and the plain client did not"],
            &["start there: `--min-tier impersonate`"],
        ),
        Probe::Headers => Diagnosis::new(
            DetectionLayer::Tls,
            &[
                "the same headers passed over the plain tier's TLS and HTTP/2 and not over the browser profile's",
            ],
            &[
                "check the profile for an outdated browser version: `rungs profile lint`",
                "use another browser profile: `--as`",
            ],
        ),
        Probe::Cookies => Diagnosis::new(
            DetectionLayer::Headers,
            &["the first request was refused, the second passed with the cookies of the first"],
            &["fetch twice with one `--session`, or send the cookies with `-b`"],
        ),
        Probe::Profile => Diagnosis::new(
            DetectionLayer::Headers,
            &["another browser's name and headers passed, over the same TLS and HTTP/2"],
            &["use that browser profile: `--as`"],
        ),
        Probe::Browser if is(Probe::Cleared, ProbeResult::Passed) => Diagnosis::new(
            DetectionLayer::Javascript,
            &["only a browser passes, and its clearance works on the impersonate tier"],
            &["allow the browser tier: `--max-tier browser`; one visit serves many pages"],
        ),
        Probe::Browser if is(Probe::Cleared, ProbeResult::Refused) => Diagnosis::new(
            DetectionLayer::Javascript,
            &["only a browser passes, and its clearance does not work on the impersonate tier"],
            &["fetch with the browser: `--min-tier browser`"],
        ),
        Probe::Browser => Diagnosis::new(
            DetectionLayer::Javascript,
            &["only a browser passes"],
            &["allow the browser tier: `--max-tier browser`"],
        ),
        Probe::Window => Diagnosis::new(
            DetectionLayer::Javascript,
            &["a browser passes only with a window: scripts detect the difference"],
            &["start the browser with a window: `--headful`"],
        ),
        Probe::Direct | Probe::Cleared => Diagnosis::new(
            DetectionLayer::Ip,
            &["the same request passed without the proxy: the proxy's address is not trusted"],
            &["use another proxy, or none"],
        ),
    })
}

/// Diagnoses a site where nothing passed, from the attempts of the tiers' own probes.
fn diagnose_failure(steps: &[ProbeReport]) -> Diagnosis {
    let refused = steps
        .iter()
        .filter(|report| TIER_PROBES.contains(&report.probe) && report.result == ProbeResult::Refused);
    let mut trace = Trace::default();
    refused.flat_map(|report| report.attempts.iter().cloned()).for_each(|attempt| trace.push(attempt));
    if let Some(diagnosis) = trace.diagnosis() {
        return diagnosis;
    }
    let failure = steps.iter().find_map(|report| report.attempts.last()?.error.as_ref());
    let evidence = failure.map_or_else(
        || "nothing was tried".to_owned(),
        |error| format!("no probe got a response; the first ended with a {} error", error.kind),
    );
    Diagnosis::new(DetectionLayer::Unknown, &[&evidence], &["check the URL, the network and the proxy"])
}

fn format_attempts(steps: &[ProbeReport]) -> Vec<String> {
    let line = |report: &ProbeReport| {
        let last = report.attempts.last()?;
        let outcome = match (&last.verdict, &last.error) {
            (Some(verdict), _) => verdict.to_string(),
            (None, Some(error)) => format!("{} error", error.kind),
            (None, None) => return None,
        };
        Some(format!("{}: {outcome}", report.probe))
    };
    steps.iter().filter_map(line).collect()
}

/// The probes by the cost of fetching that way.
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
/// The probes that a normal fetch would make: one per tier.
const TIER_PROBES: [Probe; 4] = [Probe::Plain, Probe::Impersonate, Probe::Browser, Probe::Window];

#[cfg(test)]
mod tests {
    use super::super::probe::tests::{answered, failed};
    use super::*;
    use crate::exchange::error_kind::ErrorKind;
    use crate::exchange::verdict::VerdictKind::{self, Block, Challenge, Genuine, RateLimit};

    fn steps(kinds: &[(Probe, VerdictKind)]) -> Vec<ProbeReport> {
        kinds.iter().map(|(probe, kind)| answered(*probe, *kind)).collect()
    }

    #[test]
    fn the_cheapest_passing_probe_decides_the_layer() {
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
    fn the_suggestion_for_a_challenge_depends_on_a_portable_clearance() {
        for (cleared, suggestion) in [(Genuine, "--max-tier browser"), (Challenge, "--min-tier browser")] {
            let steps = steps(&[
                (Probe::Impersonate, Challenge),
                (Probe::Browser, Genuine),
                (Probe::Cleared, cleared),
            ]);
            let diagnosis = conclude(&steps).unwrap();
            assert!(diagnosis.suggestions[0].contains(suggestion), "{diagnosis:?}");
        }
    }

    #[test]
    fn a_site_that_never_responds_is_not_called_a_block() {
        let steps =
            [failed(Probe::Plain, ErrorKind::Connect), failed(Probe::Impersonate, ErrorKind::Connect)];
        let diagnosis = conclude(&steps).unwrap();
        assert_eq!((cheapest_passing(&steps), diagnosis.layer), (None, DetectionLayer::Unknown));
        assert!(diagnosis.evidence[0].contains("connect error"), "{diagnosis:?}");
    }

    #[test]
    fn a_second_refused_request_says_nothing_about_a_clearance() {
        let steps = steps(&[
            (Probe::Plain, Block),
            (Probe::Impersonate, Challenge),
            (Probe::Cookies, Challenge),
            (Probe::Profile, Challenge),
        ]);
        assert_eq!(conclude(&steps).unwrap().layer, DetectionLayer::Javascript);
    }
}

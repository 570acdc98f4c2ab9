use std::time::Duration;

use super::*;
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::trace::AttemptError;
use crate::exchange::verdict::{Evidence, Verdict};
use Tier::{Browser, Impersonate, Plain};
use VerdictKind as K;

fn attempt(tier: Tier, kind: VerdictKind, vendor: &str) -> Attempt {
    let vendor = Some(vendor.to_owned()).filter(|vendor| !vendor.is_empty());
    Attempt {
        tier,
        browser_profile: None,
        proxy: None,
        session: None,
        fallback: false,
        status: Some(403),
        verdict: Some(Verdict { kind, vendor, confidence: 1.0, evidence: Vec::new() }),
        waited: Duration::ZERO,
        elapsed: Duration::ZERO,
        error: None,
        next: None,
    }
}

fn diagnose(attempts: Vec<Attempt>) -> Option<Diagnosis> {
    Trace { attempts, ..Trace::default() }.diagnosis()
}

fn layer(attempts: &[(Tier, VerdictKind, &str)]) -> DetectionLayer {
    diagnose(attempts.iter().map(|(tier, kind, vendor)| attempt(*tier, *kind, vendor)).collect())
        .unwrap()
        .layer
}

#[test]
fn each_sequence_of_attempts_points_to_its_layer() {
    for (attempts, expected) in [
        // Only one tier was allowed.
        (&[(Plain, K::Block, "")][..], DetectionLayer::Headers),
        (&[(Plain, K::Challenge, "cloudflare")], DetectionLayer::Headers),
        (&[(Plain, K::Captcha, "datadome")], DetectionLayer::Headers),
        // No tier that runs scripts.
        (
            &[(Plain, K::Challenge, "cloudflare"), (Impersonate, K::Challenge, "cloudflare")],
            DetectionLayer::Javascript,
        ),
        (
            &[(Plain, K::Challenge, "kasada"), (Impersonate, K::Challenge, "kasada")],
            DetectionLayer::Javascript,
        ),
        (&[(Plain, K::Stub, ""), (Impersonate, K::Stub, "")], DetectionLayer::Javascript),
        // A hard block of a browser fingerprint: the layer that the vendor checks first.
        (&[(Plain, K::Challenge, "cloudflare"), (Impersonate, K::Block, "cloudflare")], DetectionLayer::Ip),
        (&[(Impersonate, K::Block, "datadome")], DetectionLayer::Ip),
        (&[(Impersonate, K::Block, "aws-waf")], DetectionLayer::Ip),
        (&[(Impersonate, K::Block, "akamai")], DetectionLayer::Tls),
        (&[(Impersonate, K::Block, "human")], DetectionLayer::Javascript),
        (&[(Impersonate, K::Block, "imperva")], DetectionLayer::Javascript),
        (&[(Impersonate, K::Block, "")], DetectionLayer::Unknown),
        // A CAPTCHA for a browser fingerprint.
        (&[(Impersonate, K::Captcha, "datadome")], DetectionLayer::Ip),
        (
            &[(Impersonate, K::Challenge, "cloudflare"), (Browser, K::Captcha, "cloudflare")],
            DetectionLayer::Ip,
        ),
        // The browser was refused too.
        (&[(Plain, K::Block, ""), (Impersonate, K::Block, ""), (Browser, K::Block, "")], DetectionLayer::Ip),
        (&[(Impersonate, K::Challenge, "cloudflare"), (Browser, K::Block, "cloudflare")], DetectionLayer::Ip),
        (&[(Browser, K::Block, "akamai")], DetectionLayer::Ip),
        (
            &[(Impersonate, K::Challenge, "cloudflare"), (Browser, K::Challenge, "cloudflare")],
            DetectionLayer::Javascript,
        ),
        (&[(Impersonate, K::Stub, ""), (Browser, K::Stub, "")], DetectionLayer::Ip),
        // The clearance does not work on the lower tier, for this fetch or for another that shared it.
        (
            &[(Impersonate, K::Challenge, "cloudflare"), (Impersonate, K::Challenge, "cloudflare")],
            DetectionLayer::Tls,
        ),
        (&[(Browser, K::Genuine, ""), (Impersonate, K::Challenge, "cloudflare")], DetectionLayer::Tls),
        // Refusals that do not depend on the tier.
        (&[(Plain, K::RateLimit, ""), (Plain, K::RateLimit, "")], DetectionLayer::Pace),
        (&[(Plain, K::Challenge, "kasada"), (Browser, K::RateLimit, "")], DetectionLayer::Pace),
        (&[(Plain, K::Geo, "")], DetectionLayer::Ip),
        (&[(Impersonate, K::LoginWall, "linkedin")], DetectionLayer::Account),
        (&[(Plain, K::ProxyFault, "")], DetectionLayer::Proxy),
    ] {
        assert_eq!(layer(attempts), expected, "{attempts:?}");
    }
}

#[test]
fn every_diagnosis_has_evidence_attempts_and_suggestions() {
    let kinds =
        [K::Challenge, K::Captcha, K::Block, K::RateLimit, K::Geo, K::LoginWall, K::ProxyFault, K::Stub];
    for tier in Tier::ALL {
        for kind in kinds {
            let diagnosis = diagnose(vec![attempt(tier, kind, "")]).unwrap();
            assert!(!diagnosis.evidence.is_empty() && !diagnosis.suggestions.is_empty(), "{tier} {kind}");
            assert_eq!(diagnosis.tried, [format!("{tier}: {kind}")]);
        }
    }
}

#[test]
fn a_fetch_that_is_not_blocked_has_no_diagnosis() {
    assert_eq!(diagnose(Vec::new()), None);
    assert_eq!(diagnose(vec![attempt(Plain, K::Block, ""), attempt(Impersonate, K::Genuine, "")]), None);
    assert_eq!(diagnose(vec![attempt(Plain, K::OriginError, "")]), None);
    let mut failed = attempt(Impersonate, K::Genuine, "");
    failed.verdict = None;
    failed.error = Some(AttemptError { kind: ErrorKind::Connect, message: "refused".to_owned() });
    assert_eq!(diagnose(vec![attempt(Plain, K::Block, ""), failed.clone()]), None);
    let diagnosis = diagnose(vec![failed, attempt(Browser, K::Block, "akamai")]).unwrap();
    assert_eq!(diagnosis.tried, ["impersonate: connect error", "browser: akamai block"]);
}

#[test]
fn a_page_that_misses_the_expectation_is_not_called_a_block() {
    let mut stub = attempt(Browser, K::Stub, "");
    let evidence = Evidence { rule: "expect/css".into(), place: "element".into(), text: "no h1".into() };
    stub.verdict.as_mut().unwrap().evidence.push(evidence);
    let diagnosis = diagnose(vec![stub]).unwrap();
    assert_eq!(diagnosis.layer, DetectionLayer::Unknown);
    assert!(diagnosis.suggestions[0].contains("--expect-css"), "{diagnosis:?}");
}

#[test]
fn the_suggestion_for_a_fetch_through_a_proxy_is_another_proxy() {
    let mut by_proxy = attempt(Browser, K::Block, "");
    by_proxy.proxy = Some("http://gate.example:1".to_owned());
    let diagnosis = diagnose(vec![by_proxy]).unwrap();
    assert_eq!(
        (diagnosis.layer, diagnosis.suggestions[0].as_str()),
        (DetectionLayer::Ip, "use another address: try another proxy")
    );
    assert_eq!(diagnosis.tried, ["browser by proxy: block"]);
    let direct = diagnose(vec![attempt(Browser, K::Block, "")]).unwrap();
    assert_eq!(direct.to_string(), "probably the address: a real browser was refused");
    assert!(direct.suggestions[0].contains("-x"));
}

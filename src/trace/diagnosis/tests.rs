use std::time::Duration;

use super::*;
use crate::kind::ErrorKind;
use crate::trace::AttemptError;
use crate::verdict::{Evidence, Verdict};
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

fn diagnosed(attempts: Vec<Attempt>) -> Option<Diagnosis> {
    Trace { attempts, ..Trace::default() }.diagnosis()
}

fn layer(attempts: &[(Tier, VerdictKind, &str)]) -> Layer {
    diagnosed(attempts.iter().map(|(tier, kind, vendor)| attempt(*tier, *kind, vendor)).collect())
        .unwrap()
        .layer
}

#[test]
fn a_made_up_trace_points_to_its_layer() {
    for (attempts, expected) in [
        // Only one tier was allowed.
        (&[(Plain, K::Block, "")][..], Layer::Headers),
        (&[(Plain, K::Challenge, "cloudflare")], Layer::Headers),
        (&[(Plain, K::Captcha, "datadome")], Layer::Headers),
        // No tier that runs scripts.
        (
            &[(Plain, K::Challenge, "cloudflare"), (Impersonate, K::Challenge, "cloudflare")],
            Layer::Javascript,
        ),
        (&[(Plain, K::Challenge, "kasada"), (Impersonate, K::Challenge, "kasada")], Layer::Javascript),
        (&[(Plain, K::Stub, ""), (Impersonate, K::Stub, "")], Layer::Javascript),
        // Refused hard in a browser's looks: what the vendor looks at first.
        (&[(Plain, K::Challenge, "cloudflare"), (Impersonate, K::Block, "cloudflare")], Layer::Ip),
        (&[(Impersonate, K::Block, "datadome")], Layer::Ip),
        (&[(Impersonate, K::Block, "aws-waf")], Layer::Ip),
        (&[(Impersonate, K::Block, "akamai")], Layer::Tls),
        (&[(Impersonate, K::Block, "human")], Layer::Javascript),
        (&[(Impersonate, K::Block, "imperva")], Layer::Javascript),
        (&[(Impersonate, K::Block, "")], Layer::Unknown),
        // A captcha for what looks like a browser.
        (&[(Impersonate, K::Captcha, "datadome")], Layer::Ip),
        (&[(Impersonate, K::Challenge, "cloudflare"), (Browser, K::Captcha, "cloudflare")], Layer::Ip),
        // The browser too.
        (&[(Plain, K::Block, ""), (Impersonate, K::Block, ""), (Browser, K::Block, "")], Layer::Ip),
        (&[(Impersonate, K::Challenge, "cloudflare"), (Browser, K::Block, "cloudflare")], Layer::Ip),
        (&[(Browser, K::Block, "akamai")], Layer::Ip),
        (
            &[(Impersonate, K::Challenge, "cloudflare"), (Browser, K::Challenge, "cloudflare")],
            Layer::Javascript,
        ),
        (&[(Impersonate, K::Stub, ""), (Browser, K::Stub, "")], Layer::Ip),
        // What was earned is no good below, for this fetch or for another that shared it.
        (&[(Impersonate, K::Challenge, "cloudflare"), (Impersonate, K::Challenge, "cloudflare")], Layer::Tls),
        (&[(Browser, K::Genuine, ""), (Impersonate, K::Challenge, "cloudflare")], Layer::Tls),
        // What every tier hears alike.
        (&[(Plain, K::RateLimit, ""), (Plain, K::RateLimit, "")], Layer::Pace),
        (&[(Plain, K::Challenge, "kasada"), (Browser, K::RateLimit, "")], Layer::Pace),
        (&[(Plain, K::Geo, "")], Layer::Ip),
        (&[(Impersonate, K::LoginWall, "linkedin")], Layer::Account),
        (&[(Plain, K::ProxyFault, "")], Layer::Proxy),
    ] {
        assert_eq!(layer(attempts), expected, "{attempts:?}");
    }
}

#[test]
fn every_diagnosis_gives_a_reason_what_was_tried_and_what_to_change() {
    let kinds =
        [K::Challenge, K::Captcha, K::Block, K::RateLimit, K::Geo, K::LoginWall, K::ProxyFault, K::Stub];
    for tier in Tier::ALL {
        for kind in kinds {
            let found = diagnosed(vec![attempt(tier, kind, "")]).unwrap();
            assert!(!found.because.is_empty() && !found.change.is_empty(), "{tier} {kind}");
            assert_eq!(found.tried, [format!("{tier}: {kind}")]);
        }
    }
}

#[test]
fn what_was_not_blocked_is_not_diagnosed() {
    assert_eq!(diagnosed(Vec::new()), None);
    assert_eq!(diagnosed(vec![attempt(Plain, K::Block, ""), attempt(Impersonate, K::Genuine, "")]), None);
    assert_eq!(diagnosed(vec![attempt(Plain, K::OriginError, "")]), None);
    let mut failed = attempt(Impersonate, K::Genuine, "");
    failed.verdict = None;
    failed.error = Some(AttemptError { kind: ErrorKind::Connect, message: "refused".to_owned() });
    assert_eq!(diagnosed(vec![attempt(Plain, K::Block, ""), failed.clone()]), None);
    let found = diagnosed(vec![failed, attempt(Browser, K::Block, "akamai")]).unwrap();
    assert_eq!(found.tried, ["impersonate: connect error", "browser: akamai block"]);
}

#[test]
fn a_page_without_what_was_asked_of_it_is_not_called_a_block() {
    let mut stub = attempt(Browser, K::Stub, "");
    let evidence = Evidence { rule: "expect/css".into(), place: "element".into(), text: "no h1".into() };
    stub.verdict.as_mut().unwrap().evidence.push(evidence);
    let found = diagnosed(vec![stub]).unwrap();
    assert_eq!(found.layer, Layer::Unknown);
    assert!(found.change[0].contains("--expect-css"), "{found:?}");
}

#[test]
fn a_fetch_that_had_a_proxy_is_told_to_take_another() {
    let mut by_proxy = attempt(Browser, K::Block, "");
    by_proxy.proxy = Some("http://gate.example:1".to_owned());
    let found = diagnosed(vec![by_proxy]).unwrap();
    assert_eq!(
        (found.layer, found.change[0].as_str()),
        (Layer::Ip, "come from another address: another proxy")
    );
    assert_eq!(found.tried, ["browser by proxy: block"]);
    let direct = diagnosed(vec![attempt(Browser, K::Block, "")]).unwrap();
    assert_eq!(direct.to_string(), "probably the address: a real browser was refused");
    assert!(direct.change[0].contains("-x"));
}

//! The structural detector: judges a page by its shape, its words and its scripts, of any vendor. It is asked when no
//! block rule is sure. The phrases and the weights are data: `profiles/structure.toml`.

mod feature_set;
mod features;
mod json;
mod names;
mod page;
mod phrases;
mod script;
mod shape;
mod status;
mod weights;

use std::sync::LazyLock;

use self::feature_set::FeatureSet;
use self::weights::StructureData;
use super::ResponseView;
use super::content_kind::ContentKind;
use crate::exchange::verdict::{Evidence, STRUCTURE_RULES, Verdict, VerdictKind};

pub use self::weights::{KindScore, StructureExplanation};

/// The detector with the data shipped with this build.
pub(super) struct StructuralDetector(StructureData);

impl StructuralDetector {
    /// Returns the shipped detector. It is compiled once.
    pub(super) fn shipped() -> &'static Self {
        static SHIPPED: LazyLock<StructuralDetector> = LazyLock::new(|| {
            let text = include_str!("../../../profiles/structure.toml");
            let data = StructureData::parse(text, "profiles/structure.toml");
            StructuralDetector(data.expect("a test reads the shipped data"))
        });
        &SHIPPED
    }

    /// Whether reading the response takes so long that it must not be done on an async thread.
    pub(super) fn is_slow(&self, view: &ResponseView<'_>, media: ContentKind) -> bool {
        view.body.len() > MAX_CHEAP && media.is_readable() && self.0.has_little_content(view.body)
    }

    /// Returns a verdict, unless the response looks like content. `disabled` kinds are not considered.
    pub(super) fn classify(
        &self,
        view: &ResponseView<'_>,
        media: ContentKind,
        disabled: &[VerdictKind],
    ) -> Option<Verdict> {
        let features = features::collect(&self.0, view, media)?;
        let scores = self.0.score(&features).into_iter();
        let best = scores
            .filter(|score| !disabled.contains(&score.kind))
            .max_by(|a, b| a.score.total_cmp(&b.score))
            .filter(|best| best.score >= THRESHOLD)?;
        let surplus = ((best.score - THRESHOLD) / 2.0).clamp(0.0, 1.0);
        Some(Verdict {
            kind: best.kind,
            vendor: None,
            confidence: MIN_CONFIDENCE + surplus * (MAX_CONFIDENCE - MIN_CONFIDENCE),
            evidence: best.evidence(MAX_EVIDENCE),
        })
    }

    /// Returns the features of the response, and the scores of all kinds.
    pub(super) fn explain(&self, view: &ResponseView<'_>, media: ContentKind) -> StructureExplanation {
        let features = features::collect(&self.0, view, media);
        let mut scores = features.as_ref().map(|features| self.0.score(features)).unwrap_or_default();
        scores.sort_by(|a, b| b.score.total_cmp(&a.score));
        let features = features.map(FeatureSet::into_names).unwrap_or_default();
        StructureExplanation { features, threshold: THRESHOLD, scores }
    }
}

impl KindScore {
    /// Returns what speaks for the kind, the strongest first.
    fn evidence(&self, max: usize) -> Vec<Evidence> {
        let mut reasons: Vec<_> = self.reasons.iter().filter(|(_, weight)| *weight > 0.0).collect();
        reasons.sort_by(|a, b| b.1.total_cmp(&a.1));
        let rule = format!("{STRUCTURE_RULES}{}", self.kind.name());
        reasons
            .into_iter()
            .take(max)
            .map(|(features, weight)| Evidence {
                rule: rule.clone(),
                place: "structure".to_owned(),
                text: format!("{features} ({weight:+.2})"),
            })
            .collect()
    }
}

/// The score from which a kind is the verdict. The weights are sums of decimal fractions.
const THRESHOLD: f32 = 0.995;
/// The confidence of a verdict: above that of an uncertain rule, below that of a sure one.
const MIN_CONFIDENCE: f32 = 0.56;
const MAX_CONFIDENCE: f32 = 0.64;
const MAX_EVIDENCE: usize = 6;
/// The size in bytes up to which a page is read on an async thread.
const MAX_CHEAP: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::recorded;

    fn explain(response: &str) -> StructureExplanation {
        let recorded = recorded::parse(response.as_bytes()).unwrap();
        let url = url::Url::parse("https://site.example/p/1").unwrap();
        let view = recorded.view(&url);
        let media = ContentKind::from_response(view.headers, view.body);
        StructuralDetector::shipped().explain(&view, media)
    }

    #[test]
    fn a_page_that_is_only_a_script_is_a_challenge() {
        let page = "HTTP/1.1 200 OK\ncontent-type: text/html\n\n<html><script>var a=\"17\";document . cookie = \
            \"k=\"+a;location.reload()</script></html>";
        let explanation = explain(page);
        assert!(explanation.features.iter().any(|name| name == "script_only"), "{explanation:?}");
        let best = &explanation.scores[0];
        assert_eq!((best.kind, best.score >= THRESHOLD), (VerdictKind::Challenge, true), "{explanation:?}");
        assert!(best.evidence(1)[0].text.contains("sets_cookie"), "{best:?}");
    }

    #[test]
    fn content_is_not_judged() {
        let body = "<p>Access denied, captcha, are you a robot?</p>".repeat(61);
        let explanation = explain(&format!("HTTP/1.1 200 OK\ncontent-type: text/html\n\n<html>{body}"));
        assert!(explanation.features.is_empty() && explanation.scores.is_empty(), "{explanation:?}");
        let picture = explain("HTTP/1.1 200 OK\ncontent-type: image/png\n\n<html><script>");
        assert!(picture.features.is_empty(), "{picture:?}");
    }

    fn has(response: &str, feature: &str) -> bool {
        explain(response).features.iter().any(|name| name == feature)
    }

    #[test]
    fn data_tells_its_status_its_errors_and_its_elements() {
        let json = |body: &str| format!("HTTP/1.1 200 OK\ncontent-type: application/json\n\n{body}");
        let xml = |body: &str| format!("HTTP/1.1 200 OK\ncontent-type: text/xml\n\n{body}");
        for (response, feature, expected) in [
            (json(r#"{"code":42901,"msg":"x"}"#), "json_code_429", true),
            (json(r#"{"code":"429"}"#), "json_code_429", true),
            (json(r#"{"code":4290,"amount":429}"#), "json_code_429", false),
            (json(r#"{"data":{"a":1,"b":null},"errors":[{"message":"x"}]}"#), "json_partial", true),
            (json(r#"{"data":{"b":null},"errors":[{"message":"x"}]}"#), "json_partial", false),
            (json(r#"{"status":"OK"}"#), "json_ok", true),
            (json(r#"{"success":false}"#), "json_ok", false),
            (
                xml("<?xml version='1.0'?><e:Error><Code>TooMany</Code>too many requests</e:Error>"),
                "json_rate",
                true,
            ),
            (xml("<Error><Message><![CDATA[too many requests]]></Message></Error>"), "json_rate", true),
            (xml("<rss><item><title>too many requests</title></item></rss>"), "json", false),
        ] {
            assert_eq!(has(&response, feature), expected, "{response}");
        }
    }

    #[test]
    fn a_redirect_with_a_cookie_is_a_challenge_only_at_the_same_address() {
        for (location, expected) in
            [("/p/1", true), ("/p/1?check=1", true), ("http://site.example/p/1", false), ("/p/2", false)]
        {
            let response = format!("HTTP/1.1 302 Found\nset-cookie: a=1\nlocation: {location}\n\n");
            assert_eq!(has(&response, "location_same"), expected, "{location}");
        }
        let response = "HTTP/1.1 302 Found\nlocation: /access-denied\n\n";
        assert!(has(response, "location_refusal"));
    }

    #[test]
    fn headings_forms_and_scripts_have_features() {
        let page = |body: &str| format!("HTTP/1.1 200 OK\ncontent-type: text/html\n\n{body}");
        for (body, feature, expected) in [
            ("<nav>Menu</nav><h2>Access denied</h2><p>text", "heading_block", true),
            ("<h2>News</h2><p>Access denied", "heading_block", false),
            ("<form action=/acs><input type=hidden name=SAMLResponse value=x></form>", "handover", true),
            (
                "<script>top.location.href='/user/login?back='+location.pathname</script>",
                "script_login",
                true,
            ),
            ("<script>location.href='/next'</script>", "script_login", false),
        ] {
            assert_eq!(has(&page(body), feature), expected, "{body}");
        }
    }
}

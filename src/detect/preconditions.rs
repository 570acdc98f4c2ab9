//! Cheap preconditions of a rule. They exclude most rules.

use http::HeaderName;

use super::ResponseView;
use super::condition::Condition;
use crate::exchange::tier::Tier;

/// The conditions of a rule on status, headers, URL and size. If they are met, the rule must still be evaluated.
#[derive(Clone, Debug)]
pub(super) struct Preconditions {
    /// The rule can fire on a 200, which is the status of most responses.
    pub(super) can_match_ok: bool,
    /// The body must be complete and no larger than this.
    max_bytes: Option<usize>,
    redirected: Option<bool>,
    tier: Option<Tier>,
    header: Option<HeaderName>,
}

impl Preconditions {
    /// Collects the preconditions of a rule that fires only if all of `conditions` hold.
    pub(super) fn from_conditions(conditions: &[Condition]) -> Self {
        let mut preconditions =
            Self { can_match_ok: true, max_bytes: None, redirected: None, tier: None, header: None };
        for condition in conditions {
            match condition {
                Condition::Status(_) => preconditions.can_match_ok &= condition.allows_status(200),
                Condition::MaxBytes(limit) => {
                    preconditions.max_bytes =
                        Some(preconditions.max_bytes.map_or(*limit, |other| other.min(*limit)));
                }
                Condition::Redirected(redirected) => preconditions.redirected = Some(*redirected),
                Condition::Tier(tier) => preconditions.tier = Some(*tier),
                Condition::Header { name, .. } => preconditions.header = Some(name.clone()),
                _ => {}
            }
        }
        preconditions
    }

    /// Whether the rule must be evaluated for this response. `redirected`: its URL differs from the requested one.
    pub(super) fn is_met(&self, view: &ResponseView<'_>, redirected: bool) -> bool {
        (self.can_match_ok || view.status != 200)
            && self.max_bytes.is_none_or(|limit| view.complete && view.body.len() <= limit)
            && self.redirected.is_none_or(|expected| expected == redirected)
            && self.tier.is_none_or(|tier| view.tier == Some(tier))
            && self.header.as_ref().is_none_or(|name| view.headers.contains_key(name))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use url::Url;

    use super::*;
    use crate::detect::rule;

    #[test]
    fn a_rule_is_evaluated_if_its_preconditions_are_met() {
        let url = Url::parse("https://shop.example/").unwrap();
        let headers = HeaderMap::from_iter([(http::header::SERVER, "nginx".parse().unwrap())]);
        for (lines, met) in [
            ("status = [403]", false),
            ("status = [403, \"200-299\"]", true),
            ("status = [200]\nmax_bytes = 2", false),
            ("status = [200]\nmax_bytes = 3", true),
            ("status = [200]\nall = [{ moved = true }]", false),
            ("status = [200]\nall = [{ moved = false }]", true),
            ("status = [200]\nall = [{ tier = \"browser\" }]", false),
            ("status = [200]\nall = [{ tier = \"plain\" }]", true),
            ("all = [{ header = \"cf-mitigated\" }]", false),
            ("all = [{ header = \"server\", is = \"apache\" }]", true),
            ("any = [{ header = \"cf-mitigated\" }]", true),
        ] {
            let head = "schema = 1\nname = \"t\"\n[[rule]]\nid = \"t\"\nkind = \"block\"\nconfidence = 0.5\nsource = \"t\"\nseen = \"2026-01\"\n";
            let preconditions =
                rule::parse_file(&format!("{head}{lines}"), "t.toml").unwrap().rules.remove(0).preconditions;
            let view = |status, complete| ResponseView {
                tier: Some(Tier::Plain),
                status,
                headers: &headers,
                url: &url,
                requested: &url,
                body: b"abc",
                complete,
                via_proxy: false,
            };
            assert_eq!(preconditions.is_met(&view(200, true), false), met, "{lines}");
            assert!(
                !lines.contains("max_bytes") || !preconditions.is_met(&view(200, false), false),
                "{lines}"
            );
            assert!(!lines.starts_with("status = [403]") || preconditions.is_met(&view(403, true), false));
        }
    }
}

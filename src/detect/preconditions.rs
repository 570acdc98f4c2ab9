//! What a rule needs that costs next to nothing to know: most rules are out of the question by that.

use http::HeaderName;

use super::ResponseView;
use super::condition::Condition;
use crate::tier::Tier;

/// Those of a rule's conditions that speak of the answer's frame. Where they are met the rule has yet to be asked.
#[derive(Clone, Debug)]
pub(super) struct Preconditions {
    /// It can fire on a 200, as most answers are.
    pub(super) can_match_ok: bool,
    /// The body is whole and no larger.
    max_bytes: Option<usize>,
    redirected: Option<bool>,
    tier: Option<Tier>,
    header: Option<HeaderName>,
}

impl Preconditions {
    /// Of a rule that fires only when all of `conditions` hold.
    pub(super) fn from_conditions(conditions: &[Condition]) -> Self {
        let mut needs =
            Self { can_match_ok: true, max_bytes: None, redirected: None, tier: None, header: None };
        for condition in conditions {
            match condition {
                Condition::Status(_) => needs.can_match_ok &= condition.allows_status(200),
                Condition::MaxBytes(bound) => {
                    needs.max_bytes = Some(needs.max_bytes.map_or(*bound, |other| other.min(*bound)));
                }
                Condition::Redirected(moved) => needs.redirected = Some(*moved),
                Condition::Tier(tier) => needs.tier = Some(*tier),
                Condition::Header { name, .. } => needs.header = Some(name.clone()),
                _ => {}
            }
        }
        needs
    }

    /// Whether the rule is to be asked about this answer, which came from another place than the one asked, or did not.
    pub(super) fn is_met(&self, seen: &ResponseView<'_>, moved: bool) -> bool {
        (self.can_match_ok || seen.status != 200)
            && self.max_bytes.is_none_or(|bound| seen.complete && seen.body.len() <= bound)
            && self.redirected.is_none_or(|wanted| wanted == moved)
            && self.tier.is_none_or(|tier| seen.tier == Some(tier))
            && self.header.as_ref().is_none_or(|name| seen.headers.contains_key(name))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use url::Url;

    use super::*;
    use crate::detect::rule;

    #[test]
    fn a_rule_is_asked_when_nothing_of_the_frame_speaks_against_it() {
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
            let needs =
                rule::parse_file(&format!("{head}{lines}"), "t.toml").unwrap().rules.remove(0).preconditions;
            let seen = |status, complete| ResponseView {
                tier: Some(Tier::Plain),
                status,
                headers: &headers,
                url: &url,
                requested: &url,
                body: b"abc",
                complete,
                via_proxy: false,
            };
            assert_eq!(needs.is_met(&seen(200, true), false), met, "{lines}");
            assert!(!lines.contains("max_bytes") || !needs.is_met(&seen(200, false), false), "{lines}");
            assert!(!lines.starts_with("status = [403]") || needs.is_met(&seen(403, true), false));
        }
    }
}

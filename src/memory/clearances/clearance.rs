//! The clearance that a browser visit got for the lower tiers, and when it expires. Pure.

use serde::{Deserialize, Serialize};

use crate::identity::cookies::Cookie;

/// A clearance as it is stored. The identity's jar has the cookies themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clearance {
    /// Names of the cookies that the visit set; empty if it set none.
    pub(crate) cookies: Vec<String>,
    /// When the first of them expires, in seconds since 1970. `None` if none has an expiry.
    pub(crate) until: Option<i64>,
}

impl Clearance {
    /// Returns the clearance of a visit to `host`: the cookies of the host and its parents that are new or
    /// changed between `before` and `after`. Cookies that the page itself set (`by_page`, by name) are excluded,
    /// unless the page set all of them: a challenge may set its cookie in the page's response.
    pub(crate) fn from_visit(before: &[Cookie], after: &[Cookie], host: &str, by_page: &[String]) -> Self {
        let fresh = || after.iter().filter(|cookie| cookie.matches_host(host) && !before.contains(cookie));
        let mut cleared: Vec<&Cookie> = fresh().filter(|cookie| !by_page.contains(&cookie.name)).collect();
        if cleared.is_empty() {
            cleared = fresh().collect();
        }
        Self {
            cookies: cleared.iter().map(|cookie| cookie.name.clone()).collect(),
            until: cleared.iter().filter_map(|cookie| cookie.expires).min(),
        }
    }

    /// Whether it has expired at `now` (seconds since 1970): its time is over, and so are all of its cookies.
    /// While one cookie is valid, the cheap request is sent: a wrong guess must not cost a browser visit.
    pub(crate) fn is_expired(&self, host: &str, now: i64, jar: impl FnOnce() -> Vec<Cookie>) -> bool {
        self.until.is_some_and(|until| until <= now)
            && !jar().iter().any(|cookie| {
                cookie.matches_host(host)
                    && self.cookies.contains(&cookie.name)
                    && cookie.expires.is_none_or(|at| at > now)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(name: &str, value: &str, domain: &str, expires: Option<i64>) -> Cookie {
        let mut cookie = Cookie::session(name, value, domain);
        cookie.expires = expires;
        cookie
    }

    #[test]
    fn new_or_changed_cookies_of_the_host_and_its_parents_count_with_the_earliest_expiry() {
        let before =
            [cookie("old", "1", "www.a.example", Some(10)), cookie("turned", "1", "www.a.example", None)];
        let mut parent = cookie("parent", "1", "a.example", Some(300));
        parent.host_only = false;
        let after = [
            before[0].clone(),
            cookie("turned", "2", "www.a.example", Some(200)),
            parent,
            cookie("not shared", "1", "a.example", Some(1)),
            cookie("other", "1", "b.example", Some(1)),
            cookie("page", "1", "www.a.example", Some(2)),
        ];
        let clearance = Clearance::from_visit(&before, &after, "www.a.example", &["page".to_owned()]);
        assert_eq!(
            clearance,
            Clearance { cookies: vec!["turned".into(), "parent".into()], until: Some(200) }
        );
        let none = Clearance::from_visit(&after, &after, "www.a.example", &[]);
        assert_eq!(none, Clearance::default());
    }

    #[test]
    fn cookies_set_by_the_page_count_if_there_are_no_others() {
        let after = [cookie("page", "1", "a.example", Some(2))];
        let clearance = Clearance::from_visit(&[], &after, "a.example", &["page".to_owned()]);
        assert_eq!(clearance.cookies, ["page"]);
    }

    #[test]
    fn a_clearance_expires_with_its_time_and_its_last_cookie() {
        let clearance = Clearance { cookies: vec!["a".into(), "b".into()], until: Some(100) };
        let jar = |expires| move || vec![cookie("a", "1", "a.example", Some(expires))];
        for (now, expires, expired) in
            [(99, 100, false), (100, 100, true), (150, 200, false), (200, 200, true)]
        {
            assert_eq!(clearance.is_expired("a.example", now, jar(expires)), expired, "{now} {expires}");
        }
        assert!(clearance.is_expired("a.example", 100, Vec::new));
        assert!(!Clearance::default().is_expired("a.example", i64::MAX, Vec::new), "it has no expiry");
    }
}

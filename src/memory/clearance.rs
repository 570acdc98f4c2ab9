//! What a browser visit earned for the tiers below, and until when. Pure.

use serde::{Deserialize, Serialize};

use crate::cookies::Cookie;

/// A clearance as it is remembered. The cookies themselves are the identity's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clearance {
    /// The names of the cookies that came with it; empty when none did.
    pub(crate) cookies: Vec<String>,
    /// When the first of them ends, in seconds since 1970. `None` when none says.
    pub(crate) until: Option<i64>,
}

impl Clearance {
    /// What a visit of `host` earned: the cookies of the host and its parents that are new or changed
    /// between `before` and `after`, without those that the page itself set (`by_page`, by name). Where
    /// the page set all of them, they count: a challenge may hand over with the page.
    pub(crate) fn from_visit(before: &[Cookie], after: &[Cookie], host: &str, by_page: &[String]) -> Self {
        let fresh = || after.iter().filter(|cookie| cookie.matches_host(host) && !before.contains(cookie));
        let mut own: Vec<&Cookie> = fresh().filter(|cookie| !by_page.contains(&cookie.name)).collect();
        if own.is_empty() {
            own = fresh().collect();
        }
        Self {
            cookies: own.iter().map(|cookie| cookie.name.clone()).collect(),
            until: own.iter().filter_map(|cookie| cookie.expires).min(),
        }
    }

    /// Whether it ran out by `now` (seconds since 1970): its time is over and none of its cookies lives.
    /// While one does, the cheap request is made: a wrong guess must not cost a browser visit.
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
        let earned = Clearance::from_visit(&before, &after, "www.a.example", &["page".to_owned()]);
        assert_eq!(earned, Clearance { cookies: vec!["turned".into(), "parent".into()], until: Some(200) });
        let none = Clearance::from_visit(&after, &after, "www.a.example", &[]);
        assert_eq!(none, Clearance::default());
    }

    #[test]
    fn what_the_page_alone_set_counts_when_there_is_nothing_else() {
        let after = [cookie("page", "1", "a.example", Some(2))];
        let earned = Clearance::from_visit(&[], &after, "a.example", &["page".to_owned()]);
        assert_eq!(earned.cookies, ["page"]);
    }

    #[test]
    fn it_is_over_when_its_time_is_and_no_cookie_of_it_lives() {
        let clearance = Clearance { cookies: vec!["a".into(), "b".into()], until: Some(100) };
        let jar = |expires| move || vec![cookie("a", "1", "a.example", Some(expires))];
        for (now, expires, over) in [(99, 100, false), (100, 100, true), (150, 200, false), (200, 200, true)]
        {
            assert_eq!(clearance.is_expired("a.example", now, jar(expires)), over, "{now} {expires}");
        }
        assert!(clearance.is_expired("a.example", 100, Vec::new));
        assert!(!Clearance::default().is_expired("a.example", i64::MAX, Vec::new), "no end is known");
    }
}

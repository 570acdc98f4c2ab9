//! Computes `Sec-Fetch-Site`, `Referer` and `Origin` of a request. Pure.
//!
//! The rules are those of the Fetch standard, with the default referrer policy
//! strict-origin-when-cross-origin.

use url::Url;

use crate::exchange::credentials::strip_fragment_and_credentials;
use crate::exchange::registrable_domain;
use crate::exchange::request::{Context, Request};

/// A request's URL chain: its initiator, and every URL that it was sent to.
#[derive(Clone, Debug)]
pub(crate) struct RedirectChain {
    /// The page that initiated the request; `None` for a URL entered by the user.
    initiator: Option<Url>,
    /// The URLs, the current one last.
    urls: Vec<Url>,
}

impl RedirectChain {
    /// Creates the chain of a request that was not sent yet.
    pub(crate) fn new(request: &Request) -> Self {
        let named = request.headers.iter().find(|(name, _)| *name == http::header::REFERER);
        let named = named.and_then(|(_, value)| Url::parse(value.to_str().ok()?).ok());
        let initiator = named.or_else(|| match request.context {
            Context::Navigation | Context::Reload => None,
            Context::Form | Context::Fetch | Context::Xhr => {
                request.url.join("/").ok().map(without_credentials_and_fragment)
            }
        });
        Self { initiator, urls: vec![request.url.clone()] }
    }

    /// Appends the target of a redirect.
    pub(crate) fn push(&mut self, url: &Url) {
        self.urls.push(url.clone());
    }

    /// The URL of the current request.
    pub(crate) fn current(&self) -> &Url {
        self.urls.last().expect("the chain begins with the URL of the request")
    }

    /// Whether a redirect was followed.
    pub(crate) fn is_redirected(&self) -> bool {
        self.urls.len() > 1
    }

    /// The value of `Sec-Fetch-Site`: the least trusted site of the chain.
    pub(crate) fn fetch_site(&self) -> &'static str {
        let Some(initiator) = &self.initiator else { return "none" };
        let farthest = self.urls.iter().map(|url| site_distance(initiator, url)).max().unwrap_or(0);
        ["same-origin", "same-site", "cross-site"][farthest]
    }

    /// Whether a URL of the chain has another origin than the initiator.
    pub(crate) fn is_cross_origin(&self) -> bool {
        self.fetch_site() != "none" && self.fetch_site() != "same-origin"
    }

    /// The value of `Referer`, if it is sent.
    pub(crate) fn referer(&self) -> Option<String> {
        let initiator = self.initiator.as_ref()?;
        // A downgrade removes the referrer for the rest of the chain.
        if initiator.scheme() == "https" && self.urls.iter().any(|url| url.scheme() != "https") {
            return None;
        }
        // A redirect to another origin reduces the referrer to its origin for the rest of the chain.
        let is_cross_origin = self.urls.iter().any(|url| url.origin() != initiator.origin());
        Some(if is_cross_origin {
            format!("{}/", initiator.origin().ascii_serialization())
        } else {
            without_credentials_and_fragment(initiator.clone()).to_string()
        })
    }

    /// Whether a redirect adds `Origin` to `request`: a script's request that has left the origin of its
    /// page.
    pub(crate) fn gains_origin(&self, request: &Request) -> bool {
        let is_get_or_head = matches!(request.method, http::Method::GET | http::Method::HEAD);
        let began_same_origin =
            self.initiator.as_ref().map(Url::origin) == self.urls.first().map(Url::origin);
        request.context.is_script() && is_get_or_head && self.is_redirected() && began_same_origin
    }

    /// Whether a header value is the initiator's URL.
    pub(crate) fn is_initiator(&self, page: &http::HeaderValue) -> bool {
        let page = page.to_str().ok().and_then(|text| Url::parse(text).ok());
        page.is_some() && page == self.initiator
    }

    /// The value of `Origin`, for requests that have one.
    pub(crate) fn origin(&self) -> Option<String> {
        let initiator = self.initiator.as_ref()?;
        let tainted = self
            .urls
            .windows(2)
            .any(|hop| hop[1].origin() != hop[0].origin() && initiator.origin() != hop[0].origin());
        Some(if tainted { "null".to_owned() } else { initiator.origin().ascii_serialization() })
    }
}

/// Returns 0 for the same origin, 1 for the same site, 2 otherwise.
fn site_distance(from: &Url, to: &Url) -> usize {
    if from.origin() == to.origin() {
        return 0;
    }
    let same_site = from.scheme() == to.scheme()
        && registrable_domain::registrable_domain(from) == registrable_domain::registrable_domain(to);
    if same_site { 1 } else { 2 }
}

/// Removes credentials and fragment, which `Referer` never contains.
fn without_credentials_and_fragment(mut url: Url) -> Url {
    strip_fragment_and_credentials(&mut url);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(initiator: Option<&str>, urls: &[&str]) -> RedirectChain {
        let parse = |text: &&str| Url::parse(text).unwrap();
        RedirectChain {
            initiator: initiator.map(|text| parse(&text)),
            urls: urls.iter().map(parse).collect(),
        }
    }

    #[test]
    fn fetch_site_is_the_least_trusted_of_the_chain() {
        let page = Some("https://www.a.example/p");
        for (initiator, urls, site) in [
            (None, vec!["https://a.example/"], "none"),
            (None, vec!["https://a.example/", "https://b.example/"], "none"),
            (page, vec!["https://www.a.example/x"], "same-origin"),
            (page, vec!["https://shop.a.example/x"], "same-site"),
            (page, vec!["http://www.a.example/x"], "cross-site"),
            (page, vec!["https://b.example/"], "cross-site"),
            (page, vec!["https://b.example/", "https://www.a.example/"], "cross-site"),
            (Some("https://a.co.uk/"), vec!["https://b.co.uk/"], "cross-site"),
            (Some("https://127.0.0.1/"), vec!["https://127.0.0.1:8443/"], "same-site"),
        ] {
            assert_eq!(chain(initiator, &urls).fetch_site(), site, "{initiator:?} {urls:?}");
        }
    }

    #[test]
    fn referer_is_reduced_across_origins_and_dropped_on_a_downgrade() {
        let page = Some("https://u:p@www.a.example/p?q=1#f");
        for (urls, referer) in [
            (vec!["https://www.a.example/x"], Some("https://www.a.example/p?q=1")),
            (vec!["https://b.example/"], Some("https://www.a.example/")),
            (vec!["https://b.example/", "https://www.a.example/"], Some("https://www.a.example/")),
            (vec!["http://www.a.example/"], None),
            (vec!["http://www.a.example/", "https://www.a.example/"], None),
        ] {
            assert_eq!(chain(page, &urls).referer().as_deref(), referer, "{urls:?}");
        }
        assert_eq!(chain(None, &["https://a.example/"]).referer(), None);
    }

    #[test]
    fn origin_is_null_after_a_redirect_between_two_other_origins() {
        let page = Some("https://a.example/p");
        for (urls, origin) in [
            (vec!["https://a.example/x"], "https://a.example"),
            (vec!["https://a.example/x", "https://b.example/"], "https://a.example"),
            (vec!["https://b.example/", "https://c.example/"], "null"),
        ] {
            assert_eq!(chain(page, &urls).origin().as_deref(), Some(origin), "{urls:?}");
        }
    }
}

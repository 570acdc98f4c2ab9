//! A request: method, URL, the caller's headers, body and browser context.

mod body;
mod client_certificate;
mod multipart;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::exchange::address_rule::AddressRule;
use crate::exchange::digest_auth::DigestAuth;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::text::redact;

pub(crate) use body::DefaultContentType;
pub use body::RequestBody;
pub use client_certificate::ClientCertificate;
pub use multipart::{FormPart, Multipart};

/// The browser context of a request. It determines the order, values and priority of the headers.
///
/// With a `referer` header, a navigation is a click on a link of that page, and a form or a fetch comes from that page.
/// Without one, a form or a fetch comes from the root of the site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Context {
    /// A typed address, or a click on a link.
    #[default]
    Navigation,
    /// A reload with the browser's button.
    Reload,
    /// A form submission.
    Form,
    /// A script's `fetch()`.
    Fetch,
    /// A script's `XMLHttpRequest`.
    Xhr,
}

impl Context {
    /// All contexts.
    pub const ALL: [Self; 5] = [Self::Navigation, Self::Reload, Self::Form, Self::Fetch, Self::Xhr];

    /// The stable lower-case name, as in browser profiles and `--context`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Navigation => "navigation",
            Self::Reload => "reload",
            Self::Form => "form",
            Self::Fetch => "fetch",
            Self::Xhr => "xhr",
        }
    }

    /// Whether a script makes the request, rather than the user.
    #[must_use]
    pub const fn is_script(self) -> bool {
        matches!(self, Self::Fetch | Self::Xhr)
    }
}

/// One request of the caller, before a tier adds its headers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The method. Default: GET.
    pub method: Method,
    /// The absolute http or https URL. Credentials in it become Basic authentication.
    pub url: Url,
    /// The caller's headers, in order. They replace those of the tier.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The names of the caller's headers that are not in lower case, as the caller spelled them.
    pub(crate) spelled_names: Vec<Arc<str>>,
    /// Headers of the tier that must not be sent.
    pub removed: Vec<HeaderName>,
    /// The body, if there is one.
    pub body: Option<RequestBody>,
    /// The browser context. Default: navigation.
    pub context: Context,
    /// Whether a refresh that an HTML page declares is followed.
    pub(crate) follows_refresh: bool,
    /// Which addresses the request, its redirects and its retries may be sent to.
    pub(crate) address_rule: Arc<AddressRule>,
    /// Credentials for a challenge of the URL's origin.
    pub(crate) digest: Option<Arc<DigestAuth>>,
    /// The certificate for the URL's origin.
    pub(crate) client_certificate: Option<Arc<ClientCertificate>>,
    /// Whether HTTP/2 is not offered.
    pub(crate) only_http1: bool,
    /// Whether a redirect sets `Referer` to the URL that redirected.
    pub(crate) auto_referer: bool,
}

impl Request {
    /// Adds a header whose name the caller spelled as `spelled`.
    pub(crate) fn push_header(&mut self, spelled: &str, name: HeaderName, value: HeaderValue) {
        if spelled != name.as_str() && self.spelled_name(&name).is_none() {
            self.spelled_names.push(spelled.into());
        }
        self.headers.push((name, value));
    }

    /// Returns the name as the caller spelled it, unless in lower case.
    pub(crate) fn spelled_name(&self, name: &HeaderName) -> Option<&Arc<str>> {
        self.spelled_names.iter().find(|spelled| spelled.eq_ignore_ascii_case(name.as_str()))
    }

    /// Returns the names of the cookies in the caller's Cookie headers.
    pub(crate) fn cookie_names(&self) -> Vec<String> {
        let lines = self.headers.iter().filter(|(name, _)| *name == http::header::COOKIE);
        let pairs = lines.filter_map(|(_, value)| value.to_str().ok()).flat_map(|text| text.split(';'));
        pairs.map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name).trim().to_owned()).collect()
    }

    /// Creates a GET request for `url`.
    #[must_use]
    pub fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: Vec::new(),
            spelled_names: Vec::new(),
            removed: Vec::new(),
            body: None,
            context: Context::Navigation,
            follows_refresh: false,
            address_rule: Arc::default(),
            digest: None,
            client_certificate: None,
            only_http1: false,
            auto_referer: false,
        }
    }
}

/// Parses a URL that can be fetched: absolute, http or https, with a host.
///
/// # Errors
/// [`ErrorKind::InvalidUrl`] with a hint for any other text.
pub fn parse_url(text: &str) -> Result<Url> {
    let shown = redact::url_text(text);
    let shown = shown.escape_debug();
    let malformed = || Error::new(ErrorKind::InvalidUrl, format!("malformed URL `{shown}`"));
    let with_scheme_hint = |error: Error| error.with_hint(format!("write the scheme too: `https://{shown}`"));
    if text.is_empty() {
        return Err(Error::new(ErrorKind::InvalidUrl, "the URL is empty"));
    }
    let url = Url::parse(text).map_err(|cause| {
        let error = malformed().with_source(cause);
        if cause == url::ParseError::RelativeUrlWithoutBase { with_scheme_hint(error) } else { error }
    })?;
    if url.cannot_be_a_base() && (text.contains('@') || url.path().starts_with(|c: char| c.is_ascii_digit()))
    {
        // `user:password@host` parses as the scheme `user`, `localhost:8080/x` as the scheme `localhost`.
        return Err(with_scheme_hint(malformed()));
    }
    if !matches!(url.scheme(), "http" | "https") {
        let error =
            Error::new(ErrorKind::InvalidUrl, format!("unknown scheme `{}` in `{shown}`", url.scheme()));
        return Err(error.with_hint("rungs fetches http:// and https:// only"));
    }
    Ok(url)
}

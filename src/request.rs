//! What is asked for: method, URL, the caller's own headers, body, and in which context.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::redact;

/// In which context of a browser a request is made. Decides header order, values and priority.
///
/// A `referer` header makes a navigation a click on a link of that page, and names the page that
/// a fetch or a form comes from; without one they come from the site's own root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Context {
    /// An address typed by hand, or a link clicked.
    #[default]
    Navigation,
    /// The page loaded anew by its button.
    Reload,
    /// A form sent by its button.
    Form,
    /// A script's `fetch()`.
    Fetch,
    /// A script's `XMLHttpRequest`.
    Xhr,
}

impl Context {
    /// All contexts.
    pub const ALL: [Self; 5] = [Self::Navigation, Self::Reload, Self::Form, Self::Fetch, Self::Xhr];

    /// The stable lower-case name, as browser profiles and `--context` write it.
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

    /// Whether a script makes it, rather than the person at the browser.
    #[must_use]
    pub const fn is_script(self) -> bool {
        matches!(self, Self::Fetch | Self::Xhr)
    }
}

/// One request as the caller means it, before any tier dresses it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The method. Default: GET.
    pub method: Method,
    /// The absolute http or https URL. Credentials in it become Basic authorization.
    pub url: Url,
    /// The caller's own headers, in order. They replace what a tier would have sent.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Headers a tier would have sent that must not be sent.
    pub removed: Vec<HeaderName>,
    /// The body, if there is one.
    pub body: Option<Bytes>,
    /// The browser context. Default: navigation.
    pub context: Context,
}

impl Request {
    /// The names of the cookies in the caller's own Cookie headers.
    pub(crate) fn cookie_names(&self) -> Vec<String> {
        let lines = self.headers.iter().filter(|(name, _)| *name == http::header::COOKIE);
        let pairs = lines.filter_map(|(_, value)| value.to_str().ok()).flat_map(|text| text.split(';'));
        pairs.map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name).trim().to_owned()).collect()
    }

    /// A GET of `url` with nothing else.
    #[must_use]
    pub fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: Vec::new(),
            removed: Vec::new(),
            body: None,
            context: Context::Navigation,
        }
    }
}

/// Reads a URL that can be fetched: absolute, http or https, with a host.
///
/// # Errors
/// [`ErrorKind::InvalidUrl`] with a hint when it is anything else.
pub fn parse_url(text: &str) -> Result<Url> {
    let shown = redact::url_text(text);
    let shown = shown.escape_debug();
    let malformed = || Error::new(ErrorKind::InvalidUrl, format!("malformed URL `{shown}`"));
    let wants_scheme = |error: Error| error.with_hint(format!("write the scheme too: `https://{shown}`"));
    if text.is_empty() {
        return Err(Error::new(ErrorKind::InvalidUrl, "the URL is empty"));
    }
    let url = Url::parse(text).map_err(|cause| {
        let error = malformed().with_source(cause);
        if cause == url::ParseError::RelativeUrlWithoutBase { wants_scheme(error) } else { error }
    })?;
    if url.cannot_be_a_base() && (text.contains('@') || url.path().starts_with(|c: char| c.is_ascii_digit()))
    {
        // `user:password@host` parses as the scheme `user`, `localhost:8080/x` as the scheme `localhost`.
        return Err(wants_scheme(malformed()));
    }
    if !matches!(url.scheme(), "http" | "https") {
        let error =
            Error::new(ErrorKind::InvalidUrl, format!("unknown scheme `{}` in `{shown}`", url.scheme()));
        return Err(error.with_hint("rungs fetches http:// and https:// only"));
    }
    Ok(url)
}

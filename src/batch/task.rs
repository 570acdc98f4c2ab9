//! One task of a batch: a URL, optionally with settings of its own.

use std::borrow::Cow;
use std::fmt;

use http::Method;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::{Origin, Url};

use super::listed::ListedOrigins;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::{Context, parse_url};
use crate::fetcher::{Fetcher, RequestBuilder};
use crate::router::host_limiter;
use crate::text::redact;

/// One URL to fetch: created by `Task::from("https://…")`, or parsed from an input line.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Task {
    /// The URL, as it was given.
    pub url: String,
    /// The method. Default: the batch's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Headers of this request alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Vec<u8>>,
    /// The name of the target to use, instead of the one whose `match` fits the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The name of the session to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The browser context. Default: the batch's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// How often the task was returned after a transient failure.
    #[serde(default)]
    pub tries: u32,
    /// The number of links between a listed URL and this one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub depth: u32,
    /// For a link or a sitemap entry: the origin of the listed URL that led to it. Headers that the caller adds to
    /// every request are for that origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_origin: Option<String>,
    /// For a link or a sitemap entry: whether it may be at a private address, because the page or the sitemap that
    /// names it is at one. Default: false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_private: bool,
    /// For a link: whether the listed URL that led to it has credentials. They are not stored with the link.
    #[serde(default, skip_serializing_if = "is_false")]
    pub seed_has_credentials: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(depth: &u32) -> bool {
    *depth == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The fingerprint of a task: 128 bits of the SHA-256 of normalised URL, method and body.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey(pub(super) u128);

impl Task {
    /// The host, with the port if it is not the scheme's default.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidUrl`].
    pub fn host(&self) -> Result<String> {
        Ok(host_limiter::host_key(&parse_url(&self.url)?).into_owned())
    }

    /// Returns the key and the host.
    pub(super) fn identify(&self) -> Result<(TaskKey, String)> {
        let url = parse_url(&self.url)?;
        self.method()?;
        let host = host_limiter::host_key(&url).into_owned();
        Ok((self.key(url), host))
    }

    fn key(&self, mut url: Url) -> TaskKey {
        url.set_fragment(None);
        let mut hash = Sha256::new();
        hash.update(url.as_str());
        if self.method.is_some() || self.body.is_some() {
            hash.update([0]);
            hash.update(self.method.as_deref().unwrap_or("GET"));
            hash.update([0]);
            hash.update(self.body.as_deref().unwrap_or_default());
        }
        TaskKey::from_hash(hash)
    }

    pub(super) fn method(&self) -> Result<Option<Method>> {
        let Some(text) = &self.method else { return Ok(None) };
        let read = text.parse().map(Some);
        read.map_err(|_| {
            Error::new(ErrorKind::InvalidRequest, format!("`{}` is not a method", text.escape_debug()))
        })
    }

    /// Returns the method to send, in a batch whose default is `method`.
    pub(super) fn effective_method(&self, method: &Method) -> Result<Method> {
        Ok(self.method()?.unwrap_or_else(|| {
            match (self.body.is_some(), self.depth) {
                (true, _) if *method == Method::GET => Method::POST,
                // A link is requested with GET, for any method of its page.
                (false, 1..) => Method::GET,
                _ => method.clone(),
            }
        }))
    }

    /// Whether the caller listed the URL, rather than a page or a sitemap.
    pub(super) const fn is_listed(&self) -> bool {
        self.depth == 0 && self.seed_origin.is_none()
    }

    /// Whether the task may lead to public addresses only, because a public site named its URL.
    pub(super) const fn requires_public(&self) -> bool {
        !self.is_listed() && !self.allow_private
    }

    /// Returns the origin of the listed URL that this task is, or that led to it. `None` for a link without a known
    /// seed.
    pub(super) fn listed_origin(&self) -> Option<Origin> {
        let seed = match (&self.seed_origin, self.depth) {
            (Some(origin), _) => origin,
            (None, 0) => &self.url,
            (None, _) => return None,
        };
        Some(Url::parse(seed).ok()?.origin())
    }

    /// Returns the URL, in a link with the credentials of the listed URL that led to it.
    fn url_with_credentials(&self, listed: &ListedOrigins) -> Cow<'_, str> {
        if self.is_listed() {
            return Cow::Borrowed(&self.url);
        }
        let Ok(mut url) = Url::parse(&self.url) else { return Cow::Borrowed(&self.url) };
        listed.apply_credentials(self.listed_origin().as_ref(), &mut url);
        Cow::Owned(url.into())
    }

    /// Whether the URL, or the listed URL that led to it, has credentials.
    pub(super) fn has_credentials(&self) -> bool {
        let has = |url: Url| !url.username().is_empty() || url.password().is_some();
        self.seed_has_credentials || Url::parse(&self.url).is_ok_and(has)
    }

    /// Builds the request. `method` and `common` are the batch's. Headers of `common` that may be secrets are
    /// dropped if they are not for the task's origin. The task's own settings are applied last.
    pub(super) fn build_request(
        &self,
        fetcher: &Fetcher,
        method: &Method,
        common: Option<&(dyn Fn(RequestBuilder) -> RequestBuilder + Send + Sync)>,
        listed: &ListedOrigins,
    ) -> Result<RequestBuilder> {
        let method = self.effective_method(method)?;
        let url = self.url_with_credentials(listed);
        let mut request = match &self.session {
            Some(name) => fetcher.session(name).request(method, &url),
            None => fetcher.request(method, &url),
        };
        if let Some(common) = common {
            request = common(request);
        }
        let seed = self.listed_origin();
        let (restricted, has_dropped_headers) = request.restricted(|to| listed.allows(seed.as_ref(), to));
        request = restricted;
        if let Some(url) = request.url().filter(|_| has_dropped_headers) {
            listed.log_dropped_headers(url);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = &self.body {
            request = request.body(body.clone());
        }
        if let Some(context) = self.context {
            request = request.context(context);
        }
        if let Some(name) = &self.target {
            request = request.target(name);
        }
        Ok(request)
    }
}

impl TaskKey {
    /// The key of a task with this URL and no other setting.
    pub(super) fn for_url(url: Url) -> Self {
        Task::default().key(url)
    }

    /// The key of a line that is not a task.
    pub(super) fn for_bad_line(line: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"\0bad\0");
        hash.update(line);
        Self::from_hash(hash)
    }

    /// A key that stores a fact of a crawl among the keys of its tasks.
    pub(super) fn for_fact(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"\0fact");
        for part in parts {
            hash.update([0]);
            hash.update(part);
        }
        Self::from_hash(hash)
    }

    fn from_hash(hash: Sha256) -> Self {
        let digest = hash.finalize();
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Self(u128::from_be_bytes(half))
    }
}

impl<S: Into<String>> From<S> for Task {
    fn from(url: S) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}

/// Prints the URL only: headers and body may hold secrets.
impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("url", &redact::url_text(&self.url)).finish_non_exhaustive()
    }
}

impl fmt::Debug for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(url: &str) -> TaskKey {
        Task::from(url).identify().unwrap().0
    }

    #[test]
    fn equivalent_urls_have_the_same_key() {
        for other in [
            "HTTPS://Shop.example:443/a?b=1",
            "https://shop.example/a?b=1#part",
            "https://shop.example/x/../a?b=1",
        ] {
            assert_eq!(key("https://shop.example/a?b=1"), key(other), "{other}");
        }
        for other in
            ["https://shop.example/a?b=2", "http://shop.example/a?b=1", "https://shop.example:444/a?b=1"]
        {
            assert_ne!(key("https://shop.example/a?b=1"), key(other), "{other}");
        }
    }

    #[test]
    fn method_and_body_are_part_of_the_key() {
        let plain = Task::from("https://shop.example/a");
        let post = Task { method: Some("POST".to_owned()), ..plain.clone() };
        let body = Task { body: Some(b"q=1".to_vec()), ..post.clone() };
        let other = Task { body: Some(b"q=2".to_vec()), ..post.clone() };
        let keys = [&plain, &post, &body, &other].map(|task| task.identify().unwrap().0);
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[at + 1..].contains(key), "{at}");
        }
        let get = Task { method: Some("GET".to_owned()), ..plain.clone() };
        assert_eq!(get.key(parse_url(&get.url).unwrap()), get.identify().unwrap().0);
    }

    #[test]
    fn a_task_that_a_checkpoint_stored_requires_public_addresses_unless_a_private_page_named_it() {
        let listed = Task::from("http://a.test/");
        let link = Task { depth: 1, seed_origin: Some("http://a.test".to_owned()), ..listed.clone() };
        let entry = Task { depth: 0, ..link.clone() };
        let of_private_page = Task { allow_private: true, ..link.clone() };
        for (task, expected) in [(&listed, false), (&link, true), (&entry, true), (&of_private_page, false)] {
            let stored = serde_json::to_string(task).unwrap();
            let read: Task = serde_json::from_str(&stored).unwrap();
            assert_eq!((&read, read.requires_public()), (task, expected), "{stored}");
        }
        // Stored by a version that did not know where the link came from.
        let old: Task = serde_json::from_str(r#"{"url":"http://a.test/","depth":2}"#).unwrap();
        assert!(old.requires_public());
    }

    #[test]
    fn debug_output_of_a_task_contains_no_secret() {
        let mut task = Task::from("https://jane:hunter2@shop.example/");
        task.headers.push(("authorization".to_owned(), "hunter2".to_owned()));
        task.body = Some(b"hunter2".to_vec());
        assert!(!format!("{task:?}").contains("hunter2"));
    }
}

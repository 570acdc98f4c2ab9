//! One piece of work: what to fetch, and how, where it is not as everything else in the batch.

use std::fmt;

use http::Method;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::{Origin, Url};

use super::listed::ListedOrigins;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::fetcher::{Fetcher, RequestBuilder};
use crate::host_limiter;
use crate::redact;
use crate::request::{Context, parse_url};

/// One URL to fetch. `Task::from("https://…")`, or read from a line.
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
    /// The target to go by, by its name, instead of the one whose `match` fits the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The session to ask as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The browser context. Default: the batch's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// How often it was given back after a failure that may pass.
    #[serde(default)]
    pub tries: u32,
    /// How many links it is away from what was listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub depth: u32,
    /// Of a link or a sitemap's page: the origin of the listed URL that led to it. What the caller gives every request
    /// is for that origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_origin: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_zero(depth: &u32) -> bool {
    *depth == 0
}

/// What tells one task from another: normalised URL, method and body, as 128 bits of SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey(pub(super) u128);

impl Task {
    /// Where it goes: the host, with the port where that is not the scheme's own.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidUrl`].
    pub fn host(&self) -> Result<String> {
        Ok(host_limiter::host_key(&parse_url(&self.url)?).into_owned())
    }

    /// What tells it from others, and its host.
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

    /// The method it is asked with, in a batch of `method`.
    pub(super) fn effective_method(&self, method: &Method) -> Result<Method> {
        Ok(self.method()?.unwrap_or_else(|| {
            match (self.body.is_some(), self.depth) {
                (true, _) if *method == Method::GET => Method::POST,
                // A link is asked for as links are, whatever its page was asked for with.
                (false, 1..) => Method::GET,
                _ => method.clone(),
            }
        }))
    }

    /// The origin of the listed URL that it is, or that led to it. `None` for a link of which nobody knows.
    pub(super) fn given_for(&self) -> Option<Origin> {
        let seed = match (&self.seed_origin, self.depth) {
            (Some(origin), _) => origin,
            (None, 0) => &self.url,
            (None, _) => return None,
        };
        Some(Url::parse(seed).ok()?.origin())
    }

    /// The request it stands for. What the batch gives every request is in `method` and added by `common`, but for
    /// what may be a secret and is not for the task's origin; what the task says itself comes after it.
    pub(super) fn build_request(
        &self,
        fetcher: &Fetcher,
        method: &Method,
        common: Option<&(dyn Fn(RequestBuilder) -> RequestBuilder + Send + Sync)>,
        listed: &ListedOrigins,
    ) -> Result<RequestBuilder> {
        let method = self.effective_method(method)?;
        let mut request = match &self.session {
            Some(name) => fetcher.session(name).request(method, &self.url),
            None => fetcher.request(method, &self.url),
        };
        if let Some(common) = common {
            request = common(request);
        }
        let (restricted, left_out) = request.restricted(|to| listed.may_have(self, to));
        request = restricted;
        if let Some(url) = request.url().filter(|_| left_out) {
            listed.tell(url);
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
    /// What a task with this URL and nothing else has.
    pub(super) fn for_url(url: Url) -> Self {
        Task::default().key(url)
    }

    /// What stands for a line that is no task.
    pub(super) fn for_bad_line(line: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"\0bad\0");
        hash.update(line);
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

/// Headers and body may hold secrets.
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
    fn one_page_has_one_key_however_it_is_written() {
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
    fn a_task_is_shown_without_what_may_be_secret() {
        let mut task = Task::from("https://jane:hunter2@shop.example/");
        task.headers.push(("authorization".to_owned(), "hunter2".to_owned()));
        task.body = Some(b"hunter2".to_vec());
        assert!(!format!("{task:?}").contains("hunter2"));
    }
}

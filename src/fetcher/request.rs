//! Builds and sends one request.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Method, header};
use tokio::time::Instant;
use tracing::{Instrument, Span};
use url::{Origin, Url};

use crate::detect::Expectation;
use crate::exchange::address_rule::AddressRule;
use crate::exchange::credentials;
use crate::exchange::digest_auth::DigestAuth;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::phase::FetchObserver;
use crate::exchange::request::{ClientCertificate, Context, Multipart, Request, RequestBody, parse_url};
use crate::exchange::response::{Capture, HttpVersion};
use crate::exchange::robots_policy::RobotsPolicy;
use crate::exchange::tier::Tier;
use crate::memory::SiteSection;
use crate::net::headers;
use crate::os::sync::lock_unpoisoned;
use crate::proxy::{Proxy, ProxyRules};
use crate::router::{BodySink, EscalationPolicy, FetchPlan, FirstIdentities, IdentitySource};
use crate::settings::budget::Budget;
use crate::settings::rate_limit::RateLimit;
use crate::settings::render::{BodySource, RenderOptions, ResourceKind};
use crate::text::redact::Secret;

use super::{Fetcher, Response, span};

/// A request that is being built. Setters cannot fail; [`send`](Self::send) reports invalid values.
#[must_use = "nothing is sent before `send`"]
pub struct RequestBuilder {
    fetcher: Fetcher,
    request: Result<Request>,
    has_context: bool,
    timeout: Option<Duration>,
    tier: Option<Tier>,
    budget: Option<Budget>,
    render: RenderOptions,
    body_sink: BodySink,
    expectation: Option<Expectation>,
    robots: Option<RobotsPolicy>,
    default_robots: RobotsPolicy,
    rate_limit: Option<RateLimit>,
    target: Option<String>,
    /// Whether credentials of the caller, and of settings for all URLs, are not meant for this URL.
    is_foreign: bool,
    observer: Option<Arc<dyn FetchObserver>>,
    capture: Option<Arc<Mutex<Capture>>>,
    meta_refresh: Option<bool>,
}

impl RequestBuilder {
    pub(super) fn new(fetcher: Fetcher, method: Method, url: &str) -> Self {
        let mut request = parse_url(url).map(|url| Request { method, ..Request::get(url) });
        if request.as_ref().is_ok_and(|request| request.method == Method::CONNECT) {
            request = Err(Error::new(
                ErrorKind::InvalidRequest,
                "the method CONNECT is not supported: it does not fetch a URL",
            ));
        }
        Self {
            fetcher,
            request,
            has_context: false,
            timeout: None,
            tier: None,
            budget: None,
            render: RenderOptions::default(),
            body_sink: BodySink::Memory,
            expectation: None,
            robots: None,
            default_robots: RobotsPolicy::default(),
            rate_limit: None,
            target: None,
            is_foreign: false,
            observer: None,
            capture: None,
            meta_refresh: None,
        }
    }

    /// Adds a header. It replaces the tier's own header of that name. Over HTTP/1.1, a name that browsers do not send
    /// by themselves keeps its case. Of several `Host` headers, the first is sent. A request with `Range` accepts no
    /// content coding, as in browsers, unless it has an `Accept-Encoding`. A header that may be a secret is sent only to
    /// the URL's origin: a redirect to another origin removes it for the rest of the redirect chain. All headers may
    /// be secrets except those that negotiate or describe content, such as `Accept-Language`.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let (name, value) = (name.as_ref(), value.as_ref());
        self.modify(|request| {
            let (parsed, value) = parse_header(name, value)?;
            request.push_header(name, parsed, value);
            Ok(())
        });
        self
    }

    /// Removes the headers added so far that may be secrets, unless `given_for` is true for the URL's origin.
    /// Otherwise secrets of targets that do not match the URL are left out too. The second value tells whether a
    /// header was removed.
    pub(crate) fn restricted(mut self, given_for: impl FnOnce(&Origin) -> bool) -> (Self, bool) {
        let Ok(request) = &mut self.request else { return (self, false) };
        let to = request.url.origin();
        self.is_foreign = !given_for(&to);
        let before = request.headers.len();
        request.headers.retain(|(name, _)| credentials::may_send(name, &to, |_| !self.is_foreign));
        let mut left_out = request.headers.len() < before;
        if self.is_foreign {
            left_out |= request.digest.take().is_some() | request.client_certificate.take().is_some();
        }
        (self, left_out)
    }

    /// A public site named the URL: the fetch connects to public addresses only.
    pub(crate) fn public_only(mut self) -> Self {
        self.modify(|request| {
            request.address_rule = AddressRule::public_only();
            Ok(())
        });
        self
    }

    /// Returns the headers added so far.
    #[cfg(test)]
    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        self.request.as_ref().map(|request| &request.headers[..]).unwrap_or_default()
    }

    /// Removes a header that the tier would send.
    pub fn without_header(mut self, name: impl AsRef<str>) -> Self {
        let name = name.as_ref();
        self.modify(|request| {
            request.removed.push(parse_header_name(name)?);
            Ok(())
        });
        self
    }

    /// The request body. A navigation with a body becomes a form submission.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        self.set_body(|| Ok(RequestBody::from(body)));
        self
    }

    /// A body with files, which are streamed. A navigation with a body becomes a form submission.
    pub fn request_body(mut self, body: RequestBody) -> Self {
        self.set_body(|| Ok(body));
        self
    }

    /// A form as `multipart/form-data`. Its files are streamed.
    pub fn multipart(mut self, form: Multipart) -> Self {
        self.set_body(|| form.into_body());
        self
    }

    /// The file `path` as the body, without a content type. It is streamed. The method is that of the request, for example
    /// PUT.
    pub fn upload(mut self, path: impl AsRef<Path>) -> Self {
        self.set_body(|| RequestBody::from_file(path.as_ref(), 0));
        self
    }

    /// User and password for Basic authentication. They are sent to the URL's origin only, and take precedence over those in
    /// the URL.
    pub fn basic_auth(mut self, user: impl AsRef<str>, password: &Secret) -> Self {
        let value = headers::basic_auth(user.as_ref(), password.expose());
        self.modify(|request| {
            request.headers.retain(|(name, _)| *name != header::AUTHORIZATION);
            request.headers.push((header::AUTHORIZATION, value));
            request.digest = None;
            Ok(())
        });
        self
    }

    /// User and password for Digest authentication, which all tiers use when the URL's origin requests it. They take
    /// precedence over those in the URL.
    pub fn digest_auth(mut self, user: impl Into<String>, password: Secret) -> Self {
        let digest = Arc::new(DigestAuth::new(user, password));
        self.modify(|request| {
            request.digest = Some(digest);
            Ok(())
        });
        self
    }

    /// The certificate for the URL's origin, if it requests one. The browser tier cannot send it, so the fetch ends below.
    /// Default: none.
    pub fn client_certificate(mut self, certificate: Arc<ClientCertificate>) -> Self {
        self.modify(|request| {
            request.client_certificate = Some(certificate);
            Ok(())
        });
        self
    }

    /// The highest HTTP version of the HTTP tiers: HTTP/1.1, or HTTP/2. HTTP/1.1 alone changes the TLS fingerprint of a
    /// browser profile. Default: HTTP/2.
    pub fn http_version(mut self, version: HttpVersion) -> Self {
        self.modify(|request| {
            request.only_http1 = match version {
                HttpVersion::Http2 => false,
                HttpVersion::Http11 => true,
                _ => {
                    let message = format!("requests with HTTP/{} are not supported", version.name());
                    return Err(Error::new(ErrorKind::InvalidRequest, message));
                }
            };
            Ok(())
        });
        self
    }

    /// Whether the HTTP tiers set `Referer` to the whole URL that redirected, as curl does with `-e ';auto'`. Default: false;
    /// redirects follow the referrer policy of browsers.
    pub fn auto_referer(mut self, wanted: bool) -> Self {
        self.modify(|request| {
            request.auto_referer = wanted;
            Ok(())
        });
        self
    }

    fn set_body(&mut self, body: impl FnOnce() -> Result<RequestBody>) {
        self.modify(|request| {
            request.body = Some(body()?);
            if request.context == Context::Navigation {
                request.context = Context::Form;
            }
            Ok(())
        });
    }

    /// The browser context of the request. Default: navigation.
    pub fn context(mut self, context: Context) -> Self {
        self.has_context = true;
        self.modify(|request| {
            request.context = context;
            Ok(())
        });
        self
    }

    /// The proxy for this request. The session has a separate identity, with its own cookies, at each proxy.
    /// Default: the fetcher's.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.fetcher = self.fetcher.with_proxy_rules(&ProxyRules::through(proxy));
        self
    }

    /// The timeout of the whole fetch, including all attempts and waits. Default: the fetcher's.
    pub const fn timeout(mut self, total: Duration) -> Self {
        self.timeout = Some(total);
        self
    }

    /// The maximum cost of this fetch. Default: the fetcher's.
    pub const fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// The only tier to use. Default: the tiers of the fetcher.
    pub const fn tier(mut self, tier: Tier) -> Self {
        self.tier = Some(tier);
        self
    }

    /// A CSS selector that the browser waits for. If it does not match in time, the error is [`ErrorKind::Timeout`].
    /// Default: none.
    pub fn wait_for(mut self, selector: impl Into<String>) -> Self {
        self.render.wait_for = Some(selector.into());
        self
    }

    /// Whether the browser tier returns the DOM or the raw response as the body. Default: the DOM.
    pub const fn body_source(mut self, source: BodySource) -> Self {
        self.render.body = Some(source);
        self
    }

    /// The resource types that browser pages do not load. Default: none.
    pub fn block(mut self, resources: impl IntoIterator<Item = ResourceKind>) -> Self {
        self.render.block = resources.into_iter().collect();
        self
    }

    /// Whether the browser scrolls to the end of the page before reading it. Default: false.
    pub const fn scroll(mut self, scroll: bool) -> Self {
        self.render.scroll = scroll;
        self
    }

    /// How long the browser waits after the page has settled. It then waits until the page settles again. Default: not.
    pub const fn wait(mut self, time: Duration) -> Self {
        self.render.wait = Some(time);
        self
    }

    /// Whether to read the documents of the page's frames, see [`Response::frames`]. The fetch then starts at the browser
    /// tier. Default: false.
    pub const fn frames(mut self, wanted: bool) -> Self {
        self.render.frames = wanted;
        self
    }

    /// Whether the browser also reads the text that its page shows (`innerText`), which
    /// [`Extractor::text`](crate::extract::Extractor::text) then returns. Default: false.
    pub const fn shown_text(mut self, wanted: bool) -> Self {
        self.render.shown_text = wanted;
        self
    }

    /// Whether to take a screenshot, see [`Response::screenshot`]. The fetch then starts at the browser tier.
    /// Default: false.
    pub const fn screenshot(mut self, wanted: bool) -> Self {
        self.render.screenshot = wanted;
        self
    }

    /// Whether to print the page to PDF, see [`Response::pdf`]. The fetch then starts at the browser tier, which
    /// must be headless. Default: false.
    pub const fn pdf(mut self, wanted: bool) -> Self {
        self.render.pdf = wanted;
        self
    }

    /// What the page must contain. A 200 response without it is a stub, and the fetch escalates. Default: nothing.
    pub fn expect(mut self, expect: Expectation) -> Self {
        self.expectation = Some(expect).filter(|expect| !expect.is_empty());
        self
    }

    /// Whether the HTTP tiers follow a refresh that an HTML page declares. Default: the fetcher's.
    pub const fn meta_refresh(mut self, follow: bool) -> Self {
        self.meta_refresh = Some(follow);
        self
    }

    /// Whether to obey robots.txt. Default: the fetcher's.
    pub const fn robots(mut self, robots: RobotsPolicy) -> Self {
        self.robots = Some(robots);
        self
    }

    /// Whether to obey robots.txt if neither code nor a target sets it.
    pub(crate) const fn default_robots(mut self, robots: RobotsPolicy) -> Self {
        self.default_robots = robots;
        self
    }

    /// The target with this name, whichever URLs it matches. Default: the target that matches the URL.
    pub fn target(mut self, name: impl Into<String>) -> Self {
        self.target = Some(name.into());
        self
    }

    /// Reports the phases and attempts of the fetch to `observer`.
    pub(crate) fn observer(mut self, observer: Arc<dyn FetchObserver>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Whether the response includes the request as sent, see [`Response::sent_request`]. Default: false.
    pub fn capture_request(mut self, wanted: bool) -> Self {
        self.capture = wanted.then(Arc::default);
        self
    }

    /// Captures what is sent and what is refused into `capture`.
    pub(crate) fn capture_into(mut self, capture: Arc<Mutex<Capture>>) -> Self {
        self.capture = Some(capture);
        self
    }

    /// The rate limit of the host. Default: the fetcher's.
    pub const fn rate_limit(mut self, rate_limit: RateLimit) -> Self {
        self.rate_limit = Some(rate_limit);
        self
    }

    /// Streams the body to the file `path`, which appears only when it is complete.
    pub fn save(mut self, path: impl Into<PathBuf>) -> Self {
        self.body_sink = BodySink::File(path.into());
        self
    }

    /// Like [`save`](Self::save), but only for a response with a status below 400. For any other, `path` does not
    /// change and the body is discarded.
    pub fn save_success(mut self, path: impl Into<PathBuf>) -> Self {
        self.body_sink = BodySink::FileOnSuccess(path.into());
        self
    }

    /// Streams the body to a new file in `folder`. Its name is that of `Content-Disposition`, else of the URL, see
    /// [`Response::file`]. It is never a path and never hidden. An existing file is an error. The
    /// body of a response with a status of 400 or more is discarded.
    pub fn save_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.body_sink = BodySink::Folder(folder.into());
        self
    }

    /// Requests the bytes from `offset` on, and appends them to the file `path`. With a header `If-Range`, a response with
    /// the whole file replaces its content; otherwise it is an error. For a status of 400 or more the file does not
    /// change. The browser tier cannot resume, so the fetch ends below.
    pub fn resume(mut self, path: impl Into<PathBuf>, offset: u64) -> Self {
        if offset > 0 {
            self = self.header("range", format!("bytes={offset}-")).header("accept-encoding", "identity");
        }
        self.body_sink = BodySink::Resume { path: path.into(), offset };
        self
    }

    /// Runs the fetch. A response of the site itself is a success, also with status 404.
    ///
    /// # Errors
    /// [`ErrorKind::Blocked`] if every allowed tier is blocked, or if the host asks for a longer delay than the
    /// fetch may wait. [`ErrorKind::Robots`] if robots.txt is obeyed and disallows the URL. Every error contains the
    /// trace of the attempts.
    pub fn send(self) -> impl Future<Output = Result<Response>> + Send {
        let span = span::for_fetch(self.request.as_ref().ok(), self.fetcher.session_name.as_deref());
        // Not wrapped in an `async` block: its future would contain the fetch twice.
        self.execute(span.clone()).inspect(move |outcome| span::record_end(&span, outcome))
    }

    async fn execute(self, span: Span) -> Result<Response> {
        let mut request = self.request?;
        let hsts = self.fetcher.inner.hsts.as_ref();
        if let Some(url) = hsts.and_then(|hsts| hsts.upgrade(&request.url)) {
            request.url = url;
        }
        let started = Instant::now();
        let guard = self.fetcher.inner.in_flight.register(&request.url, self.observer.as_deref());
        let target_plan = match &self.target {
            Some(name) => self.fetcher.inner.plan_named(name)?,
            None => self.fetcher.inner.plan_for(&request.url)?,
        };
        let spec = self.fetcher.client_spec(&target_plan);
        let base = self.fetcher.identities_for(&spec);
        let mut source = self.fetcher.proxy_identity_source(&spec, &request.url, &base);
        let mut render = self.render;
        target_plan.apply_defaults(&mut request, self.has_context, &mut render, self.is_foreign)?;
        request.follows_refresh = self.meta_refresh.unwrap_or(target_plan.meta_refresh);
        let mut policy = self.tier.map_or(target_plan.policy, |tier| target_plan.policy.only_tier(tier));
        if let Some(reason) = http_only_reason(&request, &self.body_sink) {
            policy = limit_to_http(policy, reason)?;
        }
        if let Some(wanted) = render.browser_only_output() {
            if policy.max < Tier::Browser {
                let message =
                    format!("{wanted} needs the browser tier, but this fetch stops at `{}`", policy.max);
                return Err(Error::new(ErrorKind::InvalidRequest, message)
                    .with_hint("allow the browser tier: `--max-tier browser`"));
            }
            policy = policy.only_tier(Tier::Browser);
        }
        let mut limits = target_plan.limits;
        limits.fetch_total = self.timeout.or(limits.fetch_total);
        policy.budget = self.budget.unwrap_or(policy.budget);
        check_budget(&policy)?;
        if let Some(source) = &mut source {
            source.single_address = policy.highest_tier() == Tier::Browser;
        }
        let section = Arc::new(SiteSection::from_url(&request.url));
        let (identities, fallback) = match &source {
            Some(source) => (source.select().map_err(|error| error.with_url(&request.url))?, None),
            None => {
                self.fetcher
                    .select_identity(&target_plan, Arc::clone(&base), &request, &section, &policy)
                    .await
            }
        };
        for identities in [Some(&identities), fallback.as_ref()].into_iter().flatten() {
            target_plan.apply_cookies(identities, &request, self.is_foreign);
        }
        let plan = FetchPlan {
            request: &request,
            site_section: &section,
            limits: &limits,
            policy,
            render: &render,
            body_sink: &self.body_sink,
            expectation: self.expectation.as_ref().or(target_plan.expectation.as_ref()),
            rules: target_plan.rules.as_ref(),
            robots: self.robots.or(target_plan.robots).unwrap_or(self.default_robots),
            rate_limit: self.rate_limit.unwrap_or(target_plan.rate_limit),
            identity_source: source.as_ref().map(|source| source as &dyn IdentitySource),
            observer: Some(&guard),
            capture: self.capture.as_deref(),
        };
        // Boxed: the future of a whole fetch is large, and callers hold many of them.
        let first = FirstIdentities { identities, probe_fallback: fallback };
        let (result, trace) = Box::pin(self.fetcher.inner.router.run(&plan, first)).instrument(span).await;
        match result {
            Ok(result) => {
                let sent =
                    self.capture.and_then(|capture| lock_unpoisoned(&capture).requests.last().cloned());
                let response = Response::new(result, trace, started.elapsed(), sent);
                #[cfg(feature = "extract")]
                let response = response.with_extraction(
                    target_plan.target.extract().cloned(),
                    limits.fetch_total.and_then(|total| started.into_std().checked_add(total)),
                );
                // Chromium's requests do not pass through the HTTP client.
                if let Some(hsts) = hsts.filter(|_| response.tier() == Tier::Browser) {
                    hsts.learn(response.url(), response.headers());
                }
                Ok(response.restrict_links(request.address_rule.restricts_links()))
            }
            Err(error) => Err(error.with_trace(trace)),
        }
    }

    /// Returns the URL. `None` if it is malformed.
    #[must_use]
    pub fn url(&self) -> Option<&Url> {
        self.request.as_ref().ok().map(|request| &request.url)
    }

    /// Applies `change` unless an earlier setter failed. `send` reports the first error.
    fn modify(&mut self, change: impl FnOnce(&mut Request) -> Result<()>) {
        if let Ok(request) = &mut self.request
            && let Err(error) = change(request)
        {
            self.request = Err(error);
        }
    }
}

/// Parses a header of the caller. Rejects headers that are derived from the body.
pub(super) fn parse_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue)> {
    let name = parse_header_name(name)?;
    if matches!(name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING) {
        let message = format!("the header `{name}` is derived from the body and cannot be set");
        return Err(Error::new(ErrorKind::InvalidRequest, message));
    }
    let value = HeaderValue::from_str(value).map_err(|_| {
        let message = format!("the value of the header `{name}` contains a control character");
        Error::new(ErrorKind::InvalidRequest, message)
    })?;
    Ok((name, value))
}

/// Returns why the fetch cannot use the browser tier.
fn http_only_reason(request: &Request, sink: &BodySink) -> Option<&'static str> {
    if request.client_certificate.is_some() {
        return Some("send a client certificate");
    }
    matches!(sink, BodySink::Resume { .. }).then_some("resume a download")
}

/// Limits a fetch to the HTTP tiers, which can do what `reason` names.
fn limit_to_http(policy: EscalationPolicy, reason: &str) -> Result<EscalationPolicy> {
    if policy.min == Tier::Browser {
        let message = format!("the browser tier cannot {reason}");
        return Err(Error::new(ErrorKind::InvalidRequest, message)
            .with_hint("allow the HTTP tiers: `--max-tier impersonate`"));
    }
    let start = policy.start.min(Tier::Impersonate);
    Ok(EscalationPolicy { start, max: policy.max.min(Tier::Impersonate), ..policy })
}

/// Checks that the budget allows at least one attempt.
fn check_budget(policy: &EscalationPolicy) -> Result<()> {
    let message = if policy.budget.attempts == 0 {
        "the budget allows 0 attempts; allow at least 1"
    } else if policy.min > policy.highest_tier() {
        "the budget allows 0 browser visits, but this fetch starts at the browser tier"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidRequest, message))
}

fn parse_header_name(name: &str) -> Result<HeaderName> {
    name.parse().map_err(|_| {
        Error::new(ErrorKind::InvalidRequest, format!("`{}` is not a header name", name.escape_debug()))
    })
}

//! One request on its way: what the caller adds, then `send`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Method, header};
use tokio::time::Instant;
use tracing::{Instrument, Span};
use url::{Origin, Url};

use crate::budget::Budget;
use crate::credentials;
use crate::detect::Expectation;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::memory::SiteSection;
use crate::phase::FetchObserver;
use crate::proxy::{Proxy, ProxyRules};
use crate::rate_limit::{RateLimit, RobotsPolicy};
use crate::render::{BodySource, RenderOptions, ResourceKind};
use crate::request::{Context, Request, parse_url};
use crate::router::{BodySink, EscalationPolicy, FetchPlan, IdentitySource};
use crate::tier::Tier;

use super::{Fetcher, Response, span};

/// A request being put together. Setters cannot fail; [`send`](Self::send) tells what was wrong.
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
    /// Its URL is not one that what the caller and settings for all URLs give is for.
    is_foreign: bool,
    observer: Option<Arc<dyn FetchObserver>>,
    captures_request: bool,
}

impl RequestBuilder {
    pub(super) fn new(fetcher: Fetcher, method: Method, url: &str) -> Self {
        let mut request = parse_url(url).map(|url| Request { method, ..Request::get(url) });
        if request.as_ref().is_ok_and(|request| request.method == Method::CONNECT) {
            request = Err(Error::new(ErrorKind::InvalidRequest, "the method CONNECT fetches nothing"));
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
            captures_request: false,
        }
    }

    /// Adds a header. It takes the place of the tier's own of that name. One that may be a secret (any but those that
    /// negotiate or describe content, such as `Accept-Language`) goes to the URL's origin alone: a redirect to another
    /// origin leaves it out, and so does the rest of that chain of redirects.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let (name, value) = (name.as_ref(), value.as_ref());
        self.modify(|request| {
            request.headers.push(parse_header(name, value)?);
            Ok(())
        });
        self
    }

    /// Leaves out what was added so far and may be a secret, unless the URL's origin is one that `given_for` is true
    /// for; then what no target that matches the URL gives is left out as well. Whether a header was left out.
    pub(crate) fn restricted(mut self, given_for: impl FnOnce(&Origin) -> bool) -> (Self, bool) {
        let Ok(request) = &mut self.request else { return (self, false) };
        let to = request.url.origin();
        self.is_foreign = !given_for(&to);
        let before = request.headers.len();
        request.headers.retain(|(name, _)| credentials::may_send(name, &to, |_| !self.is_foreign));
        let left_out = request.headers.len() < before;
        (self, left_out)
    }

    /// The headers added so far.
    #[cfg(test)]
    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        self.request.as_ref().map(|request| &request.headers[..]).unwrap_or_default()
    }

    /// Takes a header away that the tier would have sent.
    pub fn without_header(mut self, name: impl AsRef<str>) -> Self {
        let name = name.as_ref();
        self.modify(|request| {
            request.removed.push(parse_header_name(name)?);
            Ok(())
        });
        self
    }

    /// Sends a body. A navigation with a body is a form.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        self.modify(|request| {
            request.body = Some(body);
            if request.context == Context::Navigation {
                request.context = Context::Form;
            }
            Ok(())
        });
        self
    }

    /// The browser context it is made in. Default: navigation.
    pub fn context(mut self, context: Context) -> Self {
        self.has_context = true;
        self.modify(|request| {
            request.context = context;
            Ok(())
        });
        self
    }

    /// Goes through this proxy, as the identity that this session has there: an identity has one
    /// exit, so its cookies are not those it has by another way. Default: the fetcher's.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.fetcher = self.fetcher.with_proxy_rules(&ProxyRules::through(proxy));
        self
    }

    /// The deadline of the whole fetch, attempts and waits. Default: the fetcher's.
    pub const fn timeout(mut self, total: Duration) -> Self {
        self.timeout = Some(total);
        self
    }

    /// What this fetch may cost at most. Default: the fetcher's.
    pub const fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// The only tier to use.
    pub const fn tier(mut self, tier: Tier) -> Self {
        self.tier = Some(tier);
        self
    }

    /// In the browser, wait until this CSS selector matches. When nothing does in time, that is an
    /// [`ErrorKind::Timeout`].
    pub fn wait_for(mut self, selector: impl Into<String>) -> Self {
        self.render.wait_for = Some(selector.into());
        self
    }

    /// Which form of a page the browser tier gives as the body. Default: the DOM.
    pub const fn body_source(mut self, form: BodySource) -> Self {
        self.render.body = Some(form);
        self
    }

    /// What a page in the browser does not load. Default: it loads everything.
    pub fn block(mut self, loads: impl IntoIterator<Item = ResourceKind>) -> Self {
        self.render.block = loads.into_iter().collect();
        self
    }

    /// In the browser, go down to the page's end before it is read. Default: false.
    pub const fn scroll(mut self, scroll: bool) -> Self {
        self.render.scroll = scroll;
        self
    }

    /// Take a picture of the page, see [`Page::screenshot`]. The fetch then starts at the browser tier. Default: false.
    pub const fn screenshot(mut self, wanted: bool) -> Self {
        self.render.screenshot = wanted;
        self
    }

    /// Print the page, see [`Page::pdf`]. The fetch then starts at the browser tier, which must be headless.
    /// Default: false.
    pub const fn pdf(mut self, wanted: bool) -> Self {
        self.render.pdf = wanted;
        self
    }

    /// What the page must have: a 200 without it is a stub, and the fetch climbs.
    pub fn expect(mut self, expect: Expectation) -> Self {
        self.expectation = Some(expect).filter(|expect| !expect.is_empty());
        self
    }

    /// What to do about robots.txt. Default: the fetcher's.
    pub const fn robots(mut self, robots: RobotsPolicy) -> Self {
        self.robots = Some(robots);
        self
    }

    /// What to do about robots.txt where nobody has said anything: not in code, not in a target.
    pub(crate) const fn default_robots(mut self, robots: RobotsPolicy) -> Self {
        self.default_robots = robots;
        self
    }

    /// Goes by the target of this name, whatever URLs it is for. Default: the one that is for the URL.
    pub fn target(mut self, name: impl Into<String>) -> Self {
        self.target = Some(name.into());
        self
    }

    /// Tells `watch` how the fetch goes on.
    pub(crate) fn observer(mut self, watch: Arc<dyn FetchObserver>) -> Self {
        self.observer = Some(watch);
        self
    }

    /// Whether the page tells the request that got it, see [`Page::sent`]. Default: false.
    pub const fn capture_request(mut self, wanted: bool) -> Self {
        self.captures_request = wanted;
        self
    }

    /// How fast the host is asked at most. Default: the fetcher's.
    pub const fn rate_limit(mut self, pace: RateLimit) -> Self {
        self.rate_limit = Some(pace);
        self
    }

    /// Streams the body to `path`, which appears only when it is whole.
    pub fn save(mut self, path: impl Into<PathBuf>) -> Self {
        self.body_sink = BodySink::File(path.into());
        self
    }

    /// Like [`save`](Self::save) for an answer with a status below 400. Any other leaves `path` as it
    /// is, and its body is not kept.
    pub fn save_success(mut self, path: impl Into<PathBuf>) -> Self {
        self.body_sink = BodySink::FileOnSuccess(path.into());
        self
    }

    /// Makes the fetch.
    ///
    /// # Errors
    /// A block on every tier allowed is [`ErrorKind::Blocked`], and so is a host that wants to be left
    /// alone for longer than the fetch may wait; what robots.txt forbids, where it is obeyed, is
    /// [`ErrorKind::Robots`]; anything the site itself says, a
    /// 404 too, is a page. Every error carries the trace of what was tried.
    pub fn send(self) -> impl Future<Output = Result<Response>> + Send {
        let span = span::for_fetch(self.request.as_ref().ok(), self.fetcher.session_name.as_deref());
        // Not an `async` block around it: that would hold the fetch twice.
        self.execute(span.clone()).inspect(move |outcome| span::record_end(&span, outcome))
    }

    async fn execute(self, span: Span) -> Result<Response> {
        let mut request = self.request?;
        let started = Instant::now();
        let noted = self.fetcher.inner.in_flight.register(&request.url, self.observer.as_deref());
        let terms = match &self.target {
            Some(name) => self.fetcher.inner.plan_named(name)?,
            None => self.fetcher.inner.plan_for(&request.url)?,
        };
        let look = self.fetcher.client_spec(&terms);
        let base = self.fetcher.identities_for(&look);
        let mut berth = self.fetcher.proxy_identity_source(&look, &request.url, &base);
        let mut view = self.render;
        terms.apply_defaults(&mut request, self.has_context, &mut view, self.is_foreign)?;
        let mut ladder = self.tier.map_or(terms.policy, |tier| terms.policy.only_tier(tier));
        if let Some(wanted) = view.browser_only_output() {
            if ladder.max < Tier::Browser {
                let message =
                    format!("{wanted} needs the browser tier, and this fetch stops at `{}`", ladder.max);
                return Err(Error::new(ErrorKind::InvalidRequest, message)
                    .with_hint("allow it: `--max-tier browser`"));
            }
            ladder = ladder.only_tier(Tier::Browser);
        }
        let mut bounds = terms.limits;
        bounds.fetch_total = self.timeout.or(bounds.fetch_total);
        ladder.budget = self.budget.unwrap_or(ladder.budget);
        check_budget(&ladder)?;
        if let Some(berth) = &mut berth {
            berth.single_address = ladder.highest_tier() == Tier::Browser;
        }
        let area = Arc::new(SiteSection::from_url(&request.url));
        let (persona, instead) = match &berth {
            Some(berth) => (berth.select().map_err(|error| error.with_url(&request.url))?, None),
            None => self.fetcher.select_identity(&terms, Arc::clone(&base), &request, &area, &ladder).await,
        };
        for persona in [Some(&persona), instead.as_ref()].into_iter().flatten() {
            terms.apply_cookies(persona, &request, self.is_foreign);
        }
        let sent = self.captures_request.then(Mutex::default);
        let errand = FetchPlan {
            request: &request,
            site_section: &area,
            identities: &persona,
            limits: &bounds,
            policy: ladder,
            render: &view,
            body_sink: &self.body_sink,
            expectation: self.expectation.as_ref().or(terms.expectation.as_ref()),
            rules: terms.rules.as_ref(),
            robots: self.robots.or(terms.robots).unwrap_or(self.default_robots),
            rate_limit: self.rate_limit.unwrap_or(terms.rate_limit),
            identity_source: berth.as_ref().map(|berth| berth as &dyn IdentitySource),
            observer: Some(&noted),
            sent_request: sent.as_ref(),
            probe_fallback: instead.as_ref(),
        };
        // Boxed: the future of a whole climb is large, and callers hold many.
        let (found, trace) = Box::pin(self.fetcher.inner.router.run(&errand)).instrument(span).await;
        match found {
            Ok(found) => {
                let extract = terms.target.extract().cloned();
                let sent = sent.and_then(|sent| sent.into_inner().unwrap_or_else(PoisonError::into_inner));
                Ok(Response::new(found, trace, started.elapsed(), extract, sent))
            }
            Err(error) => Err(error.with_trace(trace)),
        }
    }

    /// The URL, when it could be read.
    #[must_use]
    pub fn url(&self) -> Option<&Url> {
        self.request.as_ref().ok().map(|request| &request.url)
    }

    /// Applies `change` unless something was wrong before; the first mistake is the one told.
    fn modify(&mut self, change: impl FnOnce(&mut Request) -> Result<()>) {
        if let Ok(request) = &mut self.request
            && let Err(error) = change(request)
        {
            self.request = Err(error);
        }
    }
}

/// One header of the caller's.
pub(super) fn parse_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue)> {
    let name = parse_header_name(name)?;
    if matches!(name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING) {
        let message = format!("the header `{name}` follows from the body and cannot be set");
        return Err(Error::new(ErrorKind::InvalidRequest, message));
    }
    let value = HeaderValue::from_str(value).map_err(|_| {
        let message = format!("the value of the header `{name}` holds a control character");
        Error::new(ErrorKind::InvalidRequest, message)
    })?;
    Ok((name, value))
}

/// Whether the budget allows any attempt at all.
fn check_budget(ladder: &EscalationPolicy) -> Result<()> {
    let message = if ladder.budget.attempts == 0 {
        "a budget of no attempts fetches nothing"
    } else if ladder.min > ladder.highest_tier() {
        "a budget of no browser visits, and this fetch starts at the browser tier"
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

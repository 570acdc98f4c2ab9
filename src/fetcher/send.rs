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
use crate::detect::Expect;
use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::memory::Area;
use crate::politeness::{Pace, Robots};
use crate::proxy::{Proxy, Route};
use crate::request::{Context, Request, parse_url};
use crate::router::{Errand, Keep, Ladder, Others};
use crate::stage::Watch;
use crate::tier::Tier;
use crate::view::{BodyForm, Load, View};

use super::{Fetcher, Page, span};

/// A request being put together. Setters cannot fail; [`send`](Self::send) tells what was wrong.
#[must_use = "nothing is sent before `send`"]
pub struct RequestBuilder {
    fetcher: Fetcher,
    request: Result<Request>,
    has_context: bool,
    timeout: Option<Duration>,
    tier: Option<Tier>,
    budget: Option<Budget>,
    view: View,
    keep: Keep,
    expect: Option<Expect>,
    robots: Option<Robots>,
    otherwise: Robots,
    pace: Option<Pace>,
    target: Option<String>,
    /// Its URL is not one that what the caller and settings for all URLs give is for.
    is_foreign: bool,
    watch: Option<Arc<dyn Watch>>,
    tells_sent: bool,
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
            view: View::default(),
            keep: Keep::Memory,
            expect: None,
            robots: None,
            otherwise: Robots::default(),
            pace: None,
            target: None,
            is_foreign: false,
            watch: None,
            tells_sent: false,
        }
    }

    /// Adds a header. It takes the place of the tier's own of that name. One that may be a secret (any but those that
    /// negotiate or describe content, such as `Accept-Language`) goes to the URL's origin alone: a redirect to another
    /// origin leaves it out, and so does the rest of that chain of redirects.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let (name, value) = (name.as_ref(), value.as_ref());
        self.change(|request| {
            request.headers.push(field(name, value)?);
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
        self.change(|request| {
            request.removed.push(header_name(name)?);
            Ok(())
        });
        self
    }

    /// Sends a body. A navigation with a body is a form.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        self.change(|request| {
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
        self.change(|request| {
            request.context = context;
            Ok(())
        });
        self
    }

    /// Goes through this proxy, as the identity that this session has there: an identity has one
    /// exit, so its cookies are not those it has by another way. Default: the fetcher's.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.fetcher = self.fetcher.by_route(&Route::through(proxy));
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
        self.view.wait_for = Some(selector.into());
        self
    }

    /// Which form of a page the browser tier gives as the body. Default: the DOM.
    pub const fn body_form(mut self, form: BodyForm) -> Self {
        self.view.body = Some(form);
        self
    }

    /// What a page in the browser does not load. Default: it loads everything.
    pub fn block(mut self, loads: impl IntoIterator<Item = Load>) -> Self {
        self.view.block = loads.into_iter().collect();
        self
    }

    /// In the browser, go down to the page's end before it is read. Default: false.
    pub const fn scroll(mut self, scroll: bool) -> Self {
        self.view.scroll = scroll;
        self
    }

    /// Take a picture of the page, see [`Page::screenshot`]. The fetch then starts at the browser tier. Default: false.
    pub const fn screenshot(mut self, wanted: bool) -> Self {
        self.view.screenshot = wanted;
        self
    }

    /// Print the page, see [`Page::pdf`]. The fetch then starts at the browser tier, which must be headless.
    /// Default: false.
    pub const fn pdf(mut self, wanted: bool) -> Self {
        self.view.pdf = wanted;
        self
    }

    /// What the page must have: a 200 without it is a stub, and the fetch climbs.
    pub fn expect(mut self, expect: Expect) -> Self {
        self.expect = Some(expect).filter(|expect| !expect.is_empty());
        self
    }

    /// What to do about robots.txt. Default: the fetcher's.
    pub const fn robots(mut self, robots: Robots) -> Self {
        self.robots = Some(robots);
        self
    }

    /// What to do about robots.txt where nobody has said anything: not in code, not in a target.
    pub(crate) const fn robots_otherwise(mut self, robots: Robots) -> Self {
        self.otherwise = robots;
        self
    }

    /// Goes by the target of this name, whatever URLs it is for. Default: the one that is for the URL.
    pub fn target(mut self, name: impl Into<String>) -> Self {
        self.target = Some(name.into());
        self
    }

    /// Tells `watch` how the fetch goes on.
    pub(crate) fn watch(mut self, watch: Arc<dyn Watch>) -> Self {
        self.watch = Some(watch);
        self
    }

    /// Whether the page tells the request that got it, see [`Page::sent`]. Default: false.
    pub const fn tell_sent(mut self, wanted: bool) -> Self {
        self.tells_sent = wanted;
        self
    }

    /// How fast the host is asked at most. Default: the fetcher's.
    pub const fn pace(mut self, pace: Pace) -> Self {
        self.pace = Some(pace);
        self
    }

    /// Streams the body to `path`, which appears only when it is whole.
    pub fn save(mut self, path: impl Into<PathBuf>) -> Self {
        self.keep = Keep::File(path.into());
        self
    }

    /// Like [`save`](Self::save) for an answer with a status below 400. Any other leaves `path` as it
    /// is, and its body is not kept.
    pub fn save_success(mut self, path: impl Into<PathBuf>) -> Self {
        self.keep = Keep::Success(path.into());
        self
    }

    /// Makes the fetch.
    ///
    /// # Errors
    /// A block on every tier allowed is [`ErrorKind::Blocked`], and so is a host that wants to be left
    /// alone for longer than the fetch may wait; what robots.txt forbids, where it is obeyed, is
    /// [`ErrorKind::Robots`]; anything the site itself says, a
    /// 404 too, is a page. Every error carries the trace of what was tried.
    pub fn send(self) -> impl Future<Output = Result<Page>> + Send {
        let span = span::of(self.request.as_ref().ok(), self.fetcher.name.as_deref());
        // Not an `async` block around it: that would hold the fetch twice.
        self.made(span.clone()).inspect(move |outcome| span::ended(&span, outcome))
    }

    async fn made(self, span: Span) -> Result<Page> {
        let mut request = self.request?;
        let started = Instant::now();
        let noted = self.fetcher.shared.underway.begin(&request.url, self.watch.as_deref());
        let terms = match &self.target {
            Some(name) => self.fetcher.shared.terms_named(name)?,
            None => self.fetcher.shared.terms(&request.url)?,
        };
        let look = self.fetcher.look_on(&terms);
        let base = self.fetcher.persona_as(&look);
        let mut berth = self.fetcher.berth(&look, &request.url, &base);
        let mut view = self.view;
        terms.fill(&mut request, self.has_context, &mut view, self.is_foreign)?;
        let mut ladder = self.tier.map_or(terms.ladder, |tier| terms.ladder.only(tier));
        if let Some(wanted) = view.needs_browser() {
            if ladder.max < Tier::Browser {
                let message =
                    format!("{wanted} needs the browser tier, and this fetch stops at `{}`", ladder.max);
                return Err(Error::new(ErrorKind::InvalidRequest, message)
                    .with_hint("allow it: `--max-tier browser`"));
            }
            ladder = ladder.only(Tier::Browser);
        }
        let mut bounds = terms.bounds;
        bounds.fetch_total = self.timeout.or(bounds.fetch_total);
        ladder.budget = self.budget.unwrap_or(ladder.budget);
        affordable(&ladder)?;
        if let Some(berth) = &mut berth {
            berth.together = ladder.top() == Tier::Browser;
        }
        let area = Arc::new(Area::of(&request.url));
        let (persona, instead) = match &berth {
            Some(berth) => (berth.persona().map_err(|error| error.with_url(&request.url))?, None),
            None => self.fetcher.dressed(&terms, Arc::clone(&base), &request, &area, &ladder).await,
        };
        for persona in [Some(&persona), instead.as_ref()].into_iter().flatten() {
            terms.lend(persona, &request, self.is_foreign);
        }
        let sent = self.tells_sent.then(Mutex::default);
        let errand = Errand {
            request: &request,
            area: &area,
            persona: &persona,
            bounds: &bounds,
            ladder,
            view: &view,
            keep: &self.keep,
            expect: self.expect.as_ref().or(terms.expect.as_ref()),
            rules: terms.rules.as_ref(),
            robots: self.robots.or(terms.robots).unwrap_or(self.otherwise),
            pace: self.pace.unwrap_or(terms.pace),
            others: berth.as_ref().map(|berth| berth as &dyn Others),
            watch: Some(&noted),
            sent: sent.as_ref(),
            instead: instead.as_ref(),
        };
        // Boxed: the future of a whole climb is large, and callers hold many.
        let (found, trace) = Box::pin(self.fetcher.shared.router.run(&errand)).instrument(span).await;
        match found {
            Ok(found) => {
                let extract = terms.resolved.extract().cloned();
                let sent = sent.and_then(|sent| sent.into_inner().unwrap_or_else(PoisonError::into_inner));
                Ok(Page::new(found, trace, started.elapsed(), extract, sent))
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
    fn change(&mut self, change: impl FnOnce(&mut Request) -> Result<()>) {
        if let Ok(request) = &mut self.request
            && let Err(error) = change(request)
        {
            self.request = Err(error);
        }
    }
}

/// One header of the caller's.
pub(super) fn field(name: &str, value: &str) -> Result<(HeaderName, HeaderValue)> {
    let name = header_name(name)?;
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
fn affordable(ladder: &Ladder) -> Result<()> {
    let message = if ladder.budget.attempts == 0 {
        "a budget of no attempts fetches nothing"
    } else if ladder.min > ladder.top() {
        "a budget of no browser visits, and this fetch starts at the browser tier"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidRequest, message))
}

fn header_name(name: &str) -> Result<HeaderName> {
    name.parse().map_err(|_| {
        Error::new(ErrorKind::InvalidRequest, format!("`{}` is not a header name", name.escape_debug()))
    })
}

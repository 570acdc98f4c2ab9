//! robots.txt (RFC 9309): asked for by the honest client alone, kept a while, one request at a time.

mod known;
mod rules;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use futures_util::StreamExt;
use http::header;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span};
use url::Url;

use crate::bounds::Bounds;
use crate::error::{Error, Result};
use crate::fingerprint::Profile;
use crate::identity::Identity;
use crate::kind::ErrorKind;
use crate::lock::lock;
use crate::net::{Call, Engine, Gate};
use crate::proxy::Route;
use crate::redact;
use crate::request::Request;
use crate::response::Body;
use crate::retry_after;

pub use rules::Rules;

pub(crate) use known::Known;

/// The robots.txt of every origin that was asked.
pub(crate) struct Files {
    engine: Arc<Engine>,
    plain: Arc<Profile>,
    /// Who asks, one a route: connections of its own, shared with no session.
    askers: Mutex<HashMap<Route, Arc<Identity>>>,
    /// By the file's URL.
    origins: Mutex<HashMap<String, Arc<File>>>,
}

/// One origin's. Locked while it is asked for, so that nobody asks twice.
type File = tokio::sync::Mutex<Option<Kept>>;

#[derive(Clone)]
struct Kept {
    known: Arc<Known>,
    /// When rules were last heard; the file may be used a day from then when it cannot be had anew.
    heard: Instant,
    until: Instant,
}

/// What is known, and what was heard just now.
pub(crate) struct Found {
    pub(crate) known: Arc<Known>,
    /// The URL of the file.
    pub(crate) url: Url,
    /// The site was asked just now, and wants to be left alone for so long: who said so.
    pub(crate) rest: Option<(Url, Duration)>,
}

/// What one request brought.
struct Heard {
    known: Known,
    lasts: Duration,
    rest: Option<(Url, Duration)>,
}

impl Files {
    pub(crate) fn new(engine: Arc<Engine>, plain: Arc<Profile>) -> Self {
        Self { engine, plain, askers: Mutex::default(), origins: Mutex::default() }
    }

    /// What the robots.txt of `url`'s origin says. Asks for it by `route` when it is not known, within
    /// `bounds`, and goes through `gate` before each request.
    ///
    /// # Errors
    /// What the gate says, and a proxy's or the caller's own faults. A site's fault is
    /// [`Known::Unreachable`].
    pub(crate) async fn of(
        &self,
        url: &Url,
        route: &Route,
        bounds: &Bounds,
        gate: &dyn Gate,
    ) -> Result<Found> {
        let at = robotxt::robots_url(url).map_err(|cause| {
            Error::new(ErrorKind::InvalidUrl, "the URL has no robots.txt").with_source(cause)
        })?;
        let file = self.file(&at);
        let mut kept = file.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| Instant::now() < kept.until) {
            return Ok(Found { known: Arc::clone(&kept.known), url: at, rest: None });
        }
        gate.pass(&at).await?;
        let heard = self.ask(&at, route, bounds, gate).await?;
        let now = Instant::now();
        let fresh = match (&heard.known, &*kept) {
            // What it said yesterday is better than nothing.
            (Known::Unreachable(why), Some(old))
                if matches!(*old.known, Known::Rules(_)) && now < old.heard + known::LONGEST =>
            {
                tracing::info!(url = %at, why, "the robots.txt heard before still holds");
                Kept { until: now + heard.lasts, ..old.clone() }
            }
            _ => Kept { known: Arc::new(heard.known), heard: now, until: now + heard.lasts },
        };
        let known = Arc::clone(&fresh.known);
        *kept = Some(fresh);
        Ok(Found { known, url: at, rest: heard.rest })
    }

    async fn ask(&self, at: &Url, route: &Route, bounds: &Bounds, gate: &dyn Gate) -> Result<Heard> {
        let mut request = Request::get(at.clone());
        request.removed.push(header::COOKIE);
        let bounds = Bounds {
            http_total: bounds.http_total.min(TOTAL),
            first_byte: bounds.first_byte.min(TOTAL),
            // The end of a larger one is not read.
            max_body: u64::MAX,
            max_redirects: REDIRECTS,
            ..*bounds
        };
        let identity = self.asker(route);
        let call = Call {
            request: &request,
            identity: &identity,
            bounds: &bounds,
            streaming: false,
            gate: Some(gate),
        };
        let span = info_span!(
            "robots",
            otel.kind = "client",
            http.request.method = "GET",
            url.full = redact::bare(at),
            server.address = at.host_str(),
            server.port = at.port_or_known_default().map(i64::from),
            http.response.status_code = Empty,
        );
        let hearing = async {
            let answer = self.engine.fetch(call).await?;
            let lasts = known::lifetime(&answer.headers);
            let wait = retry_after::asked(answer.status, &answer.headers, SystemTime::now());
            let known = Known::answered(answer.status, &beginning(answer.body).await?);
            Span::current().record("http.response.status_code", i64::from(answer.status.as_u16()));
            tracing::info!(url = %at, status = answer.status.as_u16(), "robots.txt");
            Ok((known, lasts, wait.map(|wait| (answer.url, wait))))
        };
        let (known, lasts, rest) = match hearing.instrument(span).await {
            Ok(heard) => heard,
            Err(error) => (Known::failed(error)?, known::SHORTEST, None),
        };
        let lasts = if matches!(known, Known::Unreachable(_)) { known::SHORTEST } else { lasts };
        Ok(Heard { known, lasts, rest })
    }

    /// The time between two requests that the robots.txt of `url`'s origin asks for, where it is known.
    pub(crate) fn crawl_delay(&self, url: &Url) -> Duration {
        let files = lock(&self.origins);
        if files.is_empty() {
            return Duration::ZERO;
        }
        let file = robotxt::robots_url(url).ok().and_then(|at| files.get(at.as_str()).map(Arc::clone));
        drop(files);
        let kept = file.as_ref().and_then(|file| file.try_lock().ok());
        kept.and_then(|kept| kept.as_ref().map(|kept| kept.known.crawl_delay())).unwrap_or_default()
    }

    fn asker(&self, route: &Route) -> Arc<Identity> {
        let mut askers = lock(&self.askers);
        if askers.len() >= MAX_ASKERS && !askers.contains_key(route) {
            askers.clear();
        }
        let new = || {
            let identity = Identity::new("robots", Arc::clone(&self.plain), None);
            Arc::new(identity.routed(route.clone()))
        };
        Arc::clone(askers.entry(route.clone()).or_insert_with(new))
    }

    fn file(&self, at: &Url) -> Arc<File> {
        let mut files = lock(&self.origins);
        if files.len() >= MAX_FILES && !files.contains_key(at.as_str()) {
            // Half of those that nobody is asking for.
            let mut keep = false;
            files.retain(|_, file| {
                keep = !keep;
                keep || Arc::strong_count(file) > 1
            });
        }
        Arc::clone(files.entry(at.as_str().to_owned()).or_default())
    }
}

/// As much of a body as is read of a robots.txt, and a little more, so that a line cut off is seen as such.
async fn beginning(body: Body) -> Result<BytesMut> {
    let mut bytes = BytesMut::new();
    match body {
        Body::Whole(whole) => bytes.extend_from_slice(&whole),
        Body::Coming(mut stream) => {
            while bytes.len() <= robotxt::BYTE_LIMIT
                && let Some(chunk) = stream.next().await
            {
                bytes.extend_from_slice(&chunk?);
            }
        }
    }
    Ok(bytes)
}

/// How long a site may take over its robots.txt, redirects and all.
const TOTAL: Duration = Duration::from_secs(15);
/// At least five (RFC 9309, section 2.3.1.2).
const REDIRECTS: u32 = 5;
/// A file is at most 500 KiB, nearly all of them a few.
const MAX_FILES: usize = 1_000;
const MAX_ASKERS: usize = 1_000;

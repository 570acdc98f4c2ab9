//! robots.txt (RFC 9309): asked for by the honest client alone, kept a while, one request at a time.

mod entry;
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

use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::fingerprint::Profile;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::net::{ClientRequest, HttpClient, RequestHooks};
use crate::proxy::ProxyRules;
use crate::redact;
use crate::request::Request;
use crate::response::Body;
use crate::retry_after;
use crate::sync::lock_unpoisoned;

pub use rules::Rules;

pub(crate) use entry::RobotsEntry;

/// The robots.txt of every origin that was asked.
pub(crate) struct RobotsCache {
    client: Arc<HttpClient>,
    plain: Arc<Profile>,
    /// Who asks, one a route: connections of its own, shared with no session.
    identities: Mutex<HashMap<ProxyRules, Arc<Identity>>>,
    /// By the file's URL.
    origins: Mutex<HashMap<String, Arc<CacheSlot>>>,
}

/// One origin's. Locked while it is asked for, so that nobody asks twice.
type CacheSlot = tokio::sync::Mutex<Option<CachedRobots>>;

#[derive(Clone)]
struct CachedRobots {
    entry: Arc<RobotsEntry>,
    /// When rules were last heard; the file may be used a day from then when it cannot be had anew.
    fetched_at: Instant,
    expires_at: Instant,
}

/// What is known, and what was heard just now.
pub(crate) struct RobotsLookup {
    pub(crate) entry: Arc<RobotsEntry>,
    /// The URL of the file.
    pub(crate) url: Url,
    /// The site was asked just now, and wants to be left alone for so long: who said so.
    pub(crate) retry_after: Option<(Url, Duration)>,
}

/// What one request brought.
struct RobotsResponse {
    entry: RobotsEntry,
    lifetime: Duration,
    retry_after: Option<(Url, Duration)>,
}

impl RobotsCache {
    pub(crate) fn new(client: Arc<HttpClient>, plain: Arc<Profile>) -> Self {
        Self { client, plain, identities: Mutex::default(), origins: Mutex::default() }
    }

    /// What the robots.txt of `url`'s origin says. Asks for it by `route` when it is not known, within
    /// `bounds`, and goes through `gate` before each request.
    ///
    /// # Errors
    /// What the gate says, and a proxy's or the caller's own faults. A site's fault is
    /// [`Known::Unreachable`].
    pub(crate) async fn lookup(
        &self,
        url: &Url,
        route: &ProxyRules,
        limits: &Limits,
        hooks: &dyn RequestHooks,
    ) -> Result<RobotsLookup> {
        let at = robotxt::robots_url(url).map_err(|cause| {
            Error::new(ErrorKind::InvalidUrl, "the URL has no robots.txt").with_source(cause)
        })?;
        let file = self.slot(&at);
        let mut kept = file.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| Instant::now() < kept.expires_at) {
            return Ok(RobotsLookup { entry: Arc::clone(&kept.entry), url: at, retry_after: None });
        }
        hooks.before_request(&at).await?;
        let heard = self.fetch(&at, route, limits, hooks).await?;
        let now = Instant::now();
        let fresh = match (&heard.entry, &*kept) {
            // What it said yesterday is better than nothing.
            (RobotsEntry::Unreachable(why), Some(old))
                if matches!(*old.entry, RobotsEntry::Rules(_))
                    && now < old.fetched_at + entry::MAX_LIFETIME =>
            {
                tracing::info!(url = %at, why, "the robots.txt heard before still holds");
                CachedRobots { expires_at: now + heard.lifetime, ..old.clone() }
            }
            _ => CachedRobots {
                entry: Arc::new(heard.entry),
                fetched_at: now,
                expires_at: now + heard.lifetime,
            },
        };
        let known = Arc::clone(&fresh.entry);
        *kept = Some(fresh);
        Ok(RobotsLookup { entry: known, url: at, retry_after: heard.retry_after })
    }

    async fn fetch(
        &self,
        at: &Url,
        route: &ProxyRules,
        bounds: &Limits,
        gate: &dyn RequestHooks,
    ) -> Result<RobotsResponse> {
        let mut request = Request::get(at.clone());
        request.removed.push(header::COOKIE);
        let bounds = Limits {
            http_total: bounds.http_total.min(MAX_TIME),
            first_byte: bounds.first_byte.min(MAX_TIME),
            // The end of a larger one is not read.
            max_body: u64::MAX,
            max_redirects: MAX_REDIRECTS,
            ..*bounds
        };
        let identity = self.identity_for(route);
        let call = ClientRequest {
            request: &request,
            identity: &identity,
            limits: &bounds,
            streaming: false,
            hooks: Some(gate),
        };
        let span = info_span!(
            "robots",
            otel.kind = "client",
            http.request.method = "GET",
            url.full = redact::without_credentials_and_query(at),
            server.address = at.host_str(),
            server.port = at.port_or_known_default().map(i64::from),
            http.response.status_code = Empty,
        );
        let hearing = async {
            let answer = self.client.execute(call).await?;
            let lasts = entry::lifetime(&answer.headers);
            let wait = retry_after::requested_delay(answer.status, &answer.headers, SystemTime::now());
            let known = RobotsEntry::from_response(answer.status, &read_start(answer.body).await?);
            Span::current().record("http.response.status_code", i64::from(answer.status.as_u16()));
            tracing::info!(url = %at, status = answer.status.as_u16(), "robots.txt");
            Ok((known, lasts, wait.map(|wait| (answer.url, wait))))
        };
        let (known, lasts, rest) = match hearing.instrument(span).await {
            Ok(heard) => heard,
            Err(error) => (RobotsEntry::from_error(error)?, entry::MIN_LIFETIME, None),
        };
        let lasts = if matches!(known, RobotsEntry::Unreachable(_)) { entry::MIN_LIFETIME } else { lasts };
        Ok(RobotsResponse { entry: known, lifetime: lasts, retry_after: rest })
    }

    /// The time between two requests that the robots.txt of `url`'s origin asks for, where it is known.
    pub(crate) fn crawl_delay(&self, url: &Url) -> Duration {
        let files = lock_unpoisoned(&self.origins);
        if files.is_empty() {
            return Duration::ZERO;
        }
        let file = robotxt::robots_url(url).ok().and_then(|at| files.get(at.as_str()).map(Arc::clone));
        drop(files);
        let kept = file.as_ref().and_then(|file| file.try_lock().ok());
        kept.and_then(|kept| kept.as_ref().map(|kept| kept.entry.crawl_delay())).unwrap_or_default()
    }

    fn identity_for(&self, route: &ProxyRules) -> Arc<Identity> {
        let mut askers = lock_unpoisoned(&self.identities);
        if askers.len() >= MAX_IDENTITIES && !askers.contains_key(route) {
            askers.clear();
        }
        let new = || {
            let identity = Identity::new("robots", Arc::clone(&self.plain), None);
            Arc::new(identity.with_proxy_rules(route.clone()))
        };
        Arc::clone(askers.entry(route.clone()).or_insert_with(new))
    }

    fn slot(&self, at: &Url) -> Arc<CacheSlot> {
        let mut files = lock_unpoisoned(&self.origins);
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
async fn read_start(body: Body) -> Result<BytesMut> {
    let mut bytes = BytesMut::new();
    match body {
        Body::Buffered(whole) => bytes.extend_from_slice(&whole),
        Body::Streaming(mut stream) => {
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
const MAX_TIME: Duration = Duration::from_secs(15);
/// At least five (RFC 9309, section 2.3.1.2).
const MAX_REDIRECTS: u32 = 5;
/// A file is at most 500 KiB, nearly all of them a few.
const MAX_FILES: usize = 1_000;
const MAX_IDENTITIES: usize = 1_000;

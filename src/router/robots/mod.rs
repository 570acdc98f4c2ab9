//! robots.txt (RFC 9309): requested with the plain profile only, cached, one request at a time per origin.

mod entry;
mod parse;
mod pattern;
mod rules;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::header;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span};
use url::Url;

use crate::exchange::address_rule::AddressRule;
use crate::exchange::credentials::strip_fragment_and_credentials;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::Request;
use crate::fingerprint::Profile;
use crate::identity::Identity;
use crate::net::{AttemptRequest, HttpClient, RequestHooks, is_private_address_error};
use crate::os::sync::lock_unpoisoned;
use crate::proxy::ProxyRules;
use crate::settings::limits::Limits;
use crate::settings::render::RenderOptions;
use crate::settings::retry_after;
use crate::text::redact;

pub use rules::Rules;

pub(crate) use entry::RobotsEntry;

/// The robots.txt of every origin requested so far.
pub(crate) struct RobotsCache {
    client: Arc<HttpClient>,
    plain: Arc<Profile>,
    /// The requesting identity per proxy rules. Its connections are not shared with any session.
    identities: Mutex<HashMap<ProxyRules, Arc<Identity>>>,
    /// The entries by the file's URL.
    origins: Mutex<HashMap<String, Arc<CacheSlot>>>,
}

/// The entry of one origin. Locked while it is fetched, so that it is fetched once.
type CacheSlot = tokio::sync::Mutex<Option<CachedRobots>>;

#[derive(Clone)]
struct CachedRobots {
    entry: Arc<RobotsEntry>,
    /// When the rules were last fetched. They may be used for a day while the file cannot be fetched again.
    fetched_at: Instant,
    expires_at: Instant,
}

/// The result of a lookup.
pub(crate) struct RobotsLookup {
    pub(crate) entry: Arc<RobotsEntry>,
    /// The URL of the file.
    pub(crate) url: Url,
    /// The delay that the site requested in response to this lookup, with the URL that requested it.
    pub(crate) retry_after: Option<(Url, Duration)>,
}

/// The result of one request.
struct RobotsResponse {
    entry: RobotsEntry,
    lifetime: Duration,
    retry_after: Option<(Url, Duration)>,
}

impl RobotsCache {
    pub(crate) fn new(client: Arc<HttpClient>, plain: Arc<Profile>) -> Self {
        Self { client, plain, identities: Mutex::default(), origins: Mutex::default() }
    }

    /// Returns the robots.txt of `url`'s origin. Fetches it through `route`, within `limits` and under `rule`, when it
    /// is not cached. Calls `hooks` before each request.
    ///
    /// # Errors
    /// The errors of `hooks`, of the proxy, and of the caller's settings, and an address of the origin that `rule`
    /// forbids. A failure of the site is [`RobotsEntry::Unreachable`].
    pub(crate) async fn lookup(
        &self,
        url: &Url,
        route: &ProxyRules,
        limits: &Limits,
        rule: Arc<AddressRule>,
        hooks: &dyn RequestHooks,
    ) -> Result<RobotsLookup> {
        let file_url = robots_url(url).ok_or_else(|| {
            Error::new(ErrorKind::InvalidUrl, "no robots.txt URL can be derived from the URL")
        })?;
        let slot = self.slot(&file_url);
        let mut cached = slot.lock().await;
        if let Some(cached) = cached.as_ref().filter(|cached| Instant::now() < cached.expires_at) {
            return Ok(RobotsLookup { entry: Arc::clone(&cached.entry), url: file_url, retry_after: None });
        }
        hooks.before_request(&file_url).await?;
        let request = Request { address_rule: rule, ..Request::get(file_url.clone()) };
        let fetched = self.fetch(request, route, limits, hooks).await?;
        let now = Instant::now();
        let fresh = match (&fetched.entry, &*cached) {
            // The previous rules are better than treating the whole site as disallowed.
            (RobotsEntry::Unreachable(why), Some(old))
                if matches!(*old.entry, RobotsEntry::Rules(_))
                    && now < old.fetched_at + entry::MAX_LIFETIME =>
            {
                tracing::info!(url = %file_url, why, "robots.txt could not be fetched, using the previous one");
                CachedRobots { expires_at: now + fetched.lifetime, ..old.clone() }
            }
            _ => CachedRobots {
                entry: Arc::new(fetched.entry),
                fetched_at: now,
                expires_at: now + fetched.lifetime,
            },
        };
        let entry = Arc::clone(&fresh.entry);
        *cached = Some(fresh);
        Ok(RobotsLookup { entry, url: file_url, retry_after: fetched.retry_after })
    }

    async fn fetch(
        &self,
        mut request: Request,
        route: &ProxyRules,
        limits: &Limits,
        hooks: &dyn RequestHooks,
    ) -> Result<RobotsResponse> {
        let file_url = request.url.clone();
        request.removed.push(header::COOKIE);
        let limits = Limits {
            http_total: limits.http_total.min(MAX_TIME),
            first_byte: limits.first_byte.min(MAX_TIME),
            // Slightly more than is parsed, so that a truncated line is recognized.
            max_body: u64::MAX,
            max_redirects: MAX_REDIRECTS,
            ..*limits
        };
        let identity = self.identity_for(route);
        let call = AttemptRequest {
            request: &request,
            identity: &identity,
            limits: &limits,
            render: RenderOptions::NONE,
            streaming: false,
            hooks: Some(hooks),
        };
        let span = info_span!(
            "robots",
            otel.kind = "client",
            http.request.method = "GET",
            url.full = redact::without_credentials_and_query(&file_url),
            server.address = file_url.host_str(),
            server.port = file_url.port_or_known_default().map(i64::from),
            http.response.status_code = Empty,
        );
        let request_future = async {
            let response = self.client.execute(call).await?;
            let lifetime = entry::lifetime(&response.headers);
            let wait = retry_after::requested_delay(response.status, &response.headers, SystemTime::now());
            let entry = RobotsEntry::from_response(
                response.status,
                &response.body.read_start(parse::BYTE_LIMIT).await?,
            );
            Span::current().record("http.response.status_code", i64::from(response.status.as_u16()));
            tracing::info!(url = %file_url, status = response.status.as_u16(), "robots.txt");
            Ok((entry, lifetime, wait.map(|wait| (response.url, wait))))
        };
        let (entry, lifetime, retry_after) = match request_future.instrument(span).await {
            Ok(result) => result,
            // The whole origin is private. This is not stored: another fetch may read the file.
            Err(error) if is_private_address_error(&error) && !error.was_sent() => return Err(error),
            Err(error) => (RobotsEntry::from_error(error)?, entry::MIN_LIFETIME, None),
        };
        let lifetime =
            if matches!(entry, RobotsEntry::Unreachable(_)) { entry::MIN_LIFETIME } else { lifetime };
        Ok(RobotsResponse { entry, lifetime, retry_after })
    }

    /// The `Crawl-delay` of the robots.txt of `url`'s origin, if it is cached.
    pub(crate) fn crawl_delay(&self, url: &Url) -> Duration {
        let origins = lock_unpoisoned(&self.origins);
        if origins.is_empty() {
            return Duration::ZERO;
        }
        let slot = robots_url(url).and_then(|file_url| origins.get(file_url.as_str()).map(Arc::clone));
        drop(origins);
        let cached = slot.as_ref().and_then(|slot| slot.try_lock().ok());
        cached.and_then(|cached| cached.as_ref().map(|cached| cached.entry.crawl_delay())).unwrap_or_default()
    }

    fn identity_for(&self, route: &ProxyRules) -> Arc<Identity> {
        let mut identities = lock_unpoisoned(&self.identities);
        if identities.len() >= MAX_IDENTITIES && !identities.contains_key(route) {
            identities.clear();
        }
        let new = || {
            let identity = Identity::new("robots", Arc::clone(&self.plain), None);
            Arc::new(identity.with_proxy_rules(route.clone()))
        };
        Arc::clone(identities.entry(route.clone()).or_insert_with(new))
    }

    fn slot(&self, file_url: &Url) -> Arc<CacheSlot> {
        let mut origins = lock_unpoisoned(&self.origins);
        if origins.len() >= MAX_FILES && !origins.contains_key(file_url.as_str()) {
            // Drop half of the entries that are not being fetched.
            let mut keep = false;
            origins.retain(|_, slot| {
                keep = !keep;
                keep || Arc::strong_count(slot) > 1
            });
        }
        Arc::clone(origins.entry(file_url.as_str().to_owned()).or_default())
    }
}

/// Returns the URL of the robots.txt of `url`'s origin.
fn robots_url(url: &Url) -> Option<Url> {
    if !url.has_host() {
        return None;
    }
    let mut file_url = url.join("/robots.txt").ok()?;
    strip_fragment_and_credentials(&mut file_url);
    Some(file_url)
}

/// The time limit for one robots.txt, including redirects.
const MAX_TIME: Duration = Duration::from_secs(15);
/// RFC 9309, section 2.3.1.2, requires at least five.
const MAX_REDIRECTS: u32 = 5;
/// A file has at most 500 KiB; most have a few KiB.
const MAX_FILES: usize = 1_000;
const MAX_IDENTITIES: usize = 1_000;

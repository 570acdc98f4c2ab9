//! Politeness towards the hosts of an attempt's redirects: robots.txt and the host limiter.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};
use url::Url;

use super::classify::classify;
use super::identities::IdentityPair;
use super::plan::FetchPlan;
use super::services::Router;
use super::state::FetchState;
use crate::detect::ResponseView;
use crate::exchange::address_rule::AddressRule;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::phase::FetchPhase;
use crate::exchange::response::{Capture, SentRequest};
use crate::exchange::robots_policy::RobotsPolicy;
use crate::exchange::tier::Tier;
use crate::net::{RequestHooks, ResponseHead};
use crate::os::sync::lock_unpoisoned;
use crate::router::host_limiter::{self, HostLimiter, HostPermit, PermitRequest};

/// Checks each redirect of an attempt before it is followed, and holds the permit for its host during the attempt.
pub(super) struct RedirectGuard<'a> {
    router: &'a Router,
    plan: &'a FetchPlan<'a>,
    identities: &'a IdentityPair,
    tier: Tier,
    /// The permit for the host of the first request.
    first_permit: &'a HostPermit,
    /// The host of the last redirect, and the permit for it.
    redirect_permit: Mutex<Option<(Url, HostPermit)>>,
}

impl<'a> RedirectGuard<'a> {
    pub(super) fn new(router: &'a Router, fetch: &'a FetchState<'_>, first_permit: &'a HostPermit) -> Self {
        let (plan, identities, tier) = (fetch.plan, fetch.identities(), fetch.tier());
        let guard = Self { router, plan, identities, tier, first_permit, redirect_permit: Mutex::default() };
        // Forgets what an earlier attempt sent.
        if let Some(capture) = plan.capture {
            *lock_unpoisoned(capture) = Capture::default();
        }
        guard
    }

    fn redirect_permit(&self) -> MutexGuard<'_, Option<(Url, HostPermit)>> {
        lock_unpoisoned(&self.redirect_permit)
    }

    /// Acquires a permit for the host of `url`, unless the attempt has one. An attempt holds one permit at a time,
    /// since holding one while waiting for another could deadlock.
    async fn acquire_redirect_host(&self, url: &Url, crawl_delay: Duration) -> Result<()> {
        let has_permit = match &*self.redirect_permit() {
            Some((held, _)) => host_limiter::is_same_host(held, url),
            None => host_limiter::is_same_host(&self.plan.request.url, url),
        };
        if has_permit {
            return Ok(());
        }
        self.first_permit.release_slot();
        *self.redirect_permit() = None;
        let deadline = Some(Instant::now() + MAX_REDIRECT_REST);
        let permit_request =
            PermitRequest { url, tier: self.tier, rate_limit: self.plan.rate_limit, crawl_delay, deadline };
        let permit = timeout(REDIRECT_PERMIT_TIMEOUT, self.router.limiter.acquire(&permit_request)).await.map_err(
            |_| {
                let name = host_limiter::host_key(url);
                let message = format!(
                    "timed out after {REDIRECT_PERMIT_TIMEOUT:?} waiting for a rate-limit slot at {name} (redirect target)"
                );
                Error::new(ErrorKind::Timeout, message)
            },
        )??;
        *self.redirect_permit() = Some((url.clone(), permit));
        Ok(())
    }
}

impl RequestHooks for RedirectGuard<'_> {
    fn is_strict(&self) -> bool {
        self.plan.robots == RobotsPolicy::Obey
    }

    fn before_request<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<()>> {
        async move {
            let crawl_delay = self.router.check_robots(self.plan, self.identities, url, None).await?;
            self.router.limiter.wait_for_retry_after(url, MAX_REDIRECT_REST, None).await?;
            self.acquire_redirect_host(url, crawl_delay).await
        }
        .boxed()
    }

    fn is_genuine<'a>(
        &'a self,
        head: &'a ResponseHead<'a>,
        body: &'a Bytes,
        is_complete: bool,
    ) -> BoxFuture<'a, bool> {
        async move {
            let view = ResponseView {
                tier: Some(self.tier),
                status: head.status.as_u16(),
                headers: head.headers,
                url: head.url,
                requested: &self.plan.request.url,
                body,
                complete: is_complete,
                via_proxy: self.identities.for_tier(self.tier).proxy_rules().proxy(head.url).is_some(),
            };
            classify(self.plan.rules.unwrap_or(&self.router.rules), &view, body, None).await.is_genuine()
        }
        .boxed()
    }

    fn wants_request_capture(&self) -> bool {
        self.plan.capture.is_some()
    }

    fn on_request_sent(&self, request: SentRequest) {
        if let Some(capture) = self.plan.capture {
            lock_unpoisoned(capture).requests.push(request);
        }
    }

    fn on_phase(&self, phase: fn(Tier) -> FetchPhase) {
        self.plan.report_phase(phase(self.tier));
    }
}

/// Delays requests for robots.txt while their host rests after a `Retry-After`.
struct RetryAfterGuard<'a>(&'a HostLimiter, Option<Instant>);

impl RequestHooks for RetryAfterGuard<'_> {
    fn before_request<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<()>> {
        self.0.wait_for_retry_after(url, Duration::MAX, self.1).boxed()
    }
}

impl Router {
    /// Checks `url` against robots.txt, if it is obeyed. Returns its crawl delay.
    ///
    /// # Errors
    /// [`ErrorKind::Robots`] if robots.txt disallows the URL.
    pub(super) async fn check_robots(
        &self,
        plan: &FetchPlan<'_>,
        identities: &IdentityPair,
        url: &Url,
        deadline: Option<Instant>,
    ) -> Result<Duration> {
        if plan.robots == RobotsPolicy::Ignore {
            return Ok(Duration::ZERO);
        }
        let hooks = RetryAfterGuard(&self.limiter, deadline);
        let proxy_rules = identities.plain.proxy_rules();
        let own = &plan.request.address_rule;
        // Only the fetch's own URL may decide the rule.
        let is_own = own.is_decided() || url.host() == plan.request.url.host();
        let rule = if is_own { own.for_dependent() } else { AddressRule::public_only() };
        let lookup = self.robots.lookup(url, proxy_rules, plan.limits, rule, &hooks).await?;
        if let Some((host, wait)) = &lookup.retry_after {
            self.limiter.set_retry_after(host, *wait);
        }
        lookup.entry.check(url, &lookup.url)?;
        Ok(lookup.entry.crawl_delay())
    }
}

/// The longest time that a running attempt waits for a redirect's host to rest.
const MAX_REDIRECT_REST: Duration = Duration::from_secs(5);
/// The longest time that a running attempt waits for a permit at a redirect's host.
const REDIRECT_PERMIT_TIMEOUT: Duration = Duration::from_secs(20);

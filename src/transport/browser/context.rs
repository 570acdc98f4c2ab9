//! One identity's context in one browser, and the synchronization of its cookies.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chromiumoxide_cdp::cdp::browser_protocol::storage;
use tokio::sync::Mutex;
use url::Url;

use super::cookie_sync;
use super::proxy_forwarder::Forwarder;
use crate::exchange::error::Result;
use crate::identity::cookies::Cookie;
use crate::net::AttemptRequest;
use crate::os::sync::lock_unpoisoned;
use crate::transport::chromium::connection::CdpConnection;
use crate::transport::chromium::error::CdpError;

/// What a context is for. Pages of public sites do not share one with those that may reach private addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ContextKey {
    /// See [`Identity::key`](crate::identity::Identity::key).
    pub identity: u64,
    /// Whether its pages reach public addresses only.
    pub requires_public: bool,
}

/// One identity's context: its cookies, storage, cache and proxy.
pub(super) struct BrowserContext {
    pub id: String,
    pub forwarder: Forwarder,
    cookies: Mutex<CookieState>,
    last_used: std::sync::Mutex<Instant>,
}

/// The cookies of a context and of the jar when they were last compared.
#[derive(Default)]
struct CookieState {
    /// The jar's cookies, in the jar's form.
    jar: Vec<Cookie>,
    /// The browser's cookies, in the browser's form.
    browser: Vec<Cookie>,
}

impl BrowserContext {
    pub(super) fn new(id: String, forwarder: Forwarder) -> Self {
        Self { id, forwarder, cookies: Mutex::default(), last_used: std::sync::Mutex::new(Instant::now()) }
    }

    /// Whether its forwarder still runs.
    pub(super) fn is_usable(&self) -> bool {
        self.forwarder.is_alive()
    }

    pub(super) fn touch(&self) {
        *lock_unpoisoned(&self.last_used) = Instant::now();
    }

    fn idle(&self) -> Duration {
        lock_unpoisoned(&self.last_used).elapsed()
    }

    /// Applies the jar's changes since the last comparison to the browser, including deletions. Also adds
    /// `request_cookies`: the cookies of this request's own Cookie header.
    pub(super) async fn push_cookies(
        &self,
        connection: &CdpConnection,
        job: AttemptRequest<'_>,
        request_cookies: &[Cookie],
    ) -> Result<()> {
        let (identity, page) = (job.identity, &job.request.url);
        let mut state = self.cookies.lock().await;
        let jar = identity.jar().list();
        let news = cookie_sync::unknown_cookies(&jar, &[&state.jar, &state.browser]);
        let gone = cookie_sync::removed_cookies(&state.jar, &jar);
        state.jar = jar;
        let mut all = news.clone();
        all.extend(gone.iter().map(cookie_sync::expired));
        all.extend(request_cookies.iter().cloned());
        if all.is_empty() {
            return Ok(());
        }
        let set = |cookies: &[Cookie]| storage::SetCookiesParams {
            cookies: cookies.iter().map(|cookie| cookie_sync::to_browser(cookie, page)).collect(),
            browser_context_id: Some(self.id.clone().into()),
        };
        match connection.run(None, &set(&all), COMMAND_LIMIT).await {
            Ok(_) => {}
            Err(CdpError::Protocol(_)) => {
                // One rejected cookie fails the whole command, so send them one by one.
                for cookie in &all {
                    connection.send_with_guard(None, &set(std::slice::from_ref(cookie)), Box::new(()));
                }
            }
            Err(fault) => return Err(fault.into()),
        }
        if !news.is_empty() || !gone.is_empty() {
            // Store the accepted cookies in the browser's form, so that later differences are the site's changes.
            // A page may have changed other cookies; `pull_cookies` handles those.
            let in_browser = self.browser_cookies(connection, request_cookies, None).await?;
            for cookie in news.iter().chain(&gone) {
                cookie_sync::update(
                    &mut state.browser,
                    cookie,
                    in_browser.iter().find(|own| cookie_sync::is_same(own, cookie)),
                );
            }
        }
        Ok(())
    }

    /// Applies the site's changes in the browser since the last comparison to the jar.
    pub(super) async fn pull_cookies(
        &self,
        connection: &CdpConnection,
        job: AttemptRequest<'_>,
        request_cookies: &[Cookie],
    ) -> Result<()> {
        let mut state = self.cookies.lock().await;
        let now = self.browser_cookies(connection, request_cookies, Some(&job.request.url)).await?;
        let jar = job.identity.jar();
        for cookie in cookie_sync::unknown_cookies(&now, &[&state.browser]) {
            jar.insert_from_site(&cookie);
            cookie_sync::update(&mut state.jar, &cookie, Some(&cookie));
        }
        let in_jar = jar.list();
        for cookie in cookie_sync::removed_cookies(&state.browser, &now) {
            // Keep a cookie that another tier renewed meanwhile.
            if in_jar.iter().any(|own| cookie_sync::is_same(own, &cookie) && own.value == cookie.value) {
                jar.delete(&cookie);
                cookie_sync::update(&mut state.jar, &cookie, None);
            }
        }
        state.browser = now;
        Ok(())
    }

    /// Returns the browser's cookies without those of this request alone.
    async fn browser_cookies(
        &self,
        connection: &CdpConnection,
        request_cookies: &[Cookie],
        url: Option<&Url>,
    ) -> Result<Vec<Cookie>> {
        let get = storage::GetCookiesParams { browser_context_id: Some(self.id.clone().into()) };
        let cookies = connection.run(None, &get, COMMAND_LIMIT).await?.cookies;
        let cookies = cookies.iter().filter_map(cookie_sync::from_browser);
        Ok(cookies.filter(|cookie| !cookie_sync::is_request_cookie(cookie, request_cookies, url)).collect())
    }
}

/// Returns the contexts to dispose of: unused, and either idle for long or more than the number kept.
pub(super) fn idle_contexts(
    contexts: &HashMap<ContextKey, Arc<BrowserContext>>,
    wanted: Option<ContextKey>,
) -> Vec<ContextKey> {
    // Only the map refers to an unused context: no page is open in it.
    let unused =
        contexts.iter().filter(|(key, context)| Some(**key) != wanted && Arc::strong_count(context) == 1);
    let mut unused: Vec<(Duration, ContextKey)> =
        unused.map(|(key, context)| (context.idle(), *key)).collect();
    unused.sort_unstable_by_key(|(idle, _)| *idle);
    let kept = MAX_IDLE_CONTEXTS.saturating_sub(contexts.len() - unused.len());
    let fresh = unused.iter().take(kept).filter(|(idle, _)| *idle <= CONTEXT_IDLE).count();
    unused.into_iter().skip(fresh).map(|(_, key)| key).collect()
}

pub(super) const COMMAND_LIMIT: Duration = Duration::from_secs(10);
/// A context idle for this long is disposed of; its cookies are in the jar.
const CONTEXT_IDLE: Duration = Duration::from_secs(300);
/// More contexts than this are kept only while pages are open in them: each uses about 65 MB.
const MAX_IDLE_CONTEXTS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::Profile;
    use crate::identity::Identity;
    use crate::settings::limits::Limits;

    #[tokio::test]
    async fn contexts_in_use_are_kept_and_idle_ones_are_limited() {
        let identity = Identity::new("test", Profile::named("chrome-156-linux").unwrap(), None);
        let mut contexts = HashMap::new();
        let key = |identity| ContextKey { identity, requires_public: true };
        for id in 0..12_u64 {
            let forwarder =
                Forwarder::start(&identity, &Arc::default(), &Limits::default(), true, 1).await.unwrap();
            contexts.insert(key(id), Arc::new(BrowserContext::new(id.to_string(), forwarder)));
        }
        let used = Arc::clone(&contexts[&key(3)]);
        let gone = idle_contexts(&contexts, Some(key(4)));
        assert_eq!(gone.len(), 12 - MAX_IDLE_CONTEXTS);
        assert!(!gone.contains(&key(3)) && !gone.contains(&key(4)));
        drop(used);
    }
}

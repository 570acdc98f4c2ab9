//! One identity's context in one browser: what it keeps, and its cookies in both directions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chromiumoxide::cdp::browser_protocol::storage;
use tokio::sync::Mutex;

use super::connection::Connection;
use super::cookie_sync;
use super::faults::Fault;
use super::forward::Forwarder;
use crate::cookies::Cookie;
use crate::error::Result;
use crate::identity::Identity;
use crate::lock::lock;
use crate::transport::Job;

/// One identity's context: its cookies, storage, cache and proxy.
pub(super) struct Context {
    pub id: String,
    pub forwarder: Option<Forwarder>,
    /// The cookies it held when they were last looked at.
    seen: Mutex<Vec<Cookie>>,
    used: std::sync::Mutex<Instant>,
}

impl Context {
    pub(super) fn new(id: String, forwarder: Option<Forwarder>) -> Self {
        Self { id, forwarder, seen: Mutex::default(), used: std::sync::Mutex::new(Instant::now()) }
    }

    /// Whether its way to the proxy is still there.
    pub(super) fn is_sound(&self) -> bool {
        self.forwarder.as_ref().is_none_or(Forwarder::is_alive)
    }

    pub(super) fn touch(&self) {
        *lock(&self.used) = Instant::now();
    }

    fn idle(&self) -> Duration {
        lock(&self.used).elapsed()
    }

    /// Gives the browser what the jar has and it has not, and what the caller lent.
    pub(super) async fn put(
        &self,
        connection: &Connection,
        identity: &Identity,
        lent: &[Cookie],
    ) -> Result<()> {
        let seen = self.seen.lock().await;
        let mut all = cookie_sync::news(identity.jar().list(), &seen);
        all.extend(lent.iter().cloned());
        if all.is_empty() {
            return Ok(());
        }
        let set = |cookies: &[Cookie]| storage::SetCookiesParams {
            cookies: cookies.iter().map(cookie_sync::to_browser).collect(),
            browser_context_id: Some(self.id.clone().into()),
        };
        match connection.run(None, &set(&all), COMMAND_LIMIT).await {
            Ok(_) => Ok(()),
            Err(Fault::Refused(_)) => {
                // One that it does not like spoils the lot: give them singly.
                for cookie in &all {
                    connection.tell(None, &set(std::slice::from_ref(cookie)), Box::new(()));
                }
                Ok(())
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Takes the browser's cookies into the jar.
    pub(super) async fn take(&self, connection: &Connection, job: Job<'_>, lent: &[Cookie]) -> Result<()> {
        let mut seen = self.seen.lock().await;
        let get = storage::GetCookiesParams { browser_context_id: Some(self.id.clone().into()) };
        let cookies = connection.run(None, &get, COMMAND_LIMIT).await?.cookies;
        *seen = cookies
            .iter()
            .filter_map(cookie_sync::from_browser)
            .filter(|cookie| !cookie_sync::is_lent(cookie, lent, &job.request.url))
            .collect();
        for cookie in seen.iter() {
            job.identity.jar().earn(cookie);
        }
        Ok(())
    }
}

/// The contexts to dispose of: not in use, and idle for long or beyond the number kept.
pub(super) fn spare(contexts: &HashMap<u64, Arc<Context>>, wanted: Option<u64>) -> Vec<u64> {
    // Held by the map alone: nobody has a page in it.
    let unused = contexts.iter().filter(|(key, held)| Some(**key) != wanted && Arc::strong_count(held) == 1);
    let mut unused: Vec<(Duration, u64)> = unused.map(|(key, context)| (context.idle(), *key)).collect();
    unused.sort_unstable();
    let kept = CONTEXTS_KEPT.saturating_sub(contexts.len() - unused.len());
    let fresh = unused.iter().take(kept).filter(|(idle, _)| *idle <= CONTEXT_IDLE).count();
    unused.into_iter().skip(fresh).map(|(_, key)| key).collect()
}

pub(super) const COMMAND_LIMIT: Duration = Duration::from_secs(10);
/// A context nobody used for this long is disposed of; its cookies are in the jar.
const CONTEXT_IDLE: Duration = Duration::from_secs(300);
/// More contexts than this are kept only while pages are open in them: each costs some 65 MB.
const CONTEXTS_KEPT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn contexts_are_spared_while_used_and_kept_within_bounds() {
        let make = |id: u64| (id, Arc::new(Context::new(id.to_string(), None)));
        let contexts: HashMap<u64, Arc<Context>> = (0..12).map(make).collect();
        let used = Arc::clone(&contexts[&3]);
        let gone = spare(&contexts, Some(4));
        assert_eq!(gone.len(), 12 - CONTEXTS_KEPT);
        assert!(!gone.contains(&3) && !gone.contains(&4));
        drop(used);
    }
}

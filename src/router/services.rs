//! The router: the parts that all fetches share.

use std::sync::Arc;

use url::Url;

use super::clearance::ClearanceGate;
use crate::detect::Rules;
use crate::memory::HostMemory;
use crate::router::host_limiter::{HostLimiter, HostReadiness};
use crate::router::robots::RobotsCache;
use crate::settings::rate_limit::RateLimit;
use crate::transport::Transport;

pub(crate) struct Router {
    /// One transport per tier, cheapest first.
    pub(super) transports: Vec<Arc<dyn Transport>>,
    pub(super) rules: Rules,
    pub(super) memory: HostMemory,
    pub(super) clearances: ClearanceGate,
    pub(super) limiter: HostLimiter,
    pub(super) robots: RobotsCache,
}

impl Router {
    pub(crate) fn new(
        transports: Vec<Arc<dyn Transport>>,
        rules: Rules,
        robots: RobotsCache,
        memory: HostMemory,
    ) -> Self {
        let (clearances, limiter) = (ClearanceGate::default(), HostLimiter::default());
        Self { transports, rules, memory, clearances, limiter, robots }
    }

    /// Waits until the host memory has written everything to its file.
    pub(crate) async fn flush(&self) {
        self.memory.flush().await;
    }

    /// Returns how soon the host of `url` may be requested at `rate_limit`. Uses only what is known without a request.
    pub(crate) fn readiness(&self, url: &Url, rate_limit: RateLimit) -> HostReadiness {
        self.limiter.readiness(url, rate_limit, self.robots.crawl_delay(url))
    }
}

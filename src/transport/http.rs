//! The two HTTP tiers. Both use the same HTTP engine and differ in the identity's profile: the plain tier
//! uses rungs' own, the impersonate tier a browser's.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::Transport;
use crate::exchange::error::Result;
use crate::exchange::response::RawResponse;
use crate::exchange::tier::Tier;
use crate::net::AttemptRequest;
use crate::net::HttpClient;

pub(crate) struct HttpTransport {
    tier: Tier,
    engine: Arc<HttpClient>,
}

impl HttpTransport {
    pub(crate) const fn plain(engine: Arc<HttpClient>) -> Self {
        Self { tier: Tier::Plain, engine }
    }

    pub(crate) const fn impersonate(engine: Arc<HttpClient>) -> Self {
        Self { tier: Tier::Impersonate, engine }
    }
}

impl Transport for HttpTransport {
    fn tier(&self) -> Tier {
        self.tier
    }

    fn drop_identity(&self, identity: u64) {
        self.engine.drop_identity(identity);
    }

    fn execute<'a>(&'a self, job: AttemptRequest<'a>) -> BoxFuture<'a, Result<RawResponse>> {
        self.engine.execute(job).boxed()
    }
}

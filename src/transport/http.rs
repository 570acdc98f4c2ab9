//! The two HTTP tiers: one engine, told apart by what the identity wears. On the plain tier that is
//! the honest profile, on the impersonate tier a browser's.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Job, Transport};
use crate::error::Result;
use crate::net::Engine;
use crate::response::Answer;
use crate::tier::Tier;

pub(crate) struct Http {
    tier: Tier,
    engine: Arc<Engine>,
}

impl Http {
    pub(crate) const fn plain(engine: Arc<Engine>) -> Self {
        Self { tier: Tier::Plain, engine }
    }

    pub(crate) const fn impersonate(engine: Arc<Engine>) -> Self {
        Self { tier: Tier::Impersonate, engine }
    }
}

impl Transport for Http {
    fn tier(&self) -> Tier {
        self.tier
    }

    fn forget(&self, identity: u64) {
        self.engine.forget(identity);
    }

    fn attempt<'a>(&'a self, job: Job<'a>) -> BoxFuture<'a, Result<Answer>> {
        self.engine.fetch(job.call()).boxed()
    }
}

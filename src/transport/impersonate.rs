//! The impersonate tier: the same engine, wearing the browser profile of the identity.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Job, Transport};
use crate::error::Result;
use crate::net::Engine;
use crate::response::Answer;
use crate::tier::Tier;

pub(crate) struct Impersonate(Arc<Engine>);

impl Impersonate {
    pub(crate) const fn new(engine: Arc<Engine>) -> Self {
        Self(engine)
    }
}

impl Transport for Impersonate {
    fn tier(&self) -> Tier {
        Tier::Impersonate
    }

    fn attempt<'a>(&'a self, job: Job<'a>) -> BoxFuture<'a, Result<Answer>> {
        self.0.fetch(job.call()).boxed()
    }
}

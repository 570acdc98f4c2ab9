//! The plain tier: an honest client. The identity it is given wears the plain profile.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Job, Transport};
use crate::error::Result;
use crate::net::Engine;
use crate::response::Answer;
use crate::tier::Tier;

pub(crate) struct Plain(Arc<Engine>);

impl Plain {
    pub(crate) const fn new(engine: Arc<Engine>) -> Self {
        Self(engine)
    }
}

impl Transport for Plain {
    fn tier(&self) -> Tier {
        Tier::Plain
    }

    fn attempt<'a>(&'a self, job: Job<'a>) -> BoxFuture<'a, Result<Answer>> {
        self.0.fetch(job.call()).boxed()
    }
}

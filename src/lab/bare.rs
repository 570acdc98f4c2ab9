//! The HTTP engine by itself, without router, verdicts, memory or pace: what benches hold the router against.

use std::sync::Arc;

use futures_util::TryStreamExt;

use crate::bounds::Bounds;
use crate::error::Result;
use crate::fingerprint::Profile;
use crate::identity::Identity;
use crate::net::{Call, Engine, Trust};
use crate::request::{Request, parse_url};
use crate::response::Body;

/// The engine as one identity.
pub struct Bare {
    engine: Engine,
    identity: Identity,
    bounds: Bounds,
}

impl Bare {
    /// An engine that wears `profile`. `insecure`: it takes any certificate.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when TLS cannot be set up.
    pub fn new(profile: Arc<Profile>, insecure: bool) -> Result<Self> {
        let trust = Trust { insecure, ..Trust::default() };
        let engine = Engine::new(Arc::default(), trust)?;
        Ok(Self { engine, identity: Identity::new("bare", profile, None), bounds: Bounds::default() })
    }

    /// Gets `url`: the status, and the length of the body in bytes.
    ///
    /// # Errors
    /// Whatever the engine met.
    pub async fn get(&self, url: &str) -> Result<(u16, usize)> {
        let request = Request::get(parse_url(url)?);
        let (identity, bounds) = (&self.identity, &self.bounds);
        let call = Call { request: &request, identity, bounds, streaming: false, gate: None };
        let answer = self.engine.fetch(call).await?;
        let length = match answer.body {
            Body::Whole(bytes) => bytes.len(),
            Body::Coming(stream) => stream.try_fold(0, async |sum, chunk| Ok(sum + chunk.len())).await?,
        };
        Ok((answer.status.as_u16(), length))
    }
}

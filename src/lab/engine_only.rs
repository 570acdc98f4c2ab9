//! The HTTP engine by itself, without router, verdicts, memory or pace: what benches hold the router against.

use std::sync::Arc;

use futures_util::TryStreamExt;

use crate::error::Result;
use crate::fingerprint::Profile;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::net::{ClientRequest, HttpClient, TrustConfig};
use crate::request::{Request, parse_url};
use crate::response::Body;

/// The engine as one identity.
pub struct EngineOnly {
    engine: HttpClient,
    identity: Identity,
    limits: Limits,
}

impl EngineOnly {
    /// An engine that wears `profile`. `insecure`: it takes any certificate.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when TLS cannot be set up.
    pub fn new(profile: Arc<Profile>, insecure: bool) -> Result<Self> {
        let trust = TrustConfig { insecure, ..TrustConfig::default() };
        let engine = HttpClient::new(Arc::default(), trust)?;
        Ok(Self { engine, identity: Identity::new("bare", profile, None), limits: Limits::default() })
    }

    /// Gets `url`: the status, and the length of the body in bytes.
    ///
    /// # Errors
    /// Whatever the engine met.
    pub async fn get(&self, url: &str) -> Result<(u16, usize)> {
        let request = Request::get(parse_url(url)?);
        let (identity, bounds) = (&self.identity, &self.limits);
        let call =
            ClientRequest { request: &request, identity, limits: bounds, streaming: false, hooks: None };
        let answer = self.engine.execute(call).await?;
        let length = match answer.body {
            Body::Buffered(bytes) => bytes.len(),
            Body::Streaming(stream) => stream.try_fold(0, async |sum, chunk| Ok(sum + chunk.len())).await?,
        };
        Ok((answer.status.as_u16(), length))
    }
}

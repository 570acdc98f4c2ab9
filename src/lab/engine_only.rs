//! The HTTP engine without router, verdicts, host memory or rate limit: the baseline for router benches.

use std::sync::Arc;

use futures_util::TryStreamExt;

use crate::exchange::error::Result;
use crate::exchange::request::{Request, parse_url};
use crate::exchange::response::Body;
use crate::fingerprint::Profile;
use crate::identity::Identity;
use crate::net::{AttemptRequest, HttpClient, TrustConfig};
use crate::settings::limits::Limits;
use crate::settings::render::RenderOptions;

/// The HTTP engine with one identity.
pub struct EngineOnly {
    engine: HttpClient,
    identity: Identity,
    limits: Limits,
}

impl EngineOnly {
    /// Creates an engine with `profile`. `insecure`: accept any certificate.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when TLS cannot be set up.
    pub fn new(profile: Arc<Profile>, insecure: bool) -> Result<Self> {
        let trust = TrustConfig { insecure, ..TrustConfig::default() };
        let engine = HttpClient::new(Arc::default(), trust)?;
        Ok(Self { engine, identity: Identity::new("bare", profile, None), limits: Limits::default() })
    }

    /// Fetches `url` with GET. Returns the status and the length of the body in bytes.
    ///
    /// # Errors
    /// The error of the engine.
    pub async fn get(&self, url: &str) -> Result<(u16, usize)> {
        let request = Request::get(parse_url(url)?);
        let (identity, limits) = (&self.identity, &self.limits);
        let render = RenderOptions::NONE;
        let call =
            AttemptRequest { request: &request, identity, limits, render, streaming: false, hooks: None };
        let response = self.engine.execute(call).await?;
        let length = match response.body {
            Body::Buffered(bytes) => bytes.len(),
            Body::Streaming(stream) => stream.try_fold(0, async |sum, chunk| Ok(sum + chunk.len())).await?,
        };
        Ok((response.status.as_u16(), length))
    }
}

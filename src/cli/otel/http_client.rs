//! An HTTP client for the exporter: the plain tier, on a thread whose spans are not recorded.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use rungs::{Error, Fetcher, Limits, RobotsPolicy, Tier};
use tokio::runtime::{Builder, Runtime};
use tracing::subscriber::NoSubscriber;

use super::config::OtlpConfig;

/// Sends requests with a fetcher of its own.
pub(super) struct FetcherClient {
    fetcher: Fetcher,
    timeout: Duration,
    /// Taken when the client is dropped.
    runtime: Option<Runtime>,
}

impl FetcherClient {
    pub(super) fn new(config: &OtlpConfig) -> Result<Self, String> {
        let mut limits = Limits::default();
        limits.max_body = MAX_RESPONSE;
        let mut builder =
            Fetcher::builder().max_tier(Tier::Plain).robots(RobotsPolicy::Ignore).retries(0).limits(limits);
        if let Some(path) = &config.certificates {
            builder = builder.ca_file(path);
        }
        let fetcher = builder.build().map_err(|error| error.chain())?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("rungs-otel")
            // The fetches of the exporter must not create spans themselves.
            .on_thread_start(|| std::mem::forget(tracing::subscriber::set_default(NoSubscriber::new())))
            .enable_all()
            .build()
            .map_err(|cause| format!("could not start a thread to send them: {cause}"))?;
        Ok(Self { fetcher, timeout: config.timeout, runtime: Some(runtime) })
    }
}

impl HttpClient for FetcherClient {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let runtime = self.runtime.as_ref().ok_or("the program is ending")?;
            let sending = runtime.spawn(send(self.fetcher.clone(), self.timeout, request));
            match sending.await {
                Ok(sent) => sent.map_err(|error| error.chain().into()),
                Err(_) => Err("the program is ending".into()),
            }
        })
    }
}

impl Drop for FetcherClient {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for FetcherClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetcherClient").finish_non_exhaustive()
    }
}

async fn send(
    fetcher: Fetcher,
    timeout: Duration,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, Error> {
    let (head, body) = request.into_parts();
    let mut builder = fetcher.request(head.method, head.uri.to_string()).timeout(timeout).body(body);
    for (name, value) in &head.headers {
        let value = value.to_str().unwrap_or_default();
        builder = builder.header(name, value);
    }
    let received = builder.send().await?;
    let mut response = Response::new(received.bytes().clone());
    *response.status_mut() = received.status();
    *response.headers_mut() = received.headers().clone();
    Ok(response)
}

/// The maximum size of a collector's response.
const MAX_RESPONSE: u64 = 4 << 20;

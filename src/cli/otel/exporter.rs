//! The span exporter. It uses the plain tier, on a thread whose spans are not recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use rungs::{Fetcher, RobotsPolicy, Tier};
use tokio::runtime::{Builder, Runtime};
use tracing::subscriber::NoSubscriber;

use super::config::OtlpConfig;
use super::otlp;

/// An OTLP exporter. The SDK calls it from a thread of its own.
#[derive(Debug)]
pub(super) struct OtlpExporter {
    config: OtlpConfig,
    fetcher: Fetcher,
    resource: Resource,
    /// Taken when the exporter is dropped.
    runtime: Option<Runtime>,
    /// Whether a loss of spans was logged.
    has_warned: Arc<AtomicBool>,
}

impl OtlpExporter {
    pub(super) fn new(config: OtlpConfig, has_warned: Arc<AtomicBool>) -> Result<Self, String> {
        let mut builder = Fetcher::builder().max_tier(Tier::Plain).robots(RobotsPolicy::Ignore).retries(0);
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
        let resource = Resource::builder_empty().build();
        Ok(Self { config, fetcher, resource, runtime: Some(runtime), has_warned })
    }

    /// Logs the first loss of spans only.
    fn report_loss(&self, why: String) -> OTelSdkError {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(collector = %self.config, why, "spans are lost: could not send them");
        }
        OTelSdkError::InternalFailure(why)
    }
}

impl SpanExporter for OtlpExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let Some(runtime) = &self.runtime else { return Err(OTelSdkError::AlreadyShutdown) };
        let body = otlp::body(&batch, &self.resource);
        let task = runtime.spawn(send(self.fetcher.clone(), self.config.clone(), body));
        let result = task.await.unwrap_or_else(|_| Err("the program is ending".to_owned()));
        result.map_err(|why| self.report_loss(why))
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.clone();
    }
}

impl Drop for OtlpExporter {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn send(fetcher: Fetcher, collector: OtlpConfig, body: Vec<u8>) -> Result<(), String> {
    let mut request = fetcher
        .request(Method::POST, &collector.url)
        .header("content-type", "application/json")
        .timeout(collector.timeout)
        .body(body);
    for (name, value) in &collector.headers {
        request = request.header(name, value.expose());
    }
    let response = request.send().await.map_err(|error| error.chain())?;
    let status = response.status();
    if status.is_success() { Ok(()) } else { Err(format!("the collector answered {status}")) }
}

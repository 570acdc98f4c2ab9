//! The span exporter: OpenTelemetry's own, with the plain tier as its HTTP client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::config::OtlpConfig;
use super::http_client::FetcherClient;

/// An OTLP exporter that logs a loss of spans once. The SDK calls it from a thread of its own.
#[derive(Debug)]
pub(super) struct OtlpExporter {
    inner: opentelemetry_otlp::SpanExporter,
    config: OtlpConfig,
    /// Whether a loss of spans was logged.
    has_warned: Arc<AtomicBool>,
}

impl OtlpExporter {
    pub(super) fn new(config: OtlpConfig, has_warned: Arc<AtomicBool>) -> Result<Self, String> {
        let inner = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(FetcherClient::new(&config)?)
            .with_endpoint(&config.url)
            .with_protocol(config.protocol)
            .with_timeout(config.timeout)
            .build()
            .map_err(|cause| cause.to_string())?;
        Ok(Self { inner, config, has_warned })
    }
}

impl SpanExporter for OtlpExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.inner.export(batch).await;
        if let Err(why) = &result
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(collector = %self.config, %why, "spans are lost: could not send them");
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

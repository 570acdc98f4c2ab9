//! Export of spans to an OpenTelemetry collector that the standard environment variables set. The SDK samples and
//! queues spans. This module sends them, outside the threads that fetch.

mod config;
mod exporter;
mod http_client;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::Key;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use config::OtlpConfig;
use exporter::OtlpExporter;

/// The export of this process's spans, if a collector is set.
pub(crate) struct Spans {
    exporter: Option<(SdkTracerProvider, OtlpConfig, Arc<AtomicBool>)>,
    config_error: Option<String>,
}

impl Spans {
    /// Reads the environment. Sends nothing yet.
    pub(crate) fn read() -> Self {
        match Self::build_provider(|name| std::env::var(name).ok()) {
            Ok(exporter) => Self { exporter, config_error: None },
            Err(error) => Self { exporter: None, config_error: Some(error) },
        }
    }

    fn build_provider(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<(SdkTracerProvider, OtlpConfig, Arc<AtomicBool>)>, String> {
        let Some(config) = OtlpConfig::from_variables(variable)? else { return Ok(None) };
        let has_warned = Arc::default();
        let exporter = OtlpExporter::new(config.clone(), Arc::clone(&has_warned))?;
        let provider =
            SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(exporter).build();
        Ok(Some((provider, config, has_warned)))
    }

    /// Returns the layer that passes spans to the SDK.
    pub(crate) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> Option<impl Layer<S> + use<S>> {
        let (provider, ..) = self.exporter.as_ref()?;
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("rungs"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        // Events are not exported. They go to the log.
        let is_own_span =
            |metadata: &Metadata<'_>| metadata.is_span() && metadata.target().starts_with("rungs");
        Some(layer.with_filter(filter_fn(is_own_span)))
    }

    /// Whether an event of the SDK reports lost spans. The log shows it although it is not an event of this program.
    pub(crate) fn is_loss(metadata: &Metadata<'_>) -> bool {
        metadata.name().starts_with("BatchSpanProcessor.Span")
    }

    /// Logs an error in the environment variables. Must be called after logging has started.
    pub(crate) fn log_config_error(&self) {
        if let Some(error) = &self.config_error {
            tracing::warn!("sending no spans: {error}");
        }
    }

    /// Sends the remaining spans, for at most [`FLUSH`].
    pub(crate) fn flush(self) {
        let Some((provider, collector, has_warned)) = self.exporter else { return };
        if provider.shutdown_with_timeout(FLUSH).is_err() && !has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(%collector, "the last spans are lost: the collector did not accept them within {FLUSH:?}");
        }
    }
}

/// Returns the resource of the spans. The service name is `rungs` unless the environment sets one.
fn resource() -> Resource {
    let from_env = Resource::builder().build();
    let name = from_env.get(&Key::from_static_str("service.name")).map(|name| name.to_string());
    let name = name.filter(|name| !name.starts_with("unknown_service"));
    Resource::builder()
        .with_service_name(name.unwrap_or_else(|| "rungs".to_owned()))
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

/// The maximum time to send remaining spans at the end of the program.
const FLUSH: Duration = Duration::from_secs(3);

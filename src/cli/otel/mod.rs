//! Spans to an OpenTelemetry collector, where the standard environment variables name one. The SDK samples them and
//! queues them up; what is here sends them off the threads that fetch.

mod config;
mod exporter;
mod otlp;

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

/// The spans of this process, on their way to a collector; or to nowhere.
pub(crate) struct Spans {
    exporter: Option<(SdkTracerProvider, OtlpConfig, Arc<AtomicBool>)>,
    config_error: Option<String>,
}

impl Spans {
    /// As the environment says. Sends nothing yet.
    pub(crate) fn read() -> Self {
        match Self::build_provider(|name| std::env::var(name).ok()) {
            Ok(sent) => Self { exporter: sent, config_error: None },
            Err(wrong) => Self { exporter: None, config_error: Some(wrong) },
        }
    }

    fn build_provider(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<(SdkTracerProvider, OtlpConfig, Arc<AtomicBool>)>, String> {
        let Some(collector) = OtlpConfig::from_variables(variable)? else { return Ok(None) };
        let is_told = Arc::default();
        let sender = OtlpExporter::new(collector.clone(), Arc::clone(&is_told))?;
        let provider =
            SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(sender).build();
        Ok(Some((provider, collector, is_told)))
    }

    /// What hands them over.
    pub(crate) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> Option<impl Layer<S> + use<S>> {
        let (provider, ..) = self.exporter.as_ref()?;
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("rungs"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        // Events stay here: they are the log.
        let ours = |about: &Metadata<'_>| about.is_span() && about.target().starts_with("rungs");
        Some(layer.with_filter(filter_fn(ours)))
    }

    /// Whether the SDK says that it lost spans: in the log, though it is no word of ours.
    pub(crate) fn is_loss(about: &Metadata<'_>) -> bool {
        about.name().starts_with("BatchSpanProcessor.Span")
    }

    /// Says what of the environment was not understood. Not said before there is a log.
    pub(crate) fn tell(&self) {
        if let Some(wrong) = &self.config_error {
            tracing::warn!("no spans are sent: {wrong}");
        }
    }

    /// Sends what is left, within a few seconds.
    pub(crate) fn flush(self) {
        let Some((provider, collector, is_told)) = self.exporter else { return };
        if provider.shutdown_with_timeout(FLUSH).is_err() && !is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(%collector, "the last spans are lost: the collector did not take them in {FLUSH:?}");
        }
    }
}

/// Who sends them: `rungs`, unless the environment names it otherwise.
fn resource() -> Resource {
    let said = Resource::builder().build();
    let name = said.get(&Key::from_static_str("service.name")).map(|name| name.to_string());
    let named = name.filter(|name| !name.starts_with("unknown_service"));
    Resource::builder()
        .with_service_name(named.unwrap_or_else(|| "rungs".to_owned()))
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

/// How long the program waits at its end.
const FLUSH: Duration = Duration::from_secs(3);

//! The stand-in for `otel` in a build without that feature. It sends no spans.

use tracing::Metadata;
use tracing_subscriber::layer::Identity;

/// Sends nothing. Remembers whether the environment sets a collector.
pub(crate) struct Spans {
    is_requested: bool,
}

impl Spans {
    pub(crate) fn read() -> Self {
        Self { is_requested: std::env::var_os(ENDPOINT).is_some_and(|value| !value.is_empty()) }
    }

    #[expect(clippy::unused_self, reason = "the signature of the build with the feature")]
    pub(crate) const fn layer(&self) -> Option<Identity> {
        None
    }

    pub(crate) const fn is_loss(_: &Metadata<'_>) -> bool {
        false
    }

    /// Logs, with `-v`, that a collector is set but receives no spans.
    pub(crate) fn log_config_error(&self) {
        if self.is_requested {
            tracing::info!("{ENDPOINT} is set, but this build sends no spans; build with `--features otel`");
        }
    }

    #[expect(clippy::unused_self, reason = "the signature of the build with the feature")]
    pub(crate) const fn flush(self) {}
}

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

//! A build that sends no spans.

use tracing::Metadata;
use tracing_subscriber::layer::Identity;

/// None, though a collector may be named.
pub(crate) struct Spans {
    is_wanted: bool,
}

impl Spans {
    pub(crate) fn read() -> Self {
        Self { is_wanted: std::env::var_os(ENDPOINT).is_some_and(|value| !value.is_empty()) }
    }

    #[expect(clippy::unused_self, reason = "the build that sends them has something there")]
    pub(crate) const fn layer(&self) -> Option<Identity> {
        None
    }

    pub(crate) const fn is_loss(_: &Metadata<'_>) -> bool {
        false
    }

    /// Somebody who names a collector is told, with `-v`, why it hears nothing.
    pub(crate) fn tell(&self) {
        if self.is_wanted {
            tracing::info!(
                "{ENDPOINT} is set, and this build sends no spans: build it with `--features otel`"
            );
        }
    }

    #[expect(clippy::unused_self, reason = "the build that sends them has something there")]
    pub(crate) const fn flush(self) {}
}

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

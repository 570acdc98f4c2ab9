//! A build that sends no spans.

use tracing::Metadata;
use tracing_subscriber::layer::Identity;

/// None.
pub(crate) struct Spans;

impl Spans {
    pub(crate) const fn read() -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "the build that sends them has something there")]
    pub(crate) const fn layer(&self) -> Option<Identity> {
        None
    }

    pub(crate) const fn is_loss(_: &Metadata<'_>) -> bool {
        false
    }

    /// Somebody who names a collector is told, with `-v`, why it hears nothing.
    #[expect(clippy::unused_self, reason = "the build that sends them has something there")]
    pub(crate) fn tell(&self) {
        if std::env::var_os(ENDPOINT).is_some_and(|value| !value.is_empty()) {
            tracing::info!(
                "{ENDPOINT} is set, and this build sends no spans: build it with `--features otel`"
            );
        }
    }

    pub(crate) const fn flush(self) {}
}

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

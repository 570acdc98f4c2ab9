//! The environment variables of OpenTelemetry that configure the export of spans. The SDK reads its own variables
//! (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_…`).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rungs::{Secret, redact};

/// `true` disables the export.
const DISABLED: &str = "OTEL_SDK_DISABLED";
/// `otlp`, or `none` for no spans. Default: `otlp` if an endpoint is set.
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
/// The URL that spans are sent to, used as it is.
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// The base URL of the collector. Spans go to its `/v1/traces`. Default: `http://localhost:4318`.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The protocol. `http/json` and `http/protobuf` are accepted; both send JSON.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
/// Request headers, as in `name=value,name=value`. Values are percent-decoded.
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
/// The timeout of one export in milliseconds. Default: 10000.
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
/// A file with CA certificates to trust.
const CERTIFICATES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];

/// The configuration of the OTLP export.
#[derive(Clone, Debug)]
pub(super) struct OtlpConfig {
    pub(super) url: String,
    pub(super) headers: Vec<(String, Secret)>,
    pub(super) timeout: Duration,
    pub(super) certificates: Option<PathBuf>,
}

impl OtlpConfig {
    /// Reads the variables. Returns `None` when they set no collector or disable the export.
    ///
    /// # Errors
    /// A message that names the variable and its fault.
    pub(super) fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        // An empty variable counts as unset.
        let read = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let first = |names: &[&'static str]| names.iter().find_map(|name| Some((*name, read(name)?)));
        if read(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let is_enabled = match read(EXPORTER).as_deref() {
            None => false,
            Some("otlp") => true,
            Some("none") => return Ok(None),
            Some(other) => {
                return Err(format!(
                    "{EXPORTER} is `{}`; expected otlp or none",
                    redact::escape_terminal(other)
                ));
            }
        };
        let (name, url) = match (read(TRACES_ENDPOINT), read(ENDPOINT)) {
            (Some(url), _) => (TRACES_ENDPOINT, url),
            (None, Some(url)) => (ENDPOINT, format!("{}/v1/traces", url.trim_end_matches('/'))),
            (None, None) if is_enabled => (ENDPOINT, "http://localhost:4318/v1/traces".to_owned()),
            (None, None) => return Ok(None),
        };
        if let Err(error) = rungs::parse_url(&url) {
            return Err(format!("{name}: {}", error.chain()));
        }
        if let Some((name, protocol)) = first(&PROTOCOLS).filter(|(_, value)| !value.starts_with("http/")) {
            return Err(format!(
                "{name} is `{}`; only http/json is supported",
                redact::escape_terminal(&protocol)
            ));
        }
        let timeout = match first(&TIMEOUTS) {
            None => TIMEOUT,
            Some((name, value)) => value.trim().parse().map(Duration::from_millis).map_err(|_| {
                format!("{name} is `{}`; expected a number of milliseconds", redact::escape_terminal(&value))
            })?,
        };
        let headers = match first(&HEADERS) {
            None => Vec::new(),
            // The message omits the value, which may contain a secret.
            Some((name, value)) => parse_headers(&value)
                .ok_or_else(|| format!("{name} does not have the form `name=value,name=value`"))?,
        };
        let certificates = first(&CERTIFICATES).map(|(_, path)| path.into());
        Ok(Some(Self { url, headers, timeout, certificates }))
    }
}

impl fmt::Display for OtlpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact::escape_terminal(&redact::url_text(&self.url)))
    }
}

fn parse_headers(list: &str) -> Option<Vec<(String, Secret)>> {
    let field = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8().ok()?;
        Some((name.trim().to_owned(), Secret::new(value)))
    };
    list.split(',').filter(|pair| !pair.trim().is_empty()).map(field).collect()
}

const TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<OtlpConfig>, String> {
        OtlpConfig::from_variables(|name| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_set_the_url_of_the_export() {
        let url = |variables: &[(&str, &str)]| read(variables).unwrap().map(|collector| collector.url);
        assert_eq!(url(&[]), None);
        assert_eq!(url(&[(ENDPOINT, " ")]), None);
        let expected = Some("http://c:4318/v1/traces".to_owned());
        assert_eq!(url(&[(ENDPOINT, "http://c:4318")]), expected);
        assert_eq!(url(&[(ENDPOINT, "http://c:4318/")]), expected);
        assert_eq!(
            url(&[(ENDPOINT, "http://c"), (TRACES_ENDPOINT, "http://t/x")]),
            Some("http://t/x".into())
        );
        assert_eq!(url(&[(EXPORTER, "otlp")]), Some("http://localhost:4318/v1/traces".into()));
        assert_eq!(url(&[(ENDPOINT, "http://c"), (EXPORTER, "none")]), None);
        assert_eq!(url(&[(ENDPOINT, "http://c"), (DISABLED, "TRUE")]), None);
    }

    #[test]
    fn headers_are_decoded_and_not_shown() {
        let config =
            read(&[(ENDPOINT, "http://c"), (HEADERS[1], "x-key=hunter2%20x, y=1"), (TIMEOUTS[1], "250")]);
        let collector = config.unwrap().unwrap();
        let fields: Vec<_> =
            collector.headers.iter().map(|(name, value)| (&name[..], value.expose())).collect();
        assert_eq!(fields, [("x-key", "hunter2 x"), ("y", "1")]);
        assert_eq!(collector.timeout, Duration::from_millis(250));
        assert!(!format!("{collector:?}{collector}").contains("hunter2"));
    }

    #[test]
    fn error_names_its_variable_and_contains_no_secret() {
        for (name, value) in [
            (ENDPOINT, "collector:4317"),
            (TRACES_ENDPOINT, "http://jane:hunter2@[bad"),
            (EXPORTER, "zipkin"),
            (PROTOCOLS[1], "grpc"),
            (TIMEOUTS[0], "10s"),
            (HEADERS[0], "hunter2"),
        ] {
            let mut variables = vec![(name, value)];
            if !name.ends_with("ENDPOINT") {
                variables.push((ENDPOINT, "http://c"));
            }
            let error = read(&variables).expect_err(name);
            assert!(error.starts_with(name) && !error.contains("hunter2"), "{error}");
        }
    }
}

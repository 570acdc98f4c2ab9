//! The environment variables of OpenTelemetry that configure the export of spans. The SDK reads its own variables
//! (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_…`).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use opentelemetry_otlp::Protocol;
use rungs::redact;

/// `true` disables the export.
const DISABLED: &str = "OTEL_SDK_DISABLED";
/// `otlp`, or `none` for no spans. Default: `otlp` if an endpoint is set.
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
/// The URL that spans are sent to, used as it is.
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// The base URL of the collector. Spans go to its `/v1/traces`. Default: `http://localhost:4318`.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The protocol: `http/json` (the default) or `http/protobuf`.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
/// Request headers, as in `name=value,name=value`. The exporter reads them; here they are only checked.
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
/// The timeout of one export in milliseconds. Default: 10000.
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
/// A file with CA certificates to trust.
const CERTIFICATES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];

/// The configuration of the OTLP export.
#[derive(Clone, Debug)]
pub(super) struct OtlpConfig {
    pub(super) url: String,
    pub(super) protocol: Protocol,
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
        let protocol = match first(&PROTOCOLS) {
            None => Protocol::HttpJson,
            Some((_, value)) if value == "http/json" => Protocol::HttpJson,
            Some((_, value)) if value == "http/protobuf" => Protocol::HttpBinary,
            Some((name, value)) => {
                let value = redact::escape_terminal(&value);
                return Err(format!("{name} is `{value}`; expected http/json or http/protobuf"));
            }
        };
        let timeout = match first(&TIMEOUTS) {
            None => TIMEOUT,
            Some((name, value)) => value.trim().parse().map(Duration::from_millis).map_err(|_| {
                format!("{name} is `{}`; expected a number of milliseconds", redact::escape_terminal(&value))
            })?,
        };
        // The message omits the value, which may contain a secret.
        if let Some((name, value)) = first(&HEADERS)
            && !is_header_list(&value)
        {
            return Err(format!("{name} does not have the form `name=value,name=value`"));
        }
        let certificates = first(&CERTIFICATES).map(|(_, path)| path.into());
        Ok(Some(Self { url, protocol, timeout, certificates }))
    }
}

impl fmt::Display for OtlpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact::escape_terminal(&redact::url_text(&self.url)))
    }
}

fn is_header_list(list: &str) -> bool {
    let is_field = |pair: &str| {
        pair.split_once('=').is_some_and(|(name, value)| {
            let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8();
            name.trim().parse::<HeaderName>().is_ok()
                && value.is_ok_and(|value| HeaderValue::from_str(&value).is_ok())
        })
    };
    list.split(',').filter(|pair| !pair.trim().is_empty()).all(is_field)
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
    fn timeout_and_protocol_are_read() {
        let config = |name, value| read(&[(ENDPOINT, "http://c"), (name, value)]).unwrap().unwrap();
        assert_eq!(config(TIMEOUTS[1], "250").timeout, Duration::from_millis(250));
        assert_eq!(config(TIMEOUTS[1], "").protocol, Protocol::HttpJson);
        assert_eq!(config(PROTOCOLS[1], "http/protobuf").protocol, Protocol::HttpBinary);
        assert!(read(&[(ENDPOINT, "http://c"), (HEADERS[1], "x-key=hunter2%20x, y=1")]).is_ok());
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
            (HEADERS[0], "x key=hunter2"),
            (HEADERS[0], "x-key=hunter2%0a"),
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

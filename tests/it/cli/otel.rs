//! Spans that the program exports to a collector over OTLP. Needs the feature `otel`.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::support::{self, Program, RawConnection, RawServer};

/// A collector, and the requests it received: head and body.
struct Collector {
    server: RawServer,
    taken: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Collector {
    fn start() -> Self {
        let taken = Arc::<Mutex<Vec<_>>>::default();
        let received = Arc::clone(&taken);
        let server = RawServer::start(move |conn: &mut RawConnection| {
            loop {
                let head = conn.read_head()?;
                let is_length =
                    |line: &str| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok();
                let length = head.lines().find_map(is_length);
                let length: usize = length.ok_or(io::ErrorKind::InvalidData)?;
                let body = serde_json::from_slice(&conn.read_bytes(length)?)?;
                received.lock().expect("no test panicked with it").push((head, body));
                conn.send(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
                )?;
            }
        });
        Self { server, taken }
    }

    fn requests(&self) -> Vec<(String, Value)> {
        self.taken.lock().expect("no test panicked with it").clone()
    }

    fn spans(&self) -> Vec<Value> {
        let listed = |body: &Value, key: &str| body[key].as_array().expect(key).clone();
        let resources = self.requests().into_iter().flat_map(|(_, body)| listed(&body, "resourceSpans"));
        let scopes = resources.flat_map(|resource| listed(&resource, "scopeSpans"));
        scopes.flat_map(|scope| listed(&scope, "spans")).collect()
    }
}

/// Attributes by name, each as text.
fn attributes(of: &Value) -> BTreeMap<String, String> {
    let pairs = of["attributes"].as_array().expect("attributes");
    let pair = |pair: &Value| {
        let value = pair["value"].as_object().expect("a value").values().next().expect("one kind of value");
        let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        (pair["key"].as_str().expect("a key").to_owned(), text)
    };
    pairs.iter().map(pair).collect()
}

fn one<'a>(spans: &'a [Value], name: &str) -> &'a Value {
    let mut found = spans.iter().filter(|span| span["name"] == name);
    let span = found.next().unwrap_or_else(|| panic!("no span {name} in {spans:?}"));
    assert!(found.next().is_none(), "two spans {name} in {spans:?}");
    span
}

#[test]
fn a_collector_gets_the_spans_of_a_fetch() {
    let (collector, site) = (Collector::start(), RawServer::start(support::keep_answering));
    let program = Program::new()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.server.url(""))
        .variable("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=swordfish%20one")
        .variable("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test");
    let url = site.url("/p?token=hunter2").replace("http://", "http://jane:hunter2@");
    let run = program.run(["fetch", "-vvv", "--tier", "plain", &url]);
    assert_eq!(run.code, 0, "{run}");
    let requests = collector.requests();
    for (head, body) in &requests {
        let head = head.to_lowercase();
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
        assert!(head.contains("\r\nx-tenant: swordfish one\r\n"), "{head}");
        let resource = attributes(&body["resourceSpans"][0]["resource"]);
        assert_eq!(resource["service.name"], "rungs");
        assert_eq!(resource["deployment.environment"], "test");
        assert!(!body.to_string().contains("hunter2"), "{body}");
    }
    let spans = collector.spans();
    assert_eq!(spans.len(), 2, "what carries the spans has none itself: {spans:?}");
    let (fetch, attempt) = (one(&spans, "fetch"), one(&spans, "attempt"));
    assert_eq!((&fetch["kind"], &attempt["kind"]), (&1.into(), &3.into()));
    assert_eq!((&attempt["parentSpanId"], &fetch["parentSpanId"]), (&fetch["spanId"], &"".into()));
    assert_eq!(attempt["traceId"], fetch["traceId"]);
    assert_eq!(fetch["traceId"].as_str().map(str::len), Some(32));
    let nanos = |span: &Value, key: &str| span[key].as_str().expect(key).parse::<u64>().expect("a number");
    assert!(nanos(fetch, "startTimeUnixNano") <= nanos(attempt, "startTimeUnixNano"));
    assert!(nanos(attempt, "startTimeUnixNano") < nanos(attempt, "endTimeUnixNano"));
    let status = "http.response.status_code";
    let pairs = attempt["attributes"].as_array().expect("attributes");
    let number = pairs.iter().find(|pair| pair["key"] == status).expect("it was answered");
    assert_eq!(number["value"], serde_json::json!({ "intValue": "200" }), "a number is no text");
    let values = attributes(attempt);
    assert_eq!(values["http.request.method"], "GET");
    assert_eq!(values["url.full"], format!("{}?***", site.url("/p")));
    assert_eq!(values["http.response.status_code"], "200");
    assert!(!run.stderr.contains("swordfish"), "{run}");
    // OTLP's "unset", which may also be left out.
    assert_eq!(fetch["status"]["code"].as_u64().unwrap_or(0), 0, "{}", fetch["status"]);
}

#[test]
fn a_failed_fetch_has_the_status_error() {
    let (collector, site) = (Collector::start(), RawServer::start(support::closes_at_once));
    let program = Program::new()
        .variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &collector.server.url("/elsewhere"))
        .variable("OTEL_SERVICE_NAME", "nightly");
    let run = program.run(["fetch", "--tier", "plain", "--retry", "0", &site.url("/")]);
    assert_eq!(run.code, 1, "{run}");
    let (head, body) = collector.requests().remove(0);
    assert!(head.starts_with("POST /elsewhere HTTP/1.1\r\n"), "{head}");
    assert_eq!(attributes(&body["resourceSpans"][0]["resource"])["service.name"], "nightly");
    let spans = collector.spans();
    assert_eq!(one(&spans, "fetch")["status"]["code"], 2);
    assert_eq!(attributes(one(&spans, "attempt"))["error.type"], "protocol");
}

#[test]
fn an_unreachable_collector_changes_no_fetch_and_is_reported_once() {
    let site = RawServer::start(support::keep_answering);
    let gone = RawServer::start(support::closes_at_once).url("");
    let program = Program::new()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &gone)
        .variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1");
    let urls: Vec<String> = (0..5).map(|n| site.url(&format!("/{n}"))).collect();
    let run = program.run(["fetch", "--tier", "plain"].into_iter().chain(urls.iter().map(String::as_str)));
    assert_eq!(run.code, 0, "{run}");
    assert!(run.text().contains("answer"), "{run}");
    assert_eq!(run.stderr.matches("spans are lost").count(), 1, "{run}");
    let quiet = program.run(["fetch", "-q", "--tier", "plain", &urls[0]]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""), "{quiet}");
}

#[test]
fn a_silent_collector_delays_nothing_and_lost_spans_are_reported() {
    let (site, silent) =
        (RawServer::start(support::keep_answering), RawServer::start(support::never_answers));
    let program = Program::new()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &silent.url(""))
        .variable("OTEL_EXPORTER_OTLP_TIMEOUT", "600000")
        .variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
        .variable("OTEL_BSP_MAX_QUEUE_SIZE", "2")
        // Far less than the export timeout.
        .limit(Duration::from_secs(60));
    let list: String = (0..40).map(|n| site.url(&format!("/{n}\n"))).collect();
    std::fs::write(program.home().join("urls.txt"), list).expect("a list is written");
    let run = program.run(["batch", "urls.txt", "--out", "o.jsonl", "--tier", "plain", "--robots", "ignore"]);
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.contains("40 succeeded"), "{run}");
    assert!(run.stderr.contains("dropped a Span due to queue full"), "{run}");
    assert_eq!(run.stderr.matches("the last spans are lost").count(), 1, "{run}");
}

#[test]
fn wrong_collector_settings_are_reported_and_the_fetch_goes_on() {
    let site = RawServer::start(support::keep_answering);
    let program = Program::new()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        .variable("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let run = program.run(["fetch", "--tier", "plain", &site.url("/")]);
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.contains("sending no spans: OTEL_EXPORTER_OTLP_PROTOCOL is `grpc`"), "{run}");
}

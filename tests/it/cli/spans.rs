//! The spans of a fetch, recorded by a subscriber.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex};

use rungs::batch::Batch;
use rungs::lab::{Exchange, Recorder, Reply};
use rungs::{Fetcher, RobotsPolicy, Tier};
use tracing::Dispatch;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Spans in the order in which they began.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<BTreeMap<u64, Span>>>);

#[derive(Clone, Debug, Default)]
struct Span {
    name: &'static str,
    parent: Option<u64>,
    fields: BTreeMap<&'static str, String>,
    is_closed: bool,
}

impl Spans {
    /// Records the spans of this thread until the guard is dropped.
    fn listen() -> (Self, DefaultGuard) {
        // With a single subscriber, `tracing` caches per call site whether a span is enabled, as the first thread there
        // answers. That thread may belong to another test, which has no subscriber.
        static OTHERS: LazyLock<[Dispatch; 2]> =
            LazyLock::new(|| [(); 2].map(|()| Dispatch::new(tracing_subscriber::registry())));
        LazyLock::force(&OTHERS);
        let spans = Self::default();
        let subscriber = tracing_subscriber::registry().with(spans.clone());
        (spans, tracing::subscriber::set_default(subscriber))
    }

    /// The spans below `parent`, as a tree of names: `fetch(attempt attempt)`.
    fn tree(&self, parent: Option<u64>) -> String {
        let children: Vec<(u64, Span)> = self.of(parent);
        let shown = |(id, span): &(u64, Span)| match self.tree(Some(*id)).as_str() {
            "" => span.name.to_owned(),
            below => format!("{}({below})", span.name),
        };
        children.iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    fn of(&self, parent: Option<u64>) -> Vec<(u64, Span)> {
        let spans = self.0.lock().expect("no test panicked with it");
        spans.iter().filter(|(_, span)| span.parent == parent).map(|(id, span)| (*id, span.clone())).collect()
    }

    /// All spans with this name.
    fn named(&self, name: &str) -> Vec<Span> {
        let spans = self.0.lock().expect("no test panicked with it");
        spans.values().filter(|span| span.name == name).cloned().collect()
    }
}

impl Span {
    fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }
}

/// Our own spans, numbered in the order in which they begin.
struct Number(u64);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).expect("it was just made");
        if !span.metadata().target().starts_with("rungs") {
            return;
        }
        let parent = span.parent().and_then(|parent| parent.extensions().get::<Number>().map(|it| it.0));
        let mut noted = Span { name: span.name(), parent, ..Span::default() };
        attributes.record(&mut noted);
        let mut spans = self.0.lock().expect("no test panicked with it");
        let number = spans.len() as u64;
        spans.insert(number, noted);
        span.extensions_mut().insert(Number(number));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.change(id, &context, |span| values.record(span));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.change(&id, &context, |span| span.is_closed = true);
    }
}

impl Spans {
    fn change<S: tracing::Subscriber + for<'a> LookupSpan<'a>>(
        &self,
        id: &Id,
        context: &Context<'_, S>,
        change: impl FnOnce(&mut Span),
    ) {
        let number = context.span(id).and_then(|span| span.extensions().get::<Number>().map(|it| it.0));
        let mut spans = self.0.lock().expect("no test panicked with it");
        if let Some(span) = number.and_then(|number| spans.get_mut(&number)) {
            change(span);
        }
    }
}

impl Visit for Span {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

const PAGE: &str = "<!doctype html><title>a page</title><p>A page with some words in it.</p>";

/// A site that serves only browsers and has no robots.txt.
fn browsers_only(heard: &Exchange) -> Reply {
    if heard.request.path == "/robots.txt" {
        return Reply::html(404, "");
    }
    if heard.request.header("user-agent").unwrap_or_default().starts_with("Mozilla/") {
        return Reply::html(200, PAGE);
    }
    let challenge = "<!doctype html><title>Just a moment...</title><script>window._cf_chl_opt = {}</script>";
    Reply::html(403, challenge).header("cf-mitigated", "challenge")
}

#[tokio::test]
async fn a_fetch_that_climbs_is_a_tree_of_spans() {
    let server = Recorder::builder().start(browsers_only).await.expect("it listens");
    let fetcher = Fetcher::builder().max_tier(Tier::Impersonate).build().expect("good settings");
    let (spans, _guard) = Spans::listen();
    let url = format!("http://jane:hunter2@{}/p/1?api_key=swordfish#part", server.addr());
    let page = fetcher.session("checkout").get(&url).robots(RobotsPolicy::Obey).send().await.expect("a page");
    assert_eq!(spans.tree(None), "fetch(robots attempt attempt)");
    let (fetch, attempts) = (&spans.named("fetch")[0], spans.named("attempt"));
    let port = server.addr().port().to_string();
    let place = format!("http://127.0.0.1:{port}/p/1?***");
    for span in attempts.iter().chain([fetch]) {
        assert!(span.is_closed, "{span:?}");
        let asked = ["http.request.method", "url.full", "server.address", "server.port"];
        assert_eq!(asked.map(|name| span.get(name)), ["GET", &place, "127.0.0.1", &port]);
    }
    let ended =
        ["rungs.session", "rungs.tier", "rungs.verdict", "rungs.attempts", "http.response.status_code"];
    assert_eq!(ended.map(|name| fetch.get(name)), ["checkout", "impersonate", "genuine", "2", "200"]);
    assert_eq!(fetch.get("rungs.body_bytes"), page.body_len().to_string());
    assert_eq!(fetch.get("error.type"), "");
    let fields = ["rungs.tier", "http.response.status_code", "rungs.verdict", "rungs.next", "error.type"];
    let (first, second) = (&attempts[0], &attempts[1]);
    let climb = "climb: cloudflare challenge";
    assert_eq!(
        fields.map(|name| first.get(name)),
        ["plain", "403", "cloudflare challenge", climb, "challenge"]
    );
    assert_eq!(fields.map(|name| second.get(name)), ["impersonate", "200", "genuine", "", ""]);
    let why = ["rungs.why", "http.request.resend_count", "otel.status_code", "otel.kind"];
    assert_eq!(why.map(|name| first.get(name)), ["", "", "ERROR", "client"]);
    assert_eq!(why.map(|name| second.get(name)), [climb, "1", "", "client"]);
    assert_eq!(second.get("rungs.browser_profile"), page.browser_profile().expect("it has one"));
    assert!(!second.get("rungs.elapsed_ms").is_empty());
    assert_eq!(spans.named("robots")[0].get("http.response.status_code"), "404");
    let all = format!("{:?}", spans.0.lock().expect("no test panicked with it"));
    for secret in ["jane", "hunter2", "swordfish"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[tokio::test]
async fn a_failed_fetch_is_marked_in_its_spans() {
    let server = Recorder::builder().start(browsers_only).await.expect("it listens");
    let (spans, _guard) = Spans::listen();
    let fetcher = Fetcher::builder().max_tier(Tier::Plain).build().expect("good settings");
    fetcher.get(format!("http://{}/", server.addr())).send().await.expect_err("it is blocked");
    fetcher.get("http://[bad/").send().await.expect_err("that is no URL");
    assert_eq!(spans.tree(None), "fetch(attempt) fetch");
    let ended = spans.named("fetch");
    let fields = ["error.type", "otel.status_code", "rungs.attempts"];
    assert_eq!(fields.map(|name| ended[0].get(name)), ["blocked", "ERROR", "1"]);
    assert_eq!(fields.map(|name| ended[1].get(name)), ["invalid_url", "ERROR", "0"]);
}

#[tokio::test]
async fn a_batch_is_the_root_of_its_fetches() {
    let server = Recorder::builder().start(|_| Reply::html(200, PAGE)).await.expect("it listens");
    let fetcher = Fetcher::builder().max_tier(Tier::Plain).build().expect("good settings");
    let (spans, _guard) = Spans::listen();
    let urls: Vec<String> = (0..3).map(|n| format!("http://{}/{n}", server.addr())).collect();
    let mut run = Batch::new(fetcher).robots(RobotsPolicy::Ignore).run(urls).expect("it starts");
    while let Some(done) = run.next().await {
        done.result.expect("a page");
    }
    run.finish().await.expect("it ends well");
    assert_eq!(spans.tree(None), "batch(fetch(attempt) fetch(attempt) fetch(attempt))");
    let batch = &spans.named("batch")[0];
    let counted = ["rungs.attempted", "rungs.succeeded", "rungs.blocked", "rungs.failed"];
    assert_eq!(counted.map(|name| batch.get(name)), ["3", "3", "0", "0"]);
    assert!(batch.is_closed);
}

#[cfg(feature = "browser")]
#[tokio::test]
async fn a_browsers_launch_and_the_visit_of_a_page_have_spans() {
    let server = Recorder::builder().start(|_| Reply::html(200, PAGE)).await.expect("it listens");
    let fetcher = Fetcher::builder().build().expect("good settings");
    let (spans, _guard) = Spans::listen();
    let url = format!("http://{}/?q=swordfish", server.addr());
    fetcher.get(url).tier(Tier::Browser).send().await.expect("a page");
    fetcher.close().await;
    assert_eq!(spans.tree(None), "fetch(attempt(browser_launch visit))");
    let (launch, visit) = (&spans.named("browser_launch")[0], &spans.named("visit")[0]);
    assert!(
        !launch.get("process.pid").is_empty() && launch.get("rungs.browser").contains("Chrom"),
        "{launch:?}"
    );
    assert_eq!(visit.get("process.pid"), launch.get("process.pid"));
    assert_eq!(visit.get("url.full"), format!("http://{}/?***", server.addr()));
    assert_eq!([visit.get("http.response.status_code"), visit.get("rungs.settled")], ["200", "true"]);
    assert!(launch.is_closed && visit.is_closed);
}

#[cfg(not(feature = "otel"))]
#[test]
fn a_build_without_otel_warns_about_a_configured_collector() {
    let program =
        crate::support::Program::new().variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    let run = program.run(["doctor", "-v"]);
    assert!(run.stderr.contains("this build sends no spans"), "{run}");
    assert!(!program.run(["doctor"]).stderr.contains("spans"));
}

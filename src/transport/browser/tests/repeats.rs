//! Requests and files behind challenges.

use super::*;

/// Method, path, body, and whether the clearance was there.
type SeenRequest = (String, String, String, bool);

/// Challenges every request without the clearance, and counts the requests that arrive.
struct ChallengedSite {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<SeenRequest>>>,
}

impl ChallengedSite {
    /// `script` passes the challenge. `released` makes the response behind it from the request's text.
    async fn start(script: &'static str, released: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let seen: Arc<Mutex<Vec<_>>> = Arc::default();
        let log = Arc::clone(&seen);
        let address = serve(move |text| {
            if path(text) == "/favicon.ico" {
                return answer("404 Not Found", &[], "");
            }
            let cleared = text.contains("clear=1");
            let method = text.split(' ').next().unwrap_or_default().to_owned();
            let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
            log.lock().unwrap().push((method, path(text).to_owned(), body, cleared));
            if cleared {
                return released(text);
            }
            // The marker is in the body: the head does not say that this is a challenge.
            let body = format!("<p>challenge</p><script>{script}</script>");
            answer("200 OK", &["Content-Type: text/html"], &body)
        })
        .await;
        Self { address, seen }
    }

    async fn send(&self, bench: &Bench, method: Method, body: Option<&'static str>) -> Result<RawResponse> {
        let url = format!("http://{}/api", self.address);
        let mut request = Request::get(url.parse().unwrap());
        (request.method, request.body) = (method, body.map(Into::into));
        bench.send(&test_identity(), &request, None).await
    }

    /// Returns the requests that arrived with the clearance: method and body.
    fn cleared(&self) -> Vec<(String, String)> {
        let seen = self.seen.lock().unwrap();
        let cleared = seen.iter().filter(|(_, at, _, cleared)| *cleared && at == "/api");
        cleared.map(|(method, _, body, _)| (method.clone(), body.clone())).collect()
    }
}

fn bench() -> Bench {
    Bench::new(|options| {
        options.still_challenged = Some(Arc::new(|_, _, _, body| {
            let is_challenge = body.windows(9).any(|text| text == b"challenge");
            if is_challenge { PageVerdict::VendorChallenge } else { PageVerdict::Page }
        }));
    })
}

const RELOAD: &str = "setTimeout(()=>{document.cookie='clear=1;path=/';location.reload()},100)";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_behind_a_challenge_keeps_its_method_and_body_and_acts_once() {
    let bench = bench();
    let elsewhere = "setTimeout(()=>{document.cookie='clear=1;path=/';location.href='/passed'},100)";
    for (script, method) in
        [(RELOAD, Method::POST), (RELOAD, Method::PUT), (RELOAD, Method::DELETE), (elsewhere, Method::POST)]
    {
        let site = ChallengedSite::start(script, |text| match path(text) {
            "/passed" => page("passed"),
            _ => page(&format!("got {}", text.split_once("\r\n\r\n").unwrap().1)),
        })
        .await;
        let got = site.send(&bench, method.clone(), Some("q=1")).await.unwrap();
        assert!(text(&got).contains("got q=1"), "{method} {script}: {}", text(&got));
        assert_eq!(site.cleared(), [(method.to_string(), "q=1".to_owned())], "{script}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_repeated_request_may_be_empty() {
    let site =
        ChallengedSite::start(RELOAD, |_| "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_owned())
            .await;
    let got = site.send(&bench(), Method::POST, Some("q=1")).await.unwrap();
    assert_eq!(got.status.as_u16(), 204);
    assert_eq!(site.cleared(), [("POST".to_owned(), "q=1".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_server_acted_on_is_not_sent_again() {
    // The POST redirects to itself, and only the GET that follows meets the challenge.
    let posts = Arc::new(Mutex::new(0));
    let count = Arc::clone(&posts);
    let server = serve(move |text| {
        if text.starts_with("POST") {
            *count.lock().unwrap() += 1;
            return answer("303 See Other", &["Location: /api"], "");
        }
        if text.contains("clear=1") {
            return page("done");
        }
        page(&format!("<p>challenge</p><script>{RELOAD}</script>"))
    })
    .await;
    let mut request = Request::get(format!("http://{server}/api").parse().unwrap());
    (request.method, request.body) = (Method::POST, Some("q=1".into()));
    let got = text(&bench().send(&test_identity(), &request, None).await.unwrap());
    assert!(got.contains("done"), "{got}");
    assert_eq!(*posts.lock().unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_no_challenge_answered_is_not_sent_again() {
    let server = serve(|text| {
        let script =
            "<script>if(!location.hash){location.hash='x';setTimeout(()=>location.reload(),100)}</script>";
        page(&format!("{} {script}", text.split(' ').next().unwrap()))
    })
    .await;
    let mut request = Request::get(format!("http://{server}/").parse().unwrap());
    (request.method, request.body) = (Method::POST, Some("q=1".into()));
    let got = text(&bench().send(&test_identity(), &request, None).await.unwrap());
    assert!(got.contains("GET"), "the page has reloaded itself: {got}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_behind_a_challenge_comes_as_its_bytes() {
    let bench = bench();
    for headers in [
        &["Content-Type: application/pdf"][..],
        &["Content-Type: text/csv", "Content-Disposition: attachment; filename=a.csv"],
        &["Content-Type: text/html", "Content-Disposition: attachment"],
        &["Content-Type: application/zip"],
        &["Content-Type: video/mp4"],
        &[],
    ] {
        let site = ChallengedSite::start(RELOAD, move |_| answer("200 OK", headers, "%PDF-1.4 a file")).await;
        let got = site.send(&bench, Method::GET, None).await.unwrap();
        assert_eq!(text(&got), "%PDF-1.4 a file", "{headers:?}");
        assert_eq!(got.status.as_u16(), 200);
    }
    let site = ChallengedSite::start(RELOAD, |text| match path(text) {
        "/stored" => answer("200 OK", &["Content-Type: application/zip"], "stored"),
        _ => answer("302 Found", &["Location: /stored"], ""),
    })
    .await;
    assert_eq!(text(&site.send(&bench, Method::GET, None).await.unwrap()), "stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_leads_to_a_file_is_the_file_or_stays_as_in_the_browser() {
    let server = serve(|text| match path(text) {
        "/pdf" => answer("200 OK", &["Content-Type: application/pdf"], "%PDF-1.4 a file"),
        "/untyped" => answer("200 OK", &[], "%PDF-1.4 a file"),
        "/audio" => answer("200 OK", &["Content-Type: audio/mpeg"], "a file"),
        "/zip" => answer("200 OK", &["Content-Type: application/zip"], "a file"),
        "/offer" => page("the page<script>onload=()=>setTimeout(()=>location='/zip')</script>"),
        path => page(&format!("<script>location.replace('{}')</script>", path.trim_start_matches("/to"))),
    })
    .await;
    let bench = bench();
    for path in ["/pdf", "/untyped", "/audio", "/to/pdf", "/to/untyped", "/to/audio", "/to/zip"] {
        let got = bench.get(&test_identity(), &format!("http://{server}{path}")).await.unwrap();
        assert!(text(&got).ends_with("a file"), "{path}: {}", text(&got));
        assert!(got.url.path().ends_with(path.trim_start_matches("/to")), "{path}: {}", got.url);
    }
    let got = bench.get(&test_identity(), &format!("http://{server}/offer")).await.unwrap();
    assert!(text(&got).contains("the page"), "a download leaves the page: {}", text(&got));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_clearance_moves_to_the_jar_and_back_into_a_browser() {
    let server = serve(|text| {
        if path(text) != "/" {
            return answer("404 Not Found", &[], "");
        }
        let sent = text.lines().find_map(|line| line.strip_prefix("Cookie: ")).unwrap_or("none");
        let number = sent.matches("clear=").count() + sent.len();
        let cookie =
            format!("Set-Cookie: clear={number}; Path=/; Secure; SameSite=None; Partitioned; Max-Age=1000");
        answer("200 OK", &["Content-Type: text/html", &cookie], &format!("[{sent}]"))
    })
    .await;
    let (identity, url) = (test_identity(), format!("http://{server}/"));
    let pairs = || identity.jar().pairs(&url.parse().unwrap());
    let got = text(&bench().get(&identity, &url).await.unwrap());
    assert!(got.contains("[none]"), "{got}");
    assert_eq!(pairs(), [("clear".to_owned(), "4".to_owned())]);
    assert!(identity.jar().list()[0].partitioned);
    // In another browser, the site replaces the cookie instead of adding a second one.
    let second = bench();
    let got = text(&second.get(&identity, &url).await.unwrap());
    assert!(got.contains("[clear=4]"), "{got}");
    assert_eq!(pairs(), [("clear".to_owned(), "8".to_owned())]);
    let got = text(&second.get(&identity, &url).await.unwrap());
    assert!(got.contains("[clear=8]"), "{got}");
}

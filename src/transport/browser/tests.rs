//! Against the installed Chromium, on small servers on loopback. They fail where there is none.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

use super::*;
use crate::bounds::Bounds;
use crate::fingerprint::Profile;
use crate::request::Request;
use crate::response::{Body, HttpVersion};
use crate::view::View;

type Handler = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Answers every request with what `handler` makes of its head and body; an empty answer is never
/// sent, and the connection stays open.
async fn serve(handler: impl Fn(&str) -> String + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handler: Handler = Arc::new(handler);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(exchange(stream, Arc::clone(&handler)));
        }
    });
    address
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, handler: Handler) {
    let mut bytes = Vec::new();
    let text = loop {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break text;
        }
    };
    let answer = handler(&text);
    if answer.is_empty() {
        tokio::time::sleep(Duration::from_secs(120)).await;
    }
    // The browser may have gone meanwhile.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn answer(status: &str, headers: &[&str], body: &str) -> String {
    let headers = headers.iter().flat_map(|line| [*line, "\r\n"]).collect::<String>();
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn page(body: &str) -> String {
    answer("200 OK", &["Content-Type: text/html"], body)
}

fn path(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

/// A tier with its folders in a place of its own, so that tests can look at what is left.
struct Bench {
    tier: BrowserTransport,
    scratch: tempfile::TempDir,
    bounds: Bounds,
}

impl Bench {
    fn new(change: impl FnOnce(&mut BrowserOptions)) -> Self {
        assert!(find().is_some(), "these tests need a Chromium: `make deps`");
        let scratch = tempfile::tempdir().unwrap();
        let mut options =
            BrowserOptions { scratch_parent: scratch.path().to_owned(), ..BrowserOptions::default() };
        change(&mut options);
        Self { tier: BrowserTransport::new(options), scratch, bounds: Bounds::default() }
    }

    async fn get(&self, identity: &Identity, url: &str) -> Result<Answer> {
        self.send(identity, &Request::get(url.parse().unwrap()), None).await
    }

    async fn send(&self, identity: &Identity, request: &Request, wait_for: Option<&str>) -> Result<Answer> {
        let view = View { wait_for: wait_for.map(str::to_owned), ..View::default() };
        let job = Job { request, identity, bounds: &self.bounds, view: &view, streaming: false, gate: None };
        self.tier.attempt(job).await
    }

    async fn pid(&self) -> u32 {
        self.tier.warm.lock().await.as_ref().unwrap().process.pid().unwrap()
    }

    async fn open_pages(&self) -> usize {
        let warm = self.tier.warm.lock().await;
        let targets = target::GetTargetsParams::default();
        let all = warm.as_ref().unwrap().connection.run(None, &targets, COMMAND_LIMIT).await.unwrap();
        all.target_infos.iter().filter(|info| info.r#type == "page").count()
    }

    fn left_behind(&self) -> usize {
        std::fs::read_dir(self.scratch.path()).unwrap().count()
    }
}

fn someone() -> Identity {
    through(None)
}

fn through(proxy: Option<crate::proxy::Proxy>) -> Identity {
    Identity::new("test", Profile::named("chrome-156-linux").unwrap(), proxy)
}

fn text(answer: &Answer) -> String {
    match &answer.body {
        Body::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Body::Coming(_) => panic!("a browser's body is whole"),
    }
}

/// Processes whose group is `group`, zombies left out.
fn alive(group: u32) -> Vec<String> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .filter(|stat| {
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
            fields[0] != "Z" && fields[2] == group.to_string()
        })
        .collect()
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_built_by_script_comes_with_its_own_status_and_headers() {
    let server = serve(|head| match path(head) {
        "/" => answer(
            "404 Not Found",
            &["Content-Type: text/html; charset=iso-8859-1", "X-Two: a", "X-Two: b", "Set-Cookie: c=1"],
            "<p id=p></p><script>document.getElementById('p').textContent='built '+(6*7)</script><img src=/i>",
        ),
        _ => answer("200 OK", &["X-Two: no"], ""),
    })
    .await;
    let bench = Bench::new(|_| {});
    let got = bench.get(&someone(), &format!("http://{server}/")).await.unwrap();
    assert_eq!((got.status.as_u16(), got.version), (404, HttpVersion::Http11));
    assert!(text(&got).contains("<p id=\"p\">built 42</p>"), "{}", text(&got));
    assert_eq!(got.headers.get_all("x-two").iter().count(), 2);
    assert_eq!(got.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(got.headers["set-cookie"], "c=1");
    assert!(got.timings.first_byte > Duration::ZERO);
}

const WHO: &str = "async function who(){const h=navigator.userAgentData?await navigator.userAgentData.\
    getHighEntropyValues(['fullVersionList','platformVersion','architecture','bitness']):{};\
    return JSON.stringify([navigator.userAgent,h.brands,h.fullVersionList,h.architecture,h.bitness,\
    navigator.languages,navigator.platform])}";

#[tokio::test(flavor = "multi_thread")]
async fn page_frames_and_workers_are_all_the_profile_s_browser() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let recorder = Arc::clone(&heads);
    let server = serve(move |head| {
        recorder.lock().unwrap().push(head.to_owned());
        let script = |text: &str| answer("200 OK", &["Content-Type: text/javascript"], text);
        match path(head) {
            "/worker" => script(&format!("{WHO} who().then(w=>postMessage(w))")),
            "/shared" => script(&format!("{WHO} onconnect=e=>who().then(w=>e.ports[0].postMessage(w))")),
            "/service" => script(&format!("{WHO} onmessage=e=>who().then(w=>e.source.postMessage(w))")),
            "/frame" => page(&format!("<script>{WHO} who().then(w=>parent.postMessage(w,'*'))</script>")),
            "/" => page(&format!(
                "<title>x</title><script>{WHO}
                const put=(id,t)=>{{const p=document.createElement('p');p.id=id;p.textContent=t;document.body.append(p)}};
                onload=()=>{{
                who().then(w=>put('page',w)); put('driver',String(navigator.webdriver));
                new Worker('/worker').onmessage=e=>put('worker',e.data);
                const s=new SharedWorker('/shared'); s.port.onmessage=e=>put('shared',e.data); s.port.start();
                navigator.serviceWorker.onmessage=e=>put('service',e.data);
                navigator.serviceWorker.register('/service').then(()=>navigator.serviceWorker.ready)
                  .then(r=>r.active.postMessage(''));
                onmessage=e=>put('frame',e.data);
                const f=document.createElement('iframe'); f.src=location.href.replace('127.0.0.1','localhost')+'frame';
                document.body.append(f);
                }}</script>"
            )),
            _ => answer("404 Not Found", &[], "no"),
        }
    })
    .await;
    let bench = Bench::new(|_| {});
    let request = Request::get(format!("http://{server}/").parse().unwrap());
    let all = Some("body:has(#page):has(#worker):has(#shared):has(#service):has(#frame)");
    let got = text(&bench.send(&someone(), &request, all).await.unwrap());
    let said = |id: &str| {
        let start = got.find(&format!("<p id=\"{id}\">")).unwrap_or_else(|| panic!("no {id} in {got}"));
        got[start..].split(['>', '<']).nth(2).unwrap().to_owned()
    };
    assert_eq!(said("driver"), "false");
    let page = said("page");
    assert!(!page.contains("Headless"), "{page}");
    let profile = Profile::named("chrome-156-linux").unwrap();
    let worn = profile.browser.as_ref().unwrap();
    let brand = |list: &[Brand]| {
        let one = |b: &Brand| format!("{{\"brand\":\"{}\",\"version\":\"{}\"}}", b.brand, b.version);
        format!("[{}]", list.iter().map(one).collect::<Vec<_>>().join(","))
    };
    let want = format!(
        "[\"{}\",{},{},\"x86\",\"64\",[\"en-US\",\"en\"],\"Linux x86_64\"]",
        worn.user_agent,
        brand(&worn.brands),
        brand(&worn.full_version_list)
    );
    assert_eq!(page, want);
    for id in ["worker", "shared", "service", "frame"] {
        assert_eq!(said(id), page, "{id}");
    }
    for head in heads.lock().unwrap().iter() {
        assert!(head.contains(&worn.user_agent) && !head.contains("Headless"), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_go_both_ways_and_a_lent_one_is_not_kept() {
    let server = serve(|head| {
        let sent = head.lines().find_map(|line| line.strip_prefix("Cookie: ")).unwrap_or("none");
        answer(
            "200 OK",
            &["Content-Type: text/html", "Set-Cookie: seen=1; HttpOnly; Max-Age=1000"],
            &format!("<p>[{sent}]</p><script>document.cookie='made=2'</script>"),
        )
    })
    .await;
    let bench = Bench::new(|_| {});
    let identity = someone();
    identity.jar().put(&Cookie::session("own", "0", "127.0.0.1"));
    let url: Url = format!("http://{server}/").parse().unwrap();
    let mut request = Request::get(url.clone());
    request.headers.push((http::header::COOKIE, HeaderValue::from_static("lent=9")));
    let got = text(&bench.send(&identity, &request, None).await.unwrap());
    assert!(got.contains("own=0") && got.contains("lent=9"), "{got}");
    let mut names: Vec<_> = identity.jar().pairs(&url).into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, ["made", "own", "seen"]);
    let other = text(&bench.get(&someone(), url.as_str()).await.unwrap());
    assert!(other.contains("[none]"), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_page_are_answers() {
    let server = serve(|head| match path(head) {
        "/204" => "HTTP/1.1 204 No Content\r\nX-A: b\r\nConnection: close\r\n\r\n".to_owned(),
        "/404" => answer("404 Not Found", &["X-A: b"], ""),
        "/json" => answer("200 OK", &["X-A: b", "Content-Type: application/json"], "{\"a\": 1}"),
        "/login" if head.contains("Authorization: Basic amFuZTpzM2NyZXQ=") => {
            answer("200 OK", &["X-A: b", "Content-Type: text/html"], "jane is in")
        }
        "/401" | "/login" => {
            answer("401 Unauthorized", &["X-A: b", "WWW-Authenticate: Basic realm=r"], "who?")
        }
        _ => answer("200 OK", &["X-A: b", "Content-Type: image/svg+xml"], "<svg/>"),
    })
    .await;
    let bench = Bench::new(|_| {});
    let identity = someone();
    for (place, status, body) in [
        ("204", 204, ""),
        ("404", 404, ""),
        ("401", 401, "who?"),
        ("json", 200, "{\"a\": 1}"),
        ("bytes", 200, "<svg/>"),
        ("login", 200, "jane is in"),
    ] {
        let user = if place == "login" { "jane:s3cret@" } else { "" };
        let got = bench.get(&identity, &format!("http://{user}{server}/{place}")).await;
        let got = got.unwrap_or_else(|error| panic!("{place}: {}", error.chain()));
        assert_eq!((got.status.as_u16(), got.headers["x-a"].to_str().unwrap()), (status, "b"), "{place}");
        assert!(text(&got).contains(body), "{place}: {}", text(&got));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_named_and_bounded() {
    let server = serve(|head| match path(head) {
        "/a" => answer("302 Found", &["Location: /b"], ""),
        "/b" => answer("301 Moved", &["Location: /c"], ""),
        "/c" => page("there"),
        _ => answer("302 Found", &["Location: /x"], ""),
    })
    .await;
    let mut bench = Bench::new(|_| {});
    let identity = someone();
    let got = bench.get(&identity, &format!("http://{server}/a")).await.unwrap();
    let hops: Vec<_> =
        got.redirects.iter().map(|hop| (hop.url.path().to_owned(), hop.status.as_u16())).collect();
    assert_eq!(hops, [("/a".to_owned(), 302), ("/b".to_owned(), 301)]);
    assert_eq!(got.url.path(), "/c");
    for most in [3, 50] {
        bench.bounds.max_redirects = most;
        let loops = bench.get(&identity, &format!("http://{server}/x")).await.err().unwrap();
        assert_eq!(loops.kind(), ErrorKind::Redirect, "{}", loops.chain());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_popups_do_not_hold_a_page_up() {
    let server = serve(|head| match path(head) {
        "/" => page("<script>alert(1);confirm(2);window.open('/popup');window.open('/popup','_blank','noopener');document.write('after')</script>"),
        _ => page("popup"),
    })
    .await;
    let bench = Bench::new(|_| {});
    let got = bench.get(&someone(), &format!("http://{server}/")).await.unwrap();
    assert!(text(&got).contains("after"));
    while bench.open_pages().await > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_and_spinning_pages_end_at_the_deadline_and_hold_nobody_up() {
    let server = serve(|head| match path(head) {
        "/spin" => page("x<script>for(;;){}</script>"),
        "/silent" => String::new(),
        _ => page("fine"),
    })
    .await;
    let mut bench = Bench::new(|options| options.pages = 1);
    bench.bounds.browser_total = Duration::from_secs(3);
    let identity = someone();
    for place in ["spin", "silent"] {
        let error = bench.get(&identity, &format!("http://{server}/{place}")).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{place}: {}", error.chain());
    }
    let missing = Request::get(format!("http://{server}/").parse().unwrap());
    let error = bench.send(&identity, &missing, Some("#never")).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("#never"));
    bench.bounds.browser_total = Duration::from_secs(30);
    assert!(text(&bench.get(&identity, &format!("http://{server}/")).await.unwrap()).contains("fine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_renderer_and_a_dead_browser_are_noticed_and_replaced() {
    let server = serve(|_| page("fine")).await;
    let mut bench = Bench::new(|_| {});
    let identity = someone();
    let url = format!("http://{server}/");
    bench.get(&identity, &url).await.unwrap();
    let request = Request::get(url.parse().unwrap());
    // Far off: who would notice by it only would not answer with a browser error.
    bench.bounds.browser_total = Duration::from_secs(600);
    for whole in [false, true] {
        let browser = bench.pid().await;
        let killer = async {
            tokio::time::sleep(Duration::from_millis(800)).await;
            if whole {
                return kill(browser);
            }
            for stat in alive(browser) {
                let pid = stat.split(' ').next().unwrap().to_owned();
                let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                if line.contains("--type=renderer") {
                    kill(pid.parse().unwrap());
                }
            }
        };
        let (answer, ()) = tokio::join!(bench.send(&identity, &request, Some("#never")), killer);
        assert_eq!(answer.err().unwrap().kind(), ErrorKind::Browser, "whole: {whole}");
        // All renderers were killed, the spare one too: the next page may be given it before the
        // browser knows. The router makes the same one retry.
        let again = match bench.get(&identity, &url).await {
            Err(error) if error.kind() == ErrorKind::Browser => bench.get(&identity, &url).await,
            answer => answer,
        };
        assert!(text(&again.unwrap()).contains("fine"), "whole: {whole}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_attempt_closes_its_page_and_frees_its_place() {
    let server = serve(|head| if path(head) == "/silent" { String::new() } else { page("fine") }).await;
    let bench = Bench::new(|options| options.pages = 1);
    let identity = someone();
    bench.get(&identity, &format!("http://{server}/")).await.unwrap();
    for patience in [0, 5, 30, 400] {
        let silent = format!("http://{server}/silent");
        let slow = bench.get(&identity, &silent);
        assert!(tokio::time::timeout(Duration::from_millis(patience), slow).await.is_err());
        assert!(text(&bench.get(&identity, &format!("http://{server}/")).await.unwrap()).contains("fine"));
    }
    while bench.open_pages().await > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_and_dropping_leave_no_process_and_no_folder() {
    let server = serve(|_| page("fine")).await;
    for close in [true, false] {
        let bench = Bench::new(|_| {});
        bench.get(&someone(), &format!("http://{server}/")).await.unwrap();
        let group = bench.pid().await;
        assert!(!alive(group).is_empty());
        assert_eq!(bench.left_behind(), 1);
        if close {
            bench.tier.close().await;
            assert_eq!(bench.left_behind(), 0);
        } else {
            let Bench { tier, scratch, .. } = bench;
            drop(tier);
            assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        }
        assert_eq!(alive(group), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_that_reloads_the_page_is_waited_for() {
    let server = serve(|head| {
        if head.contains("cleared=1") {
            return page("the real thing");
        }
        let script = "<script>setTimeout(()=>{document.cookie='cleared=1';location.reload()},1500)</script>";
        answer("403 Forbidden", &["Content-Type: text/html"], &format!("wait{script}"))
    })
    .await;
    let bench =
        Bench::new(|options| options.still_challenged = Some(Arc::new(|status, _, _, _| status == 403)));
    let identity = someone();
    let got = bench.get(&identity, &format!("http://{server}/")).await.unwrap();
    assert_eq!(got.status.as_u16(), 200);
    assert!(text(&got).contains("the real thing"));
    assert_eq!(identity.jar().list()[0].name, "cleared");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caller_s_headers_method_and_body_reach_the_site_and_no_other() {
    let other = Arc::new(Mutex::new(String::new()));
    let hears = Arc::clone(&other);
    let third = serve(move |head| {
        hears.lock().unwrap().push_str(head);
        answer("200 OK", &[], "x")
    })
    .await;
    let server = serve(move |head| page(&format!("<xmp>{head}</xmp><img src=http://{third}/i>"))).await;
    let bench = Bench::new(|_| {});
    let mut request = Request::get(format!("http://{server}/form").parse().unwrap());
    request.method = Method::POST;
    request.body = Some("a=1".into());
    for (name, value) in [("x-key", "hunter2"), ("content-type", "text/plain"), ("user-agent", "curl")] {
        request.headers.push((HeaderName::from_static(name), HeaderValue::from_static(value)));
    }
    let got = text(&bench.send(&someone(), &request, None).await.unwrap());
    let lower = got.to_lowercase();
    assert!(got.contains("POST /form HTTP/1.1") && got.contains("\n\na=1"), "{got}");
    assert!(lower.contains("x-key: hunter2") && lower.contains("content-type: text/plain"), "{got}");
    assert!(!lower.contains("curl"), "{got}");
    let third = other.lock().unwrap().clone();
    assert!(third.contains("GET /i") && !third.contains("hunter2"), "{third}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_gets_its_credentials_and_the_page_never_goes_around_it() {
    let direct = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&direct);
    let server = serve(move |_| {
        counts.fetch_add(1, Ordering::Relaxed);
        page("direct")
    })
    .await;
    // jane:s3cret
    let proxy = serve(|head| {
        if head.contains("Proxy-Authorization: Basic amFuZTpzM2NyZXQ=") {
            page("through the proxy")
        } else {
            answer("407 Proxy Authentication Required", &["Proxy-Authenticate: Basic realm=r"], "no")
        }
    })
    .await;
    let bench = Bench::new(|_| {});
    let url = format!("http://{server}/");
    let good = through(Some(format!("http://jane:s3cret@{proxy}").parse().unwrap()));
    assert!(text(&bench.get(&good, &url).await.unwrap()).contains("through the proxy"));
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for bad in [
        format!("http://jane:wrong@{proxy}"),
        format!("http://{proxy}"),
        format!("http://a:b@{dead}"),
        format!("http://{dead}"),
    ] {
        let error = bench.get(&through(Some(bad.parse().unwrap())), &url).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Proxy, "{bad}: {}", error.chain());
    }
    assert_eq!(direct.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_page_without_a_proxy_reaches_no_private_address_by_chromium_s_own_rule() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&asked);
    let private = serve(move |_| {
        counts.fetch_add(1, Ordering::Relaxed);
        answer("200 OK", &["Access-Control-Allow-Origin: *"], "")
    })
    .await;
    let server = serve(move |_| {
        page(&format!(
            "<title>page</title><img src=http://{private}/i><iframe src=http://{private}/f></iframe>\
             <script>fetch('http://{private}/s',{{mode:'no-cors'}}).catch(()=>0)</script>"
        ))
    })
    .await;
    for public in [true, false] {
        let bench = Bench::new(|options| {
            if public {
                options.extra_args.push(format!("--ip-address-space-overrides={server}=public"));
            }
        });
        let got = bench.get(&someone(), &format!("http://{server}/")).await.unwrap();
        assert!(text(&got).contains("<title>page</title>"));
        assert_eq!(asked.load(Ordering::Relaxed) == 0, public, "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_to_connect_have_their_kinds() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closing = serve(|_| "\r\n".to_owned()).await;
    let big = serve(|_| page(&"x".repeat(200_000))).await;
    let mut bench = Bench::new(|options| {
        options.resolve.push(("mapped.example".to_owned(), big.port(), big.ip()));
    });
    let identity = someone();
    for (url, kind) in [
        (format!("http://{dead}/"), ErrorKind::Connect),
        ("http://name.invalid/".to_owned(), ErrorKind::Dns),
        (format!("http://{closing}/"), ErrorKind::Protocol),
    ] {
        let error = bench.get(&identity, &url).await.err().unwrap();
        assert_eq!(error.kind(), kind, "{url}: {}", error.chain());
    }
    let mapped = format!("http://mapped.example:{}/", big.port());
    assert_eq!(bench.get(&identity, &mapped).await.unwrap().status.as_u16(), 200);
    bench.bounds.max_body = 100_000;
    assert_eq!(bench.get(&identity, &mapped).await.err().unwrap().kind(), ErrorKind::BodyTooLarge);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_checked_against_the_browser_s_roots_and_the_ca_file() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let ca = params.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(params, key);
    let leaf_key = rcgen::KeyPair::generate().unwrap();
    let mut leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
    let mut acceptor =
        boring::ssl::SslAcceptor::mozilla_intermediate_v5(boring::ssl::SslMethod::tls()).unwrap();
    acceptor.set_certificate(&boring::x509::X509::from_der(leaf.der()).unwrap()).unwrap();
    acceptor
        .set_private_key(&boring::pkey::PKey::private_key_from_der(&leaf_key.serialize_der()).unwrap())
        .unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = tokio_boring::accept(&acceptor, stream).await {
                tokio::spawn(exchange(stream, Arc::new(|_: &str| page("secret"))));
            }
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, ca.pem()).unwrap();

    let strict = Bench::new(|_| {});
    let error = strict.get(&someone(), &url).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.chain().contains("ERR_CERT_AUTHORITY_INVALID"), "{}", error.chain());
    let trusting = Bench::new(|options| options.ca_file = Some(file));
    assert!(text(&trusting.get(&someone(), &url).await.unwrap()).contains("secret"));
    let careless = Bench::new(|options| options.insecure = true);
    let got = careless.get(&someone(), &url).await.unwrap();
    assert!(text(&got).contains("secret") && got.timings.tls > Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn never_more_pages_than_allowed_are_open() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = serve(|_| page("fine")).await;
    let bench = Bench::new(|options| options.pages = 2);
    let identity = someone();
    let url = format!("http://{server}/");
    bench.get(&identity, &url).await.unwrap();
    let looks = async {
        for _ in 0..40 {
            now.store(bench.open_pages().await, Ordering::Relaxed);
            most.fetch_max(now.load(Ordering::Relaxed), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let fetches = futures_util::future::join_all((0..6).map(|_| bench.get(&identity, &url)));
    let (answers, ()) = tokio::join!(fetches, looks);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(most.load(Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_cannot_start_is_a_browser_error() {
    let bench = Bench::new(|options| options.executable = Some("/bin/false".into()));
    let error = bench.get(&someone(), "http://127.0.0.1/").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Browser);
    assert_eq!(bench.left_behind(), 0);
}

#[tokio::test]
async fn contexts_are_spared_while_used_and_kept_within_bounds() {
    let make = |id: u64| (id, Arc::new(Context::new(id.to_string(), None)));
    let contexts: HashMap<u64, Arc<Context>> = (0..12).map(make).collect();
    let used = Arc::clone(&contexts[&3]);
    let gone = spare(&contexts, 4);
    assert_eq!(gone.len(), 12 - CONTEXTS_KEPT);
    assert!(!gone.contains(&3) && !gone.contains(&4));
    drop(used);
}

/// Run by the next test in a process of its own, to be killed there.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits to be killed"]
async fn holds_a_browser_until_killed() {
    let server = serve(|_| String::new()).await;
    let parent = std::env::var_os(ORPHAN_SCRATCH).expect("set by who runs this");
    let bench = Bench::new(|options| options.scratch_parent = parent.clone().into());
    let identity = someone();
    let url = format!("http://{server}/");
    let stuck = bench.get(&identity, &url);
    let tell = async {
        while bench.tier.warm.lock().await.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::fs::write(std::path::Path::new(&parent).join("pid"), bench.pid().await.to_string()).unwrap();
    };
    let _ = tokio::join!(stuck, tell);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_owner_leaves_no_browser_and_its_folder_is_swept() {
    let place = tempfile::tempdir().unwrap();
    let mut owner = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "transport::browser::tests::holds_a_browser_until_killed"])
        .env(ORPHAN_SCRATCH, place.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let group: u32 = loop {
        let said = std::fs::read_to_string(place.path().join("pid")).unwrap_or_default();
        if let Ok(pid) = said.parse() {
            break pid;
        }
        assert!(owner.try_wait().unwrap().is_none(), "it ended by itself");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(!alive(group).is_empty());
    owner.kill().unwrap();
    owner.wait().unwrap();
    while !alive(group).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let folders = || std::fs::read_dir(place.path()).unwrap().count() - 1;
    assert_eq!(folders(), 1);
    scratch::sweep(place.path());
    assert_eq!(folders(), 0);
}

const ORPHAN_SCRATCH: &str = "RUNGS_TEST_ORPHAN_SCRATCH";

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_an_element_ends_at_once_for_no_selector_and_with_the_refusal_of_a_site_that_refuses() {
    let site = serve(|head| match path(head) {
        "/refused" => answer("403 Forbidden", &["Content-Type: text/html"], "<p>no"),
        _ => page("<p>yes"),
    })
    .await;
    let mut bench = Bench::new(|_| {});
    bench.bounds.browser_total = Duration::from_secs(10);
    let identity = someone();
    let request = |path: &str| Request::get(format!("http://{site}{path}").parse().unwrap());
    let error = bench.send(&identity, &request("/"), Some("[[")).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{}", error.chain());
    let answer = bench.send(&identity, &request("/refused"), Some("#never")).await.unwrap();
    assert_eq!(answer.status, 403);
}

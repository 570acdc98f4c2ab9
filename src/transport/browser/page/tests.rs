//! Tests of pages and of the results of visits, on the installed Chromium.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::exchange::error::Result;
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::Request;
use crate::exchange::response::{Body, RawResponse};
use crate::fingerprint::Profile;
use crate::identity::Identity;
use crate::net::AttemptRequest;
use crate::net::{Connector, TrustConfig};
use crate::settings::limits::Limits;
use crate::settings::render::{BodySource, RenderOptions, ResourceKind};
use crate::transport::Transport;
use crate::transport::browser::{BrowserOptions, BrowserTransport};

/// Returns the parts of a test site's response to a path.
type Handler = Box<dyn Fn(&str) -> Vec<ResponsePart> + Send + Sync>;

/// A part of a response.
enum ResponsePart {
    Bytes(Vec<u8>),
    Hold,
}

struct TestSite {
    address: std::net::SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl TestSite {
    async fn start(handler: impl Fn(&str) -> Vec<ResponsePart> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, handler): (_, Arc<Handler>) = (Arc::clone(&heads), Arc::new(Box::new(handler)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&handler), Arc::clone(&seen)));
            }
        });
        Self { address, heads }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn requested_paths(&self) -> Vec<String> {
        let path = |head: &String| head.split(' ').nth(1).unwrap_or_default().to_owned();
        self.heads.lock().unwrap().iter().map(path).collect()
    }
}

async fn serve(mut stream: TcpStream, handler: Arc<Handler>, heads: Arc<Mutex<Vec<String>>>) {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    heads.lock().unwrap().push(head.clone());
    for part in handler(head.split(' ').nth(1).unwrap_or_default()) {
        match part {
            // The browser may have closed the connection.
            ResponsePart::Bytes(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            ResponsePart::Hold => tokio::time::sleep(Duration::from_secs(300)).await,
        }
    }
}

fn answer(status: &str, headers: &[&str], body: &[u8]) -> Vec<ResponsePart> {
    let headers = headers.iter().flat_map(|line| [*line, "\r\n"]).collect::<String>();
    let head =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    vec![ResponsePart::Bytes([head.as_bytes(), body].concat())]
}

fn page(body: &str) -> Vec<ResponsePart> {
    answer("200 OK", &["Content-Type: text/html"], body.as_bytes())
}

struct Bench {
    tier: BrowserTransport,
    identity: Identity,
    limits: Limits,
    _scratch: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let options =
            BrowserOptions { scratch_parent: scratch.path().to_owned(), ..BrowserOptions::default() };
        let identity = Identity::new("test", Profile::named("chrome-156-linux").unwrap(), None);
        Self { tier: BrowserTransport::new(options), identity, limits: Limits::default(), _scratch: scratch }
    }

    async fn get(&self, url: &str) -> Result<RawResponse> {
        self.view(url, RenderOptions::default()).await
    }

    async fn view(&self, url: &str, view: RenderOptions) -> Result<RawResponse> {
        let request = Request::get(url.parse().unwrap());
        let (identity, limits) = (&self.identity, &self.limits);
        self.tier
            .execute(AttemptRequest {
                request: &request,
                identity,
                limits,
                render: &view,
                streaming: false,
                hooks: None,
            })
            .await
    }
}

fn bytes(answer: &RawResponse) -> &[u8] {
    match &answer.body {
        Body::Buffered(bytes) => bytes,
        Body::Streaming(_) => panic!("a browser's body is whole"),
    }
}

fn text(answer: &RawResponse) -> String {
    String::from_utf8_lossy(bytes(answer)).into_owned()
}

fn settled(answer: &RawResponse) -> bool {
    answer.browser.as_ref().unwrap().usage.settled
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_lazy_frames_do_not_hold_a_page_but_its_own_requests_do() {
    let site = TestSite::start(|path| match path {
        "/" => page(
            "<p>there</p><iframe src=/slow></iframe><div style=height:9000px></div><iframe loading=lazy src=/lazy></iframe>",
        ),
        "/own" => page("<p>there</p><script>fetch('/never')</script>"),
        "/never" | "/slow" | "/lazy" => vec![ResponsePart::Hold],
        _ => answer("404 Not Found", &[], b""),
    })
    .await;
    let mut bench = Bench::new();
    let got = bench.get(&site.url("/")).await.unwrap();
    assert!(settled(&got) && text(&got).contains("there"));
    bench.limits.browser_settle = Duration::from_secs(1);
    let got = bench.get(&site.url("/own")).await.unwrap();
    assert!(
        !settled(&got) && text(&got).contains("there"),
        "the current page is returned, marked as unsettled"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_deadline_of_a_page_ends_its_own_wait() {
    let site = TestSite::start(|path| match path {
        "/silent" => vec![ResponsePart::Hold],
        "/moved" => answer("302 Found", &["Location: /silent"], b""),
        "/half" => vec![
            ResponsePart::Bytes(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>half a page</p>".to_vec(),
            ),
            ResponsePart::Hold,
        ],
        _ => page("fine"),
    })
    .await;
    let mut bench = Bench::new();
    bench.get(&site.url("/")).await.unwrap();
    // So long that a test which depends on it would hang.
    bench.limits.browser_total = Duration::from_secs(600);
    bench.limits.browser_start = Duration::from_secs(1);
    let error = bench.get(&site.url("/silent")).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("did not respond to the browser within 1s"), "{error}");
    bench.limits.browser_start = Duration::from_secs(600);
    bench.limits.browser_navigation = Duration::from_secs(2);
    let error = bench.get(&site.url("/moved")).await.err().unwrap();
    assert!(error.is_timeout() && error.to_string().contains("no page within 2s"), "{error}");
    let got = bench.get(&site.url("/half")).await.unwrap();
    assert!(!settled(&got) && text(&got).contains("half a page"), "{}", text(&got));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_returned_as_bytes_however_they_are_recognized() {
    let binary: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    let (pdf, packed) = (b"%PDF-1.4\n\xff\xfe not much of one".to_vec(), gzip(&binary));
    let (expected, document) = (binary.clone(), pdf.clone());
    let site = TestSite::start(move |path| match path {
        "/pdf" => answer("200 OK", &["Content-Type: application/pdf", "X-A: b", "Set-Cookie: c=1"], &pdf),
        "/saved" => answer(
            "200 OK",
            &["Content-Type: text/html", "Content-Disposition: attachment; filename=\"../../x\"", "X-A: b"],
            b"<p>saved</p>",
        ),
        "/binary" => answer("200 OK", &["Content-Type: application/octet-stream", "X-A: b"], &binary),
        "/packed" => {
            answer("200 OK", &["Content-Type: application/zip", "Content-Encoding: gzip", "X-A: b"], &packed)
        }
        "/sniffed" => answer("200 OK", &["Content-Type: text/csv", "X-A: b"], b"a,b\n1,2\n"),
        "/moved" => answer("302 Found", &["Location: /pdf"], b""),
        _ => {
            answer("401 Unauthorized", &["WWW-Authenticate: Basic realm=r", "X-A: b"], b"<p>who are you?</p>")
        }
    })
    .await;
    let mut bench = Bench::new();
    for (path, status, body) in [
        ("/pdf", 200, document.as_slice()),
        ("/saved", 200, b"<p>saved</p>"),
        ("/binary", 200, &expected),
        ("/packed", 200, &expected),
        ("/sniffed", 200, b"a,b\n1,2\n"),
        ("/moved", 200, &document),
        ("/401", 401, b"<p>who are you?</p>"),
    ] {
        let got = bench.get(&site.url(path)).await;
        let got = got.unwrap_or_else(|error| panic!("{path}: {}", error.chain()));
        assert_eq!((got.status.as_u16(), got.headers["x-a"].to_str().unwrap()), (status, "b"), "{path}");
        assert!(bytes(&got) == body, "{path}: {} bytes", bytes(&got).len());
        assert_eq!(got.redirects.len(), usize::from(path == "/moved"), "{path}");
    }
    assert_eq!(bench.identity.jar().list()[0].name, "c");
    bench.limits.max_body = 100_000;
    for path in ["/binary", "/packed"] {
        let error = bench.get(&site.url(path)).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::BodyTooLarge, "{path}");
    }
    bench.limits.max_body = 10;
    let view = RenderOptions { body: Some(BodySource::Raw), ..RenderOptions::default() };
    assert_eq!(bench.view(&site.url("/saved"), view).await.err().unwrap().kind(), ErrorKind::BodyTooLarge);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_body_has_the_bytes_the_server_sent_and_the_default_body_the_dom_after_scripts() {
    const SENT: &[u8] = b"<p id=p>caf\xe9</p><script>p.textContent='made'</script>";
    let packed = gzip(SENT);
    let site = TestSite::start(move |path| match path {
        "/" => answer("200 OK", &["Content-Type: text/html; charset=iso-8859-1"], SENT),
        "/json" => answer("200 OK", &["Content-Type: application/json"], b"{\"a\":\xef\xbf\xbd}"),
        _ => answer(
            "200 OK",
            &["Content-Type: text/html; charset=iso-8859-1", "Content-Encoding: gzip"],
            &packed,
        ),
    })
    .await;
    let bench = Bench::new();
    let raw = || RenderOptions { body: Some(BodySource::Raw), ..RenderOptions::default() };
    for path in ["/", "/packed"] {
        let got = bench.view(&site.url(path), raw()).await.unwrap();
        assert_eq!(bytes(&got), SENT, "{path}");
        assert_eq!(got.headers["content-type"], "text/html; charset=iso-8859-1");
        let got = bench.get(&site.url(path)).await.unwrap();
        assert!(text(&got).contains("<p id=\"p\">made</p>"), "{path}");
        assert_eq!(got.headers["content-type"], "text/html; charset=utf-8");
    }
    for view in [raw(), RenderOptions::default()] {
        let got = bench.view(&site.url("/json"), view).await.unwrap();
        assert_eq!(bytes(&got), b"{\"a\":\xef\xbf\xbd}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_come_in_the_order_of_the_wire() {
    let site = TestSite::start(|_| {
        answer(
            "200 OK",
            &["Zebra: 1", "content-type: text/html", "Set-Cookie: a=1", "Alpha: 2", "Set-Cookie: b=2"],
            b"x",
        )
    })
    .await;
    let got = Bench::new().get(&site.url("/")).await.unwrap();
    let names: Vec<&str> = got.headers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["zebra", "content-type", "set-cookie", "alpha", "content-length", "connection"]);
    assert_eq!(got.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_resources_are_not_requested_and_nothing_else_changes_on_the_wire() {
    let site = TestSite::start(|path| match path {
        "/" => page(
            "<style>@font-face{font-family:f;src:url(/font)}p{font-family:f}</style><p>text</p><img src=/image>\
             <video src=/media autoplay></video><script src=/script></script>\
             <script src='http://www.quantserve.com:1/tracker'></script>",
        ),
        "/image" => answer("200 OK", &["Content-Type: image/png"], b""),
        _ => answer("200 OK", &[], b""),
    })
    .await;
    let url = site.url("/");
    let last_head = |path: &str| {
        let heads = site.heads.lock().unwrap().clone();
        heads.into_iter().rfind(|head| head.split(' ').nth(1) == Some(path)).unwrap_or_default()
    };
    let open = Bench::new().get(&url).await.unwrap();
    assert!(text(&open).contains("text"));
    for path in ["/", "/image", "/font", "/media", "/script"] {
        assert!(site.requested_paths().iter().any(|requested| requested == path), "{path}");
    }
    let before = [last_head("/"), last_head("/script")];
    site.heads.lock().unwrap().clear();
    let view = RenderOptions { block: ResourceKind::ALL.to_vec(), ..RenderOptions::default() };
    let got = Bench::new().view(&url, view).await.unwrap();
    assert!(settled(&got) && text(&got).contains("text"));
    assert!(
        !site.requested_paths().iter().any(|path| ["/image", "/font", "/media"].contains(&path.as_str())),
        "{:?}",
        site.requested_paths()
    );
    assert_eq!([last_head("/"), last_head("/script")], before, "the same bytes as without blocking");
}

#[tokio::test(flavor = "multi_thread")]
async fn trackers_and_hosts_below_them_are_refused_and_others_are_not() {
    let site = TestSite::start(|path| match path {
        "/" => page(
            "<body><script>const out=document.createElement('ul');\
             Promise.all(['quantserve.com','www.quantserve.com','x.notquantserve.com'].map(h=>\
             fetch('http://'+h+':'+location.port+'/hit',{mode:'no-cors'}).then(()=>h+' reached',()=>h+' refused')))\
             .then(all=>{out.textContent=all.join();out.id='done';document.body.append(out)})</script>",
        ),
        _ => answer("200 OK", &[], b"x"),
    })
    .await;
    let scratch = tempfile::tempdir().unwrap();
    let names = ["quantserve.com", "www.quantserve.com", "x.notquantserve.com"];
    let overrides =
        names.map(|name| ((name.to_owned(), site.address.port()), site.address.ip())).into_iter().collect();
    let connector = Arc::new(Connector::new(overrides, TrustConfig::default()).unwrap());
    let options =
        BrowserOptions { scratch_parent: scratch.path().to_owned(), connector, ..BrowserOptions::default() };
    let bench = Bench { tier: BrowserTransport::new(options), ..Bench::new() };
    for (block, want) in
        [(vec![], ["reached"; 3]), (vec![ResourceKind::Trackers], ["refused", "refused", "reached"])]
    {
        let view = RenderOptions { block, wait_for: Some("#done".to_owned()), ..RenderOptions::default() };
        let got = text(&bench.view(&site.url("/"), view).await.unwrap());
        for (name, want) in names.iter().zip(want) {
            assert!(got.contains(&format!("{name} {want}")), "{name}: {got}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cross_site_frames_and_nested_frames_do_not_load_blocked_resources() {
    let site = TestSite::start(|path| match path {
        "/" => page(
            "<iframe id=f></iframe><script>f.src='http://outer.example:'+location.port+'/outer';\
             addEventListener('message',()=>{const d=document.createElement('i');d.id='done';document.body.append(d)})\
             </script>",
        ),
        "/outer" => page(
            "<img src=/outer-image><iframe id=f></iframe><script>\
             f.src='http://inner.example:'+location.port+'/inner'</script>",
        ),
        "/inner" => page(
            "<script>const i=new Image;i.onload=i.onerror=()=>fetch('http://quantserve.com:'+location.port+'/hit',\
             {mode:'no-cors'}).catch(()=>0).then(()=>top.postMessage(1,'*'));i.src='/inner-image'</script>",
        ),
        path if path.ends_with("image") => answer("200 OK", &["Content-Type: image/png"], b""),
        _ => answer("200 OK", &[], b"x"),
    })
    .await;
    let scratch = tempfile::tempdir().unwrap();
    let names = ["outer.example", "inner.example", "quantserve.com"];
    let overrides =
        names.map(|name| ((name.to_owned(), site.address.port()), site.address.ip())).into_iter().collect();
    let connector = Arc::new(Connector::new(overrides, TrustConfig::default()).unwrap());
    let options =
        BrowserOptions { scratch_parent: scratch.path().to_owned(), connector, ..BrowserOptions::default() };
    let bench = Bench { tier: BrowserTransport::new(options), ..Bench::new() };
    for block in [vec![], vec![ResourceKind::Images, ResourceKind::Trackers]] {
        site.heads.lock().unwrap().clear();
        let blocked = !block.is_empty();
        let view = RenderOptions { block, wait_for: Some("#done".to_owned()), ..RenderOptions::default() };
        bench.view(&site.url("/"), view).await.unwrap();
        let requested = site.requested_paths();
        for path in ["/outer-image", "/inner-image", "/hit"] {
            assert_eq!(requested.iter().any(|other| other == path), !blocked, "{path}: {requested:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scrolling_reaches_an_end_that_moves_a_few_times() {
    let site = TestSite::start(|path| match path {
        "/" => page(
            "<style>div{height:1500px}</style><div></div><script>let n=0;addEventListener('scroll',()=>{\
             if(n<4&&innerHeight+scrollY>=document.body.scrollHeight-20){n++;fetch('/more'+n).then(()=>{\
             const d=document.createElement('div');d.className='more';document.body.append(d)})}})</script>",
        ),
        "/endless" => page(
            "<style>div{height:3000px}</style><div></div><script>addEventListener('scroll',()=>\
             document.body.append(document.createElement('div')))</script>",
        ),
        _ => answer("200 OK", &[], b""),
    })
    .await;
    let bench = Bench::new();
    let scrolling = || RenderOptions { scroll: true, ..RenderOptions::default() };
    let count = |answer: &RawResponse| text(answer).matches("<div class=\"more\">").count();
    assert_eq!(count(&bench.get(&site.url("/")).await.unwrap()), 0);
    let got = bench.view(&site.url("/"), scrolling()).await.unwrap();
    assert_eq!((count(&got), settled(&got)), (4, true));
    let got = bench.view(&site.url("/endless"), scrolling()).await.unwrap();
    assert!(!settled(&got) && text(&got).matches("<div>").count() > 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn screenshots_and_pdfs_show_the_whole_page() {
    let site = TestSite::start(|path| match path {
        "/" => page("<body style='margin:0'><div style='height:3000px;background:red'></div><p>end"),
        "/tall" => page("<div style='height:90000px'></div>"),
        _ => answer("200 OK", &["Content-Type: application/pdf"], b"%PDF-1.4"),
    })
    .await;
    let mut bench = Bench::new();
    let both = || RenderOptions { screenshot: true, pdf: true, ..RenderOptions::default() };
    let extent = |png: &[u8]| {
        assert!(png.starts_with(b"\x89PNG"));
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        (number(16), number(20))
    };
    let got = bench.view(&site.url("/"), both()).await.unwrap();
    let shown = got.browser.as_ref().unwrap();
    let (width, height) = extent(shown.screenshot.as_ref().unwrap());
    assert!(width > 1000 && (3000..4000).contains(&height), "{width}x{height}");
    let pdf = shown.pdf.as_ref().unwrap();
    assert!(pdf.starts_with(b"%PDF-") && pdf.len() > 1000);
    let got = bench
        .view(&site.url("/tall"), RenderOptions { screenshot: true, ..RenderOptions::default() })
        .await
        .unwrap();
    assert_eq!(extent(got.browser.as_ref().unwrap().screenshot.as_ref().unwrap()).1, 16384);
    let got = bench.view(&site.url("/file"), both()).await.unwrap();
    assert!(got.browser.as_ref().unwrap().screenshot.is_none() && bytes(&got) == b"%PDF-1.4");
    bench.limits.max_body = 1000;
    let error = bench.view(&site.url("/"), both()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_dialog_is_answered_at_once() {
    let site = TestSite::start(|path| match path {
        "/" => page(
            "<script>alert(1);const c=confirm(2),p=prompt(3,'x');onbeforeunload=e=>{e.preventDefault();return 'stay'};\
             document.write('<p>'+[c,p].join()+'</p>');\
             if(!sessionStorage.gone){sessionStorage.gone=1;setTimeout(()=>location='/next',50)}</script>",
        ),
        _ => page("<p id=next>next"),
    })
    .await;
    let mut bench = Bench::new();
    bench.limits.browser_total = Duration::from_secs(600);
    let got = bench.get(&site.url("/")).await.unwrap();
    assert!(text(&got).contains("id=\"next\""), "navigating away is never blocked: {}", text(&got));
    assert!(settled(&got));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_closes_itself_or_keeps_navigating_is_returned_as_it_is() {
    let site = TestSite::start(|path| match path {
        "/closes" => page("<script>window.close();window.open('','_self').close()</script><p>still there"),
        "/fine" => page("fine"),
        _ => page("<p>on the way</p><script>location='/'+Math.random()</script>"),
    })
    .await;
    let mut bench = Bench::new();
    bench.limits.browser_total = Duration::from_secs(600);
    let got = bench.get(&site.url("/closes")).await.unwrap();
    assert!(settled(&got) && text(&got).contains("still there"));
    // Time enough for one document on a busy machine.
    bench.limits.browser_navigation = Duration::from_secs(12);
    bench.limits.browser_settle = Duration::from_secs(3);
    let got = bench.get(&site.url("/endless")).await.unwrap();
    assert!(!settled(&got));
    bench.limits.browser_navigation = Limits::default().browser_navigation;
    assert!(text(&bench.get(&site.url("/fine")).await.unwrap()).contains("fine"));
}

//! The browser tier sends what the profile says, with all emulation enabled, and does not reveal the real address
//! behind a proxy.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use rungs::lab::{Authority, Exchange, RecordedConnection, RecordedRequest, Recorder, Reply};
use rungs::{Coordinates, Fetcher, FetcherBuilder, HttpVersion, SentRequest, Tier};

use crate::support::{BROWSER_LOCK, RawConnection, RawServer, captured_profile};

type Change = Box<dyn Fn(FetcherBuilder) -> FetcherBuilder + Sync>;

/// The first connection that requested `/`, made by this tier alone.
async fn heard(
    recorder: &Recorder,
    ca: &std::path::Path,
    tier: Tier,
    change: &(dyn Fn(FetcherBuilder) -> FetcherBuilder + Sync),
) -> RecordedConnection {
    recorder.clear();
    let port = recorder.addr().port();
    let builder =
        Fetcher::builder().min_tier(tier).max_tier(tier).browser_profile(captured_profile()).ca_file(ca);
    let builder = builder.resolve("one.test", port, recorder.addr().ip());
    let fetcher = change(builder).build().expect("the settings are good");
    let request = fetcher.get(format!("https://one.test:{port}/")).capture_request(true);
    let page = request.send().await.expect("the page is got");
    fetcher.close().await;
    let all = recorder.connections();
    let asked =
        |connection: &&RecordedConnection| connection.requests.iter().any(|request| request.path == "/");
    let connection = all.iter().find(asked).cloned().expect("it was asked for the page");
    check_captured(page.sent_request().expect("it was captured"), &connection.requests[0]);
    connection
}

/// Checks that the captured request is the one on the wire. Chromium does not report the order of the fields.
fn check_captured(sent: &SentRequest, received: &RecordedRequest) {
    assert_eq!((sent.method.as_str(), sent.target.as_str()), ("GET", "/"));
    assert_eq!(sent.version, HttpVersion::Http2);
    let captured = sent
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.to_str().expect("it is text").to_owned()));
    let mut captured: Vec<(String, String)> = captured.collect();
    assert_eq!(captured[0], ("host".to_owned(), received.authority.clone()));
    let mut wire = received.headers.clone();
    captured.remove(0);
    captured.sort();
    wire.sort();
    assert_eq!(captured, wire);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_navigation_matches_the_profile_with_all_emulation_enabled() {
    let _turn = BROWSER_LOCK.lock().await;
    let authority = Arc::new(Authority::new(&["one.test"]).expect("a CA can be made"));
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.ca_pem()).expect("the CA is written");
    let recorder = Recorder::builder().tls(authority, &["h2", "http/1.1"]);
    let recorder = recorder.start(|_: &Exchange| Reply::html(200, "<title>one</title>")).await;
    let recorder = recorder.expect("the recorder listens");
    let place = |builder: FetcherBuilder| {
        builder.timezone("Europe/Berlin").geolocation(Coordinates::new(52.52, 13.4))
    };
    let changes: [(&str, Change); 5] = [
        ("headless", Box::new(|builder| builder)),
        ("headful", Box::new(|builder| builder.headful(true))),
        ("German", Box::new(move |builder| place(builder).language("de-DE"))),
        ("Canadian, with a window", Box::new(move |builder| place(builder).language("fr-CA").headful(true))),
        ("Japanese", Box::new(|builder| builder.language("ja"))),
    ];
    for (name, change) in changes {
        let profile = heard(&recorder, &ca, Tier::Impersonate, &*change).await;
        let browser = heard(&recorder, &ca, Tier::Browser, &*change).await;
        assert_eq!(browser.ja4, profile.ja4, "{name}");
        assert_eq!(browser.akamai, profile.akamai, "{name}");
        let (browser, profile) = (&browser.requests[0], &profile.requests[0]);
        assert_eq!(browser.headers, profile.headers, "{name}");
        assert_eq!(browser.pseudo, profile.pseudo, "{name}");
        assert_eq!(browser.priority, profile.priority, "{name}");
    }
}

/// A page that gathers ICE candidates with the STUN server at this port and prints them.
fn gather(port: u16) -> String {
    format!(
        "<!doctype html><script>
        const found = [], connection = new RTCPeerConnection({{iceServers: [{{urls: 'stun:127.0.0.1:{port}'}}]}});
        const show = () => {{
          const done = document.createElement('p');
          done.id = 'done';
          done.textContent = 'candidates: ' + found.length;
          document.body.append(done);
        }};
        connection.onicecandidate = event => event.candidate ? found.push(event.candidate.candidate) : show();
        connection.createDataChannel('x');
        connection.createOffer().then(offer => connection.setLocalDescription(offer));
        setTimeout(show, 8000);
        </script><body>"
    )
}

fn serve(page: String) -> RawServer {
    RawServer::start(move |conn: &mut RawConnection| {
        conn.read_head()?;
        let length = page.len();
        conn.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}"
        ))
    })
}

/// The number of datagrams the socket has received.
fn datagrams(socket: &UdpSocket) -> usize {
    std::iter::from_fn(|| socket.recv_from(&mut [0; 2048]).ok()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn webrtc_sends_nothing_past_a_proxy_and_looks_as_usual_without() {
    let _turn = BROWSER_LOCK.lock().await;
    let stun = UdpSocket::bind("127.0.0.1:0").expect("a UDP port");
    stun.set_read_timeout(Some(Duration::from_millis(200))).expect("it can be set");
    let server = serve(gather(stun.local_addr().expect("it is bound").port()));
    for headful in [false, true] {
        let get = async |change: &dyn Fn(FetcherBuilder) -> FetcherBuilder, url: String| {
            let builder = Fetcher::builder().min_tier(Tier::Browser).max_tier(Tier::Browser).headful(headful);
            let fetcher = change(builder).build().expect("the settings are good");
            let page = fetcher.get(url).wait_for("#done").send().await.expect("the page is got");
            let text = page.text().expect("it is text");
            fetcher.close().await;
            text
        };
        let open = get(&|builder| builder, server.url("/")).await;
        assert!(!open.contains("candidates: 0<") && datagrams(&stun) > 0, "without a proxy: {open}");
        // The server acts as the proxy: it answers every request.
        let proxy = server.url("").parse::<rungs::Proxy>().expect("a proxy");
        let hidden = get(&move |builder| builder.proxy(proxy.clone()), "http://site.test/".to_owned()).await;
        assert!(hidden.contains("candidates: 0<"), "behind a proxy: {hidden}");
        assert_eq!(datagrams(&stun), 0, "behind a proxy");
    }
    let asked = server.heads().iter().filter(|head| head.starts_with("GET http://site.test/ ")).count();
    assert_eq!(asked, 2, "it was asked as a proxy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_gets_the_configured_position_or_an_unanswered_permission_prompt() {
    let server = serve(
        "<!doctype html><body><script>
        const show = text => document.body.insertAdjacentHTML('beforeend', `<p id=done>${text}</p>`);
        navigator.permissions.query({name: 'geolocation'}).then(({state}) => state === 'granted'
          ? navigator.geolocation.getCurrentPosition(({coords}) => show([state, coords.latitude, coords.longitude]), () => show('error'))
          : show(state));
        </script>"
            .to_owned(),
    );
    for (position, expected) in
        [(Some(Coordinates::new(-33.87, 151.21)), "granted,-33.87,151.21"), (None, "prompt")]
    {
        let builder = Fetcher::builder().min_tier(Tier::Browser).max_tier(Tier::Browser);
        let builder = match position {
            Some(position) => builder.geolocation(position),
            None => builder,
        };
        let fetcher = builder.build().expect("the settings are good");
        let page = fetcher.get(server.url("/")).wait_for("#done").send().await.expect("the page is got");
        assert!(page.text().expect("text").contains(&format!("<p id=\"done\">{expected}</p>")), "{expected}");
        fetcher.close().await;
    }
}

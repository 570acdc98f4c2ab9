//! The caller's headers for one origin, in pages that send requests to other origins too.

use super::*;

const SECRETS: [(&str, &str); 2] = [("authorization", "Bearer hunter2"), ("x-api-key", "hunter2")];

/// Two sites on one host that know each other's origins, and the requests to each.
struct TwoSites {
    own: SocketAddr,
    other: SocketAddr,
    requests: Arc<Mutex<Vec<(bool, String)>>>,
}

impl TwoSites {
    /// `respond` makes a response from three values: whether the request is for the first site, the path, and both
    /// origins.
    async fn start(
        respond: impl Fn(bool, &str, [&str; 2]) -> String + Clone + Send + Sync + 'static,
    ) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let origins: Arc<Mutex<Vec<String>>> = Arc::default();
        let site = |is_own: bool| {
            let (requests, origins, respond) = (Arc::clone(&requests), Arc::clone(&origins), respond.clone());
            serve(move |head| {
                requests.lock().unwrap().push((is_own, head.to_lowercase()));
                let origins = origins.lock().unwrap();
                respond(is_own, path(head), [&origins[0], &origins[1]])
            })
        };
        let (own, other) = (site(true).await, site(false).await);
        *origins.lock().unwrap() = vec![format!("http://{own}"), format!("http://{other}")];
        Self { own, other, requests }
    }

    fn request(&self, path: &str) -> Request {
        let mut request = Request::get(format!("http://{}{path}", self.own).parse().unwrap());
        request.headers =
            SECRETS.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).into();
        request
    }

    /// Returns for each request for `wanted` whether it had the secrets.
    fn had_secrets(&self, is_own: bool, wanted: &str) -> Vec<bool> {
        let requests = self.requests.lock().unwrap();
        let matching = requests.iter().filter(|(own, head)| *own == is_own && path(head) == wanted);
        matching
            .map(|(_, head)| {
                let has =
                    SECRETS.map(|(name, value)| head.contains(&format!("{name}: {}", value.to_lowercase())));
                assert_eq!(has[0], has[1], "{head}");
                has[0]
            })
            .collect()
    }

    fn assert_other_is_clean(&self) {
        for (_, head) in self.requests.lock().unwrap().iter().filter(|(is_own, _)| !is_own) {
            assert!(!head.contains("hunter2"), "{head}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_headers_go_only_to_requests_for_their_own_origin() {
    let sites = TwoSites::start(|is_own, path, [own, other]| match (is_own, path) {
        (true, "/") => page(&format!(
            "<script src={own}/own.js></script><script src={other}/other.js></script><img src={other}/i>\
             <script src={own}/away.js></script><script src={own}/round.js></script><iframe src={other}/frame></iframe>\
             <form id=f method=post action={other}/form target=x></form><iframe name=x></iframe>\
             <script>fetch('{own}/fetch'); fetch('{other}/fetch', {{mode: 'no-cors'}}); f.submit()</script>"
        )),
        (true, "/away.js") => answer("302 Found", &[&format!("Location: {other}/redirected.js")], ""),
        (true, "/round.js") => answer("302 Found", &[&format!("Location: {other}/round.js")], ""),
        (false, "/round.js") => answer("302 Found", &[&format!("Location: {own}/back.js")], ""),
        (false, "/frame") => page(&format!("<img src={other}/of-frame>")),
        _ => answer("200 OK", &["Content-Type: text/javascript"], ""),
    })
    .await;
    let bench = Bench::new(|_| {});
    bench.send(&test_identity(), &sites.request("/"), None).await.unwrap();
    until(|| {
        !sites.had_secrets(true, "/back.js").is_empty() && !sites.had_secrets(false, "/form").is_empty()
    })
    .await;
    for own in ["/", "/own.js", "/fetch", "/away.js", "/round.js"] {
        assert_eq!(sites.had_secrets(true, own), [true], "{own}");
    }
    for other in ["/other.js", "/i", "/redirected.js", "/round.js", "/frame", "/of-frame", "/form", "/fetch"]
    {
        assert_eq!(sites.had_secrets(false, other), [false], "{other}");
    }
    assert_eq!(sites.had_secrets(true, "/back.js"), [false], "the redirect chain crossed origins");
    sites.assert_other_is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_navigation_redirected_to_another_origin_and_back_loses_the_callers_headers() {
    let sites = TwoSites::start(|is_own, path, [own, other]| match (is_own, path) {
        (true, "/start") => answer("302 Found", &[&format!("Location: {own}/next")], ""),
        (true, "/next") => answer("307 Found", &[&format!("Location: {other}/away")], ""),
        (false, "/away") => answer("302 Found", &[&format!("Location: {own}/back")], ""),
        _ => page("there"),
    })
    .await;
    let bench = Bench::new(|_| {});
    for gated in [false, true] {
        sites.requests.lock().unwrap().clear();
        let request = sites.request("/start");
        let (view, identity, permit_all) = (RenderOptions::default(), test_identity(), PermitAll);
        let hooks = gated.then_some(&permit_all as &dyn crate::net::RequestHooks);
        let job = AttemptRequest {
            request: &request,
            identity: &identity,
            limits: &bench.limits,
            render: &view,
            streaming: false,
            hooks,
        };
        let got = bench.tier.execute(job).await.unwrap();
        assert!(text(&got).contains("there"));
        for (is_own, path, expected) in
            [(true, "/start", true), (true, "/next", true), (false, "/away", false), (true, "/back", false)]
        {
            assert_eq!(sites.had_secrets(is_own, path), [expected], "{path}");
        }
        sites.assert_other_is_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_navigates_to_another_origin_sends_it_no_headers_and_a_referer_is_shortened() {
    let sites = TwoSites::start(|is_own, path, [_, other]| match (is_own, path) {
        (true, "/") => page(&format!("<script>location = '{other}/there'</script>")),
        _ => page("there"),
    })
    .await;
    let bench = Bench::new(|_| {});
    let mut request = sites.request("/");
    let referer = format!("http://{}/list?token=hunter2", sites.other);
    request.headers.push((http::header::REFERER, referer.parse().unwrap()));
    let got = bench.send(&test_identity(), &request, None).await.unwrap();
    assert_eq!(got.url.as_str(), format!("http://{}/there", sites.other));
    assert_eq!((sites.had_secrets(true, "/"), sites.had_secrets(false, "/there")), (vec![true], vec![false]));
    sites.assert_other_is_clean();
    let first = sites.requests.lock().unwrap()[0].1.clone();
    assert!(first.contains(&format!("referer: http://{}/\r\n", sites.other)), "{first}");
    // A same-origin referer is complete.
    let mut request = sites.request("/same");
    request.headers =
        vec![(http::header::REFERER, format!("http://{}/list?page=2", sites.own).parse().unwrap())];
    sites.requests.lock().unwrap().clear();
    bench.send(&test_identity(), &request, None).await.unwrap();
    let first = sites.requests.lock().unwrap()[0].1.clone();
    assert!(first.contains(&format!("referer: http://{}/list?page=2\r\n", sites.own)), "{first}");
}

/// Strict hooks that permit every request.
struct PermitAll;

impl crate::net::RequestHooks for PermitAll {
    fn is_strict(&self) -> bool {
        true
    }

    fn before_request<'a>(&'a self, _: &'a Url) -> BoxFuture<'a, Result<()>> {
        async { Ok(()) }.boxed()
    }
}

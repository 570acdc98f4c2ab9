//! What the caller gave for one origin, in a page that asks others too.

use super::*;

const SECRETS: [(&str, &str); 2] = [("authorization", "Bearer hunter2"), ("x-api-key", "hunter2")];

/// Two sites of one host, each told of the other's origin; what each was asked.
struct Two {
    own: SocketAddr,
    other: SocketAddr,
    asked: Arc<Mutex<Vec<(bool, String)>>>,
}

impl Two {
    /// `answers` makes an answer of whether the first site is asked, of the path and of both origins.
    async fn start(
        answers: impl Fn(bool, &str, [&str; 2]) -> String + Clone + Send + Sync + 'static,
    ) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let origins: Arc<Mutex<Vec<String>>> = Arc::default();
        let site = |is_own: bool| {
            let (asked, origins, answers) = (Arc::clone(&asked), Arc::clone(&origins), answers.clone());
            serve(move |head| {
                asked.lock().unwrap().push((is_own, head.to_lowercase()));
                let origins = origins.lock().unwrap();
                answers(is_own, path(head), [&origins[0], &origins[1]])
            })
        };
        let (own, other) = (site(true).await, site(false).await);
        *origins.lock().unwrap() = vec![format!("http://{own}"), format!("http://{other}")];
        Self { own, other, asked }
    }

    fn request(&self, path: &str) -> Request {
        let mut request = Request::get(format!("http://{}{path}", self.own).parse().unwrap());
        request.headers =
            SECRETS.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).into();
        request
    }

    /// Whether the request for `path` had the secrets, on each time it was asked for.
    fn had(&self, is_own: bool, wanted: &str) -> Vec<bool> {
        let asked = self.asked.lock().unwrap();
        let of_path = asked.iter().filter(|(own, head)| *own == is_own && path(head) == wanted);
        of_path
            .map(|(_, head)| {
                let has =
                    SECRETS.map(|(name, value)| head.contains(&format!("{name}: {}", value.to_lowercase())));
                assert_eq!(has[0], has[1], "{head}");
                has[0]
            })
            .collect()
    }

    fn assert_other_is_clean(&self) {
        for (_, head) in self.asked.lock().unwrap().iter().filter(|(is_own, _)| !is_own) {
            assert!(!head.contains("hunter2"), "{head}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_gave_goes_to_requests_of_its_own_origin_alone() {
    let two = Two::start(|is_own, path, [own, other]| match (is_own, path) {
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
    bench.send(&test_identity(), &two.request("/"), None).await.unwrap();
    until(|| !two.had(true, "/back.js").is_empty() && !two.had(false, "/form").is_empty()).await;
    for own in ["/", "/own.js", "/fetch", "/away.js", "/round.js"] {
        assert_eq!(two.had(true, own), [true], "{own}");
    }
    for other in ["/other.js", "/i", "/redirected.js", "/round.js", "/frame", "/of-frame", "/form", "/fetch"]
    {
        assert_eq!(two.had(false, other), [false], "{other}");
    }
    assert_eq!(two.had(true, "/back.js"), [false], "the chain was away");
    two.assert_other_is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_navigation_that_is_redirected_away_and_back_lost_what_the_caller_gave() {
    let two = Two::start(|is_own, path, [own, other]| match (is_own, path) {
        (true, "/start") => answer("302 Found", &[&format!("Location: {own}/next")], ""),
        (true, "/next") => answer("307 Found", &[&format!("Location: {other}/away")], ""),
        (false, "/away") => answer("302 Found", &[&format!("Location: {own}/back")], ""),
        _ => page("there"),
    })
    .await;
    let bench = Bench::new(|_| {});
    for gated in [false, true] {
        two.asked.lock().unwrap().clear();
        let request = two.request("/start");
        let (view, identity, open) = (RenderOptions::default(), test_identity(), Open);
        let gate = gated.then_some(&open as &dyn crate::net::RequestHooks);
        let job = AttemptRequest {
            request: &request,
            identity: &identity,
            limits: &bench.bounds,
            render: &view,
            streaming: false,
            hooks: gate,
        };
        let got = bench.tier.execute(job).await.unwrap();
        assert!(text(&got).contains("there"));
        for (is_own, path, expected) in
            [(true, "/start", true), (true, "/next", true), (false, "/away", false), (true, "/back", false)]
        {
            assert_eq!(two.had(is_own, path), [expected], "{path}");
        }
        two.assert_other_is_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_leads_elsewhere_takes_nothing_along_and_a_referer_is_cut_short() {
    let two = Two::start(|is_own, path, [_, other]| match (is_own, path) {
        (true, "/") => page(&format!("<script>location = '{other}/there'</script>")),
        _ => page("there"),
    })
    .await;
    let bench = Bench::new(|_| {});
    let mut request = two.request("/");
    let came_from = format!("http://{}/list?token=hunter2", two.other);
    request.headers.push((http::header::REFERER, came_from.parse().unwrap()));
    let got = bench.send(&test_identity(), &request, None).await.unwrap();
    assert_eq!(got.url.as_str(), format!("http://{}/there", two.other));
    assert_eq!((two.had(true, "/"), two.had(false, "/there")), (vec![true], vec![false]));
    two.assert_other_is_clean();
    let first = two.asked.lock().unwrap()[0].1.clone();
    assert!(first.contains(&format!("referer: http://{}/\r\n", two.other)), "{first}");
    // From a page of its own it is whole.
    let mut request = two.request("/same");
    request.headers =
        vec![(http::header::REFERER, format!("http://{}/list?page=2", two.own).parse().unwrap())];
    two.asked.lock().unwrap().clear();
    bench.send(&test_identity(), &request, None).await.unwrap();
    let first = two.asked.lock().unwrap()[0].1.clone();
    assert!(first.contains(&format!("referer: http://{}/list?page=2\r\n", two.own)), "{first}");
}

/// Lets everything pass, and wants to be asked.
struct Open;

impl crate::net::RequestHooks for Open {
    fn is_strict(&self) -> bool {
        true
    }

    fn before_request<'a>(&'a self, _: &'a Url) -> BoxFuture<'a, Result<()>> {
        async { Ok(()) }.boxed()
    }
}

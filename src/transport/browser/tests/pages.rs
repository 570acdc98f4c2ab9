use super::*;

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
    let got = bench.get(&test_identity(), &format!("http://{server}/")).await.unwrap();
    assert_eq!((got.status.as_u16(), got.version), (404, HttpVersion::Http11));
    assert!(text(&got).contains("<p id=\"p\">built 42</p>"), "{}", text(&got));
    assert_eq!(got.headers.get_all("x-two").iter().count(), 2);
    assert_eq!(got.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(got.headers["set-cookie"], "c=1");
    assert!(got.timings.first_byte > Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_go_both_ways_and_a_request_cookie_is_not_kept() {
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
    let identity = test_identity();
    identity.jar().insert(&Cookie::session("own", "0", "127.0.0.1"));
    let url: Url = format!("http://{server}/").parse().unwrap();
    let mut request = Request::get(url.clone());
    request.headers.push((http::header::COOKIE, HeaderValue::from_static("request=9")));
    let got = text(&bench.send(&identity, &request, None).await.unwrap());
    assert!(got.contains("own=0") && got.contains("request=9"), "{got}");
    let mut names: Vec<_> = identity.jar().pairs(&url).into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, ["made", "own", "seen"]);
    let other = text(&bench.get(&test_identity(), url.as_str()).await.unwrap());
    assert!(other.contains("[none]"), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_without_a_page_are_returned() {
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
    let identity = test_identity();
    for (path_name, status, body) in [
        ("204", 204, ""),
        ("404", 404, ""),
        ("401", 401, "who?"),
        ("json", 200, "{\"a\": 1}"),
        ("bytes", 200, "<svg/>"),
        ("login", 200, "jane is in"),
    ] {
        let user = if path_name == "login" { "jane:s3cret@" } else { "" };
        let got = bench.get(&identity, &format!("http://{user}{server}/{path_name}")).await;
        let got = got.unwrap_or_else(|error| panic!("{path_name}: {}", error.chain()));
        assert_eq!((got.status.as_u16(), got.headers["x-a"].to_str().unwrap()), (status, "b"), "{path_name}");
        assert!(text(&got).contains(body), "{path_name}: {}", text(&got));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_recorded_and_limited() {
    let server = serve(|head| match path(head) {
        "/a" => answer("302 Found", &["Location: /b"], ""),
        "/b" => answer("301 Moved", &["Location: /c"], ""),
        "/c" => page("there"),
        _ => answer("302 Found", &["Location: /x"], ""),
    })
    .await;
    let mut bench = Bench::new(|_| {});
    let identity = test_identity();
    let got = bench.get(&identity, &format!("http://{server}/a")).await.unwrap();
    let hops: Vec<_> =
        got.redirects.iter().map(|hop| (hop.url.path().to_owned(), hop.status.as_u16())).collect();
    assert_eq!(hops, [("/a".to_owned(), 302), ("/b".to_owned(), 301)]);
    assert_eq!(got.url.path(), "/c");
    for max in [3, 50] {
        bench.limits.max_redirects = max;
        let loops = bench.get(&identity, &format!("http://{server}/x")).await.err().unwrap();
        assert_eq!(loops.kind(), ErrorKind::Redirect, "{}", loops.chain());
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
        Bench::new(|options| options.still_challenged = Some(Arc::new(|status, _, _, _| verdict(status))));
    let identity = test_identity();
    let got = bench.get(&identity, &format!("http://{server}/")).await.unwrap();
    assert_eq!(got.status.as_u16(), 200);
    assert!(text(&got).contains("the real thing"));
    assert_eq!(identity.jar().list()[0].name, "cleared");
}

/// The time that the challenge needs is longer than its limit: it counts only while the page works.
async fn challenge_that_takes_long(script: &str) -> u16 {
    let script = format!("<script>{script}</script>");
    let server = serve(move |head| {
        if head.contains("cleared=1") {
            return page("the real thing");
        }
        answer("403 Forbidden", &["Content-Type: text/html"], &format!("wait{script}"))
    })
    .await;
    let mut bench =
        Bench::new(|options| options.still_challenged = Some(Arc::new(|status, _, _, _| verdict(status))));
    bench.limits.browser_challenge = Duration::from_secs(2);
    bench.get(&test_identity(), &format!("http://{server}/")).await.unwrap().status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_that_the_page_works_on_may_take_longer_than_its_limit() {
    // As a proof of work does: many short tasks, until enough of them are done.
    let status = challenge_that_takes_long(
        "(async () => { const end = performance.now() + 7000; const bytes = new Uint8Array(65536);
         while (performance.now() < end) await crypto.subtle.digest('SHA-256', bytes);
         document.cookie = 'cleared=1'; location.reload(); })()",
    )
    .await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_that_only_waits_ends_at_its_limit() {
    let status = challenge_that_takes_long(
        "setTimeout(() => { document.cookie = 'cleared=1'; location.reload() }, 40000)",
    )
    .await;
    assert_eq!(status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caller_s_headers_method_and_body_reach_the_site_and_no_other() {
    let other = Arc::new(Mutex::new(String::new()));
    let recorded = Arc::clone(&other);
    let third = serve(move |head| {
        recorded.lock().unwrap().push_str(head);
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
    let got = text(&bench.send(&test_identity(), &request, None).await.unwrap());
    let lower = got.to_lowercase();
    assert!(got.contains("POST /form HTTP/1.1") && got.contains("\n\na=1"), "{got}");
    assert!(lower.contains("x-key: hunter2") && lower.contains("content-type: text/plain"), "{got}");
    assert!(!lower.contains("curl"), "{got}");
    let third = other.lock().unwrap().clone();
    assert!(third.contains("GET /i") && !third.contains("hunter2"), "{third}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_to_connect_have_their_kinds() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closing = serve(|_| "\r\n".to_owned()).await;
    let big = serve(|_| page(&"x".repeat(200_000))).await;
    let mut bench = Bench::new(|options| {
        let overrides = Overrides::from([(("mapped.example".to_owned(), big.port()), big.ip())]);
        options.connector = Arc::new(Connector::new(overrides, TrustConfig::default()).unwrap());
    });
    let identity = test_identity();
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
    bench.limits.max_body = 100_000;
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
    let error = strict.get(&test_identity(), &url).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.chain().contains("ERR_CERT_AUTHORITY_INVALID"), "{}", error.chain());
    let trusting = Bench::new(|options| options.ca_file = Some(file));
    assert!(text(&trusting.get(&test_identity(), &url).await.unwrap()).contains("secret"));
    let careless = Bench::new(|options| options.insecure = true);
    let mut handshakes = Vec::new();
    // A connection that Chromium opened in advance has no handshake that belongs to the request.
    while handshakes.len() < 5 && handshakes.last().is_none_or(Duration::is_zero) {
        let got = careless.get(&test_identity(), &url).await.unwrap();
        assert!(text(&got).contains("secret"));
        handshakes.push(got.timings.tls);
    }
    assert!(handshakes.last().is_some_and(|tls| !tls.is_zero()), "{handshakes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_an_element_fails_at_once_for_an_invalid_selector_and_returns_a_site_s_refusal() {
    let site = serve(|head| match path(head) {
        "/refused" => answer("403 Forbidden", &["Content-Type: text/html"], "<p>no"),
        _ => page("<p>yes"),
    })
    .await;
    let mut bench = Bench::new(|_| {});
    bench.limits.browser_total = Duration::from_secs(10);
    let identity = test_identity();
    let request = |path: &str| Request::get(format!("http://{site}{path}").parse().unwrap());
    let error = bench.send(&identity, &request("/"), Some("[[")).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{}", error.chain());
    let answer = bench.send(&identity, &request("/refused"), Some("#never")).await.unwrap();
    assert_eq!(answer.status, 403);
}

fn verdict(status: u16) -> PageVerdict {
    if status == 403 { PageVerdict::VendorChallenge } else { PageVerdict::Page }
}

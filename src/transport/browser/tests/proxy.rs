use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_gets_its_credentials_and_the_page_never_bypasses_it() {
    let direct = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&direct);
    let server = serve(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
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
    let good = identity_with_proxy(Some(format!("http://jane:s3cret@{proxy}").parse().unwrap()));
    assert!(text(&bench.get(&good, &url).await.unwrap()).contains("through the proxy"));
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for bad in [
        format!("http://jane:wrong@{proxy}"),
        format!("http://{proxy}"),
        format!("http://a:b@{dead}"),
        format!("http://{dead}"),
    ] {
        let error = bench.get(&identity_with_proxy(Some(bad.parse().unwrap())), &url).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Proxy, "{bad}: {}", error.chain());
    }
    assert_eq!(direct.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_page_without_a_proxy_reaches_no_private_address() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let private = serve(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
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
    // An address that the user assigned to a name counts as public.
    for (host, is_public) in [("public.example".to_owned(), true), (server.ip().to_string(), false)] {
        let bench = Bench::new(|options| {
            let overrides = Overrides::from([(("public.example".to_owned(), server.port()), server.ip())]);
            options.connector = Arc::new(Connector::new(overrides, TrustConfig::default()).unwrap());
        });
        let got = bench.get(&test_identity(), &format!("http://{host}:{}/", server.port())).await.unwrap();
        assert!(text(&got).contains("<title>page</title>"));
        assert_eq!(requests.load(Ordering::Relaxed) == 0, is_public, "{requests:?}");
    }
}

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_popups_do_not_delay_a_page() {
    let server = serve(|head| match path(head) {
        "/" => page("<script>alert(1);confirm(2);window.open('/popup');window.open('/popup','_blank','noopener');document.write('after')</script>"),
        _ => page("popup"),
    })
    .await;
    let bench = Bench::new(|_| {});
    let got = bench.get(&test_identity(), &format!("http://{server}/")).await.unwrap();
    assert!(text(&got).contains("after"));
    while bench.open_pages().await > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_and_spinning_pages_end_at_the_deadline_and_delay_no_other_page() {
    let server = serve(|head| match path(head) {
        "/spin" => page("x<script>for(;;){}</script>"),
        "/silent" => String::new(),
        _ => page("fine"),
    })
    .await;
    let mut bench = Bench::new(|options| options.pool.pages = Some(1));
    bench.limits.browser_total = Duration::from_secs(3);
    let identity = test_identity();
    for page_name in ["spin", "silent"] {
        let error = bench.get(&identity, &format!("http://{server}/{page_name}")).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{page_name}: {}", error.chain());
    }
    let missing = Request::get(format!("http://{server}/").parse().unwrap());
    let error = bench.send(&identity, &missing, Some("#never")).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("#never"));
    bench.limits.browser_total = Duration::from_secs(30);
    assert!(text(&bench.get(&identity, &format!("http://{server}/")).await.unwrap()).contains("fine"));
}

/// A site whose page reports when its script runs. From the second request on, it contains the awaited element.
struct ReloadSite {
    server: SocketAddr,
    requests: Arc<AtomicUsize>,
    runs: Arc<AtomicUsize>,
}

impl ReloadSite {
    async fn new() -> Self {
        let (requests, runs) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (request_counter, run_counter) = (Arc::clone(&requests), Arc::clone(&runs));
        let server = serve(move |head| match path(head) {
            "/runs" => {
                run_counter.fetch_add(1, Ordering::Relaxed);
                answer("204 No Content", &[], "")
            }
            "/" if request_counter.fetch_add(1, Ordering::Relaxed) == 0 => {
                page("<script>const big=new Uint8Array(1e8).fill(1);fetch('/runs')</script>")
            }
            _ => page("<p id=late>fine"),
        })
        .await;
        Self { server, requests, runs }
    }

    /// Does `harm` while the page runs. Returns the fetch's result and the time from the harm to it.
    async fn fetch_during(
        &self,
        bench: &Bench,
        method: Method,
        harm: impl AsyncFnOnce(),
    ) -> (Result<RawResponse>, Duration) {
        let mut request = Request::get(format!("http://{}/", self.server).parse().unwrap());
        request.method = method;
        let identity = test_identity();
        let harming = async {
            until(|| self.runs.load(Ordering::Relaxed) == 1).await;
            harm().await;
            Instant::now()
        };
        let (response, harmed) = tokio::join!(bench.send(&identity, &request, Some("#late")), harming);
        (response, harmed.elapsed())
    }
}

/// Returns a bench with a limit so long that a test which depends on it would hang.
fn bench_with_long_limits(change: impl FnOnce(&mut BrowserOptions)) -> Bench {
    let mut bench = Bench::new(change);
    bench.limits.browser_total = Duration::from_secs(3600);
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_renderer_costs_one_more_page() {
    let (site, bench) = (ReloadSite::new().await, bench_with_long_limits(|_| {}));
    let (response, took) =
        site.fetch_during(&bench, Method::GET, async || kill_renderer(bench.pids()[0])).await;
    eprintln!("renderer killed: answer from a fresh page after {took:?}");
    assert!(text(&response.unwrap()).contains("fine"));
    assert_eq!(site.requests.load(Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_goes_away_costs_one_more_page() {
    let (site, bench) = (ReloadSite::new().await, bench_with_long_limits(|_| {}));
    let harm = async || {
        let browser = &bench.tier.pool.browsers()[0];
        let targets = target::GetTargetsParams::default();
        let all = browser.connection.run(None, &targets, Duration::from_secs(60)).await.unwrap();
        for page in all.target_infos.iter().filter(|info| info.r#type == "page") {
            let close = target::CloseTargetParams::new(page.target_id.clone());
            browser.connection.send_with_guard(None, &close, Box::new(()));
        }
    };
    let (response, took) = site.fetch_during(&bench, Method::GET, harm).await;
    eprintln!("target closed: answer from a fresh page after {took:?}");
    assert!(text(&response.unwrap()).contains("fine"));
    assert_eq!(site.requests.load(Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_browser_costs_one_more_browser() {
    let (site, bench) = (ReloadSite::new().await, bench_with_long_limits(|_| {}));
    let mut old = 0;
    let harm = async || {
        old = bench.pids()[0];
        kill(old);
    };
    let (response, took) = site.fetch_during(&bench, Method::GET, harm).await;
    eprintln!("browser killed: answer from a fresh browser after {took:?}");
    assert!(text(&response.unwrap()).contains("fine"));
    assert_ne!(bench.pids()[0], old);
    until(|| alive(old).is_empty() && bench.left_behind() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_stops_answering_is_killed_and_replaced() {
    let (site, bench) = (
        ReloadSite::new().await,
        bench_with_long_limits(|options| options.pool.hang_timeout = Duration::from_secs(4)),
    );
    let mut old = 0;
    let harm = async || {
        old = bench.pids()[0];
        signal(old, Signal::STOP);
    };
    let (response, took) = site.fetch_during(&bench, Method::GET, harm).await;
    eprintln!("browser stopped (limit 4 s): answer from a fresh browser after {took:?}");
    assert!(text(&response.unwrap()).contains("fine"));
    assert_ne!(bench.pids()[0], old);
    until(|| alive(old).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_may_have_been_sent_is_not_sent_twice() {
    let (site, bench) = (ReloadSite::new().await, bench_with_long_limits(|_| {}));
    let (response, took) = site.fetch_during(&bench, Method::POST, async || kill(bench.pids()[0])).await;
    eprintln!("browser killed at a POST: error after {took:?}");
    let error = response.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Browser, "{}", error.chain());
    assert_eq!(site.requests.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_uses_all_memory_is_tried_twice_and_delays_no_other_page() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let server = serve(move |head| match path(head) {
        "/eat" => {
            counter.fetch_add(1, Ordering::Relaxed);
            page("<script>const a=[];for(;;)a.push(new Array(100000).fill({}))</script>")
        }
        _ => page("fine"),
    })
    .await;
    // The same result as with the default heap of gigabytes, but sooner.
    let bench = bench_with_long_limits(|options| {
        options.extra_args.push("--js-flags=--max-old-space-size=64".to_owned());
        options.pool.pages = Some(2);
    });
    let (glutton, other) = (test_identity(), test_identity());
    let (eats, fine) = (format!("http://{server}/eat"), format!("http://{server}/"));
    let began = Instant::now();
    let (error, response) = tokio::join!(bench.get(&glutton, &eats), bench.get(&other, &fine));
    eprintln!("heap full, twice: error after {:?}", began.elapsed());
    let error = error.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Browser, "{}", error.chain());
    assert_eq!(requests.load(Ordering::Relaxed), 2);
    assert!(text(&response.unwrap()).contains("fine"));
    assert!(text(&bench.get(&glutton, &fine).await.unwrap()).contains("fine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_dev_shm_does_not_matter() {
    use std::os::unix::fs::PermissionsExt;
    let server = serve(|_| page("<canvas id=c></canvas><p id=late>fine")).await;
    let folder = tempfile::tempdir().unwrap();
    let wrapper = folder.path().join("full-shm");
    let script = format!(
        "#!/bin/sh\nexec unshare --user --map-root-user --mount sh -c 'mount -t tmpfs -o size=64k tmpfs /dev/shm && \
         {{ dd if=/dev/zero of=/dev/shm/full bs=4k 2>/dev/null; test ! -e \"$0\" || exec \"$0\" \"$@\"; }}' {} \"$@\"\n",
        find().unwrap().display()
    );
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let bench = Bench::new(|options| options.executable = Some(wrapper));
    let got = bench.get(&test_identity(), &format!("http://{server}/")).await.unwrap();
    assert!(text(&got).contains("fine"));
    let shm = PathBuf::from(format!("/proc/{}/root/dev/shm/full", used_by(&got)));
    assert_eq!(std::fs::metadata(shm).unwrap().len(), 64 * 1024);
}

fn used_by(answer: &RawResponse) -> u32 {
    answer.browser.as_ref().unwrap().usage.pid
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_want_to_close_cling_or_load_lazily_or_slowly_delay_no_other_page() {
    let server = serve(|head| match path(head) {
        // Chromium does not permit these pages to close themselves.
        "/close" => page("<script>close();window.open('','_self').close()</script>shut"),
        "/cling" => page("<script>onbeforeunload=e=>{e.preventDefault();return 'stay'};location.hash='x'</script>cling"),
        "/leave" => page("<script>onbeforeunload=e=>{e.preventDefault();return 'stay'};location.href='/'</script>leave"),
        "/lazy" => page("<div style=height:20000px></div><iframe loading=lazy src=/silent></iframe>lazy"),
        "/slow" => page("<iframe src=/silent></iframe>slow"),
        "/worker" => page("<script>navigator.serviceWorker.register('/sw.js').then(()=>navigator.serviceWorker.ready).then(()=>{const p=document.createElement('p');p.textContent='works';document.body.append(p)})</script><body>"),
        "/sw.js" => answer("200 OK", &["Content-Type: text/javascript"], "oninstall=()=>skipWaiting();onactivate=e=>e.waitUntil(clients.claim());setInterval(()=>{},100)"),
        "/silent" => String::new(),
        _ => page("fine"),
    })
    .await;
    let bench = Bench::new(|options| options.pool.pages = Some(1));
    let identity = test_identity();
    for (page_name, want, settled) in [
        ("close", "shut", true),
        ("cling", "cling", true),
        ("leave", "fine", true),
        ("lazy", "lazy", true),
        ("slow", "slow", true),
        ("worker", "works", true),
    ] {
        let began = Instant::now();
        let got = bench.get(&identity, &format!("http://{server}/{page_name}")).await;
        eprintln!("{page_name}: {:?}", began.elapsed());
        let got = got.unwrap_or_else(|error| panic!("{page_name}: {}", error.chain()));
        assert!(text(&got).contains(want), "{page_name}: {}", text(&got));
        assert_eq!(got.browser.as_ref().unwrap().usage.settled, settled, "{page_name}");
    }
    assert!(text(&bench.get(&identity, &format!("http://{server}/")).await.unwrap()).contains("fine"));
}

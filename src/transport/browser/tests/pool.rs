use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_attempt_closes_its_page_and_frees_its_permit() {
    let server = serve(|head| if path(head) == "/silent" { String::new() } else { page("fine") }).await;
    let bench = Bench::new(|options| options.pool.pages = Some(1));
    let identity = test_identity();
    bench.get(&identity, &format!("http://{server}/")).await.unwrap();
    for limit in [0, 5, 30, 400] {
        let silent = format!("http://{server}/silent");
        let slow = bench.get(&identity, &silent);
        assert!(tokio::time::timeout(Duration::from_millis(limit), slow).await.is_err());
        assert!(text(&bench.get(&identity, &format!("http://{server}/")).await.unwrap()).contains("fine"));
    }
    while bench.open_pages().await > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn never_more_pages_than_allowed_are_open() {
    let (now, max) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = serve(|_| page("fine")).await;
    let bench = Bench::new(|options| options.pool.pages = Some(2));
    let identity = test_identity();
    let url = format!("http://{server}/");
    bench.get(&identity, &url).await.unwrap();
    let watch = async {
        for _ in 0..40 {
            now.store(bench.open_pages().await, Ordering::Relaxed);
            max.fetch_max(now.load(Ordering::Relaxed), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let fetches = futures_util::future::join_all((0..6).map(|_| bench.get(&identity, &url)));
    let (answers, ()) = tokio::join!(fetches, watch);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(max.load(Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_cannot_start_is_a_browser_error() {
    let bench = Bench::new(|options| options.executable = Some("/bin/false".into()));
    let error = bench.get(&test_identity(), "http://127.0.0.1/").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Browser);
    assert_eq!(bench.left_behind(), 0);
}

/// A server that responds to `/hold` only once `open` is set, and counts the requests for it.
struct HoldingServer {
    server: SocketAddr,
    held: Arc<AtomicUsize>,
    open: tokio::sync::watch::Sender<bool>,
}

impl HoldingServer {
    async fn new() -> Self {
        let (held, (open, opened)) = (Arc::new(AtomicUsize::new(0)), tokio::sync::watch::channel(false));
        let counter = Arc::clone(&held);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (counter, mut opened) = (Arc::clone(&counter), opened.clone());
                tokio::spawn(async move {
                    let mut stream = tokio::io::BufStream::new(stream);
                    let mut line = String::new();
                    if tokio::io::AsyncBufReadExt::read_line(&mut stream, &mut line).await.is_ok()
                        && line.contains("/hold")
                    {
                        counter.fetch_add(1, Ordering::Relaxed);
                        let _ = opened.wait_for(|open| *open).await;
                    }
                    let _ = stream.write_all(page("fine").as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { server, held, open }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.server)
    }

    async fn wait_for_held(&self, count: usize) {
        until(|| self.held.load(Ordering::Relaxed) >= count).await;
    }
}

fn used(answer: &RawResponse) -> BrowserUse {
    answer.browser.as_ref().unwrap().usage
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_replaced_after_so_many_pages_and_leaves_nothing() {
    let server = HoldingServer::new().await;
    let bench = Bench::new(|options| options.pool.recycle_pages = 2);
    let identity = test_identity();
    identity.jar().insert(&Cookie::session("own", "0", "127.0.0.1"));
    let mut seen = Vec::new();
    for _ in 0..5 {
        let used = used(&bench.get(&identity, &server.url("")).await.unwrap());
        seen.push((used.pid, used.pages, used.reused));
    }
    let pages: Vec<_> = seen.iter().map(|(_, pages, reused)| (*pages, *reused)).collect();
    assert_eq!(pages, [(1, false), (2, true), (1, false), (2, true), (1, false)]);
    let old: Vec<u32> = seen[..4].iter().map(|(pid, ..)| *pid).collect();
    until(|| old.iter().all(|pid| alive(*pid).is_empty()) && bench.left_behind() == 1).await;
    assert_eq!(bench.pids(), [seen[4].0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_replaced_when_it_is_old_or_uses_too_much_memory() {
    let server = HoldingServer::new().await;
    let by_age = |options: &mut BrowserOptions| options.pool.recycle_age = Duration::ZERO;
    let by_memory = |options: &mut BrowserOptions| options.pool.recycle_pss = Some(1);
    for change in [&by_age as &dyn Fn(&mut BrowserOptions), &by_memory] {
        let bench = Bench::new(change);
        let identity = test_identity();
        let first = used(&bench.get(&identity, &server.url("")).await.unwrap());
        until(|| alive(first.pid).is_empty()).await;
        let second = used(&bench.get(&identity, &server.url("")).await.unwrap());
        assert_ne!(first.pid, second.pid);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_in_flight_outlive_recycling_and_after_the_drain_timeout_move_to_the_next_browser() {
    for drain in [Duration::from_secs(600), Duration::from_secs(8)] {
        let server = HoldingServer::new().await;
        let bench = Bench::new(|options| {
            options.pool.recycle_pages = 1;
            (options.pool.pages, options.pool.drain_timeout) = (Some(2), drain);
        });
        let (slow, quick) = (test_identity(), test_identity());
        let held = server.url("hold");
        let waiting = bench.get(&slow, &held);
        let others = async {
            server.wait_for_held(1).await;
            let other = used(&bench.get(&quick, &server.url("")).await.unwrap());
            if drain < Duration::from_secs(600) {
                server.wait_for_held(2).await;
            }
            server.open.send_replace(true);
            other
        };
        let (slow, quick) = tokio::join!(waiting, others);
        assert!(text(slow.as_ref().unwrap()).contains("fine"), "{drain:?}");
        assert_ne!(used(&slow.unwrap()).pid, quick.pid);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_an_error_and_a_dropped_fetch_leaves_it() {
    let server = HoldingServer::new().await;
    let bench = Bench::new(|options| {
        (options.pool.pages, options.pool.queue) = (Some(1), 1);
    });
    let identity = test_identity();
    let held = server.url("hold");
    let at_page = bench.get(&identity, &held);
    let rest = async {
        server.wait_for_held(1).await;
        let url = server.url("");
        let mut waiting = bench.get(&identity, &url).boxed();
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(bench.tier.pool.waiting(), 1);
        let error = bench.get(&identity, &url).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Browser);
        assert!(error.to_string().contains("full") && error.hint().is_some(), "{}", error.chain());
        drop(waiting);
        assert_eq!(bench.tier.pool.waiting(), 0);
        let next = bench.get(&identity, &url);
        let (next, _) = tokio::join!(next, async { server.open.send_replace(true) });
        assert!(text(&next.unwrap()).contains("fine"));
    };
    let (answer, ()) = tokio::join!(at_page, rest);
    assert!(answer.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_too_long_for_a_page_is_a_timeout_whose_hint_names_the_shortage() {
    let server = HoldingServer::new().await;
    for (reserve, word) in [(0, "--browser-pages"), (u64::MAX, "memory")] {
        let bench = Bench::new(|options| {
            (options.pool.pages, options.pool.reserve) = (Some(1), reserve);
            options.pool.queue_timeout = Duration::from_secs(if reserve > 0 { 1 } else { 20 });
        });
        let identity = test_identity();
        let held = server.url("hold");
        let stuck = async {
            // Without free memory this fetch would get no page either.
            if reserve == 0 { bench.get(&identity, &held).await.map(|_| ()) } else { Ok(()) }
        };
        let late = async {
            if reserve == 0 {
                server.wait_for_held(1).await;
            }
            let error = bench.get(&identity, &server.url("")).await.err().unwrap();
            server.open.send_replace(true);
            error
        };
        let (stuck, error) = tokio::join!(stuck, late);
        assert!(stuck.is_ok());
        assert_eq!(error.kind(), ErrorKind::Timeout, "{}", error.chain());
        assert!(error.hint().unwrap().contains(word), "{:?}", error.hint());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_leased_in_the_order_of_the_requests() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&order);
    let server = serve(move |head| {
        if path(head).starts_with("/n") {
            recorded.lock().unwrap().push(path(head).to_owned());
        }
        page("fine")
    })
    .await;
    let bench = Bench::new(|options| options.pool.pages = Some(1));
    let identities: Vec<_> = (0..6).map(|_| test_identity()).collect();
    let urls: Vec<_> = (0..6).map(|n| format!("http://{server}/n{n}")).collect();
    let all = identities.iter().zip(&urls).map(|(identity, url)| bench.get(identity, url));
    assert!(futures_util::future::join_all(all).await.iter().all(Result::is_ok));
    assert_eq!(*order.lock().unwrap(), ["/n0", "/n1", "/n2", "/n3", "/n4", "/n5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_browser_starts_when_the_first_is_full_and_an_identity_keeps_its_own() {
    let server = HoldingServer::new().await;
    let bench = Bench::new(|options| {
        (options.pool.pages, options.pool.processes) = (Some(2), Some(2));
    });
    let (one, two) = (test_identity(), test_identity());
    let held = server.url("hold");
    let both = futures_util::future::join(bench.get(&one, &held), bench.get(&two, &held));
    let check = async {
        server.wait_for_held(2).await;
        assert_eq!((bench.pids().len(), bench.left_behind()), (2, 2));
        server.open.send_replace(true);
    };
    let ((first, second), ()) = tokio::join!(both, check);
    let pids = (used(&first.unwrap()).pid, used(&second.unwrap()).pid);
    assert_ne!(pids.0, pids.1);
    until(|| bench.tier.pool.browsers().iter().all(|b| b.usage.open.load(Ordering::Relaxed) == 0)).await;
    for (identity, pid) in [(&two, pids.1), (&one, pids.0), (&two, pids.1)] {
        assert_eq!(used(&bench.get(identity, &server.url("")).await.unwrap()).pid, pid);
        until(|| bench.tier.pool.browsers().iter().all(|b| b.usage.open.load(Ordering::Relaxed) == 0)).await;
    }
}

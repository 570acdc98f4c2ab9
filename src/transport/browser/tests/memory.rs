use super::*;
use crate::transport::chromium::memory_usage;

const MIB: u64 = 1024 * 1024;

/// Scripts that take memory until they are stopped. `OTHER` is another site with the same pages.
const HOSTILE: [(&str, &str); 8] = [
    ("arrays", "const all=[];for(;;)all.push(new Array(1e5).fill(Math.random()));"),
    ("typed-arrays", "const all=[];setInterval(()=>all.push(new Uint8Array(2e7).fill(7)),20);"),
    (
        "strings",
        "let all=[];setInterval(()=>{for(let i=0;i<50;i++)all.push('x'.repeat(2e5)+Math.random()).toString();all=all.map(s=>s.split('').reverse().join(''))},30);",
    ),
    (
        "dom",
        "for(;;){const d=document.createElement('div');d.innerHTML='<p>x</p>'.repeat(5e3);document.body?.append(d)||document.documentElement.append(d)}",
    ),
    (
        "worker",
        "new Worker(URL.createObjectURL(new Blob(['const all=[];for(;;)all.push(new Uint8Array(1e7).fill(7))'])));",
    ),
    (
        "frame",
        "onload=()=>{const f=document.createElement('iframe');f.src='http://OTHER/typed-arrays';document.body.append(f)};",
    ),
    (
        "worker-in-frame",
        "onload=()=>{const f=document.createElement('iframe');f.src='http://OTHER/worker';document.body.append(f)};",
    ),
    ("shared-worker", "new SharedWorker('/shared.js');"),
];

/// Serves the hostile pages, and `fine` at other paths. A page keeps its visit waiting by `/slow`.
async fn serve_hostile() -> SocketAddr {
    serve(|head| {
        let name = path(head).trim_start_matches('/');
        let host = head.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
        let port = host.rsplit(':').next().unwrap_or_default();
        match HOSTILE.iter().find(|(known, _)| *known == name) {
            Some((_, script)) => page(&format!(
                "<body><script>{}</script>",
                script.replace("OTHER", &format!("localhost:{port}"))
            )),
            None if name == "shared.js" => answer(
                "200 OK",
                &["Content-Type: text/javascript"],
                "const all=[];setInterval(()=>all.push(new Uint8Array(2e7).fill(7)),20);",
            ),
            None => page("<p id=good>fine"),
        }
    })
    .await
}

fn memory_bench(pages: usize) -> Bench {
    let mut bench = Bench::new(|options| options.pool.pages = Some(pages));
    bench.limits.page_memory = Some(256 * MIB);
    // Canvases are drawn slowly on a busy machine.
    bench.limits.browser_total = Duration::from_secs(300);
    bench
}

/// Requests a page that never has the awaited element, so that only its memory ends it.
async fn fetch_hostile(bench: &Bench, identity: &Identity, server: SocketAddr, name: &str) -> Error {
    let request = Request::get(format!("http://{server}/{name}").parse().unwrap());
    bench.send(identity, &request, Some("#never")).await.err().unwrap()
}

/// Records the largest sum of the browser's memory until dropped.
async fn peak_memory(bench: &Bench) -> u64 {
    let mut peak = 0;
    loop {
        for pid in bench.pids() {
            let all = memory_usage::processes(pid);
            peak = peak.max(all.iter().map(|process| process.bytes).sum());
            PEAK.fetch_max(usize::try_from(peak / MIB).unwrap(), Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

static PEAK: AtomicUsize = AtomicUsize::new(0);

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_takes_all_memory_ends_alone() {
    let server = serve_hostile().await;
    let bench = memory_bench(6);
    let good = test_identity();
    bench.get(&good, &format!("http://{server}/")).await.unwrap();
    let pid = bench.pids()[0];
    for (name, _) in HOSTILE {
        PEAK.store(0, Ordering::Relaxed);
        let hostile = test_identity();
        let began = Instant::now();
        let visits = async {
            let guilty = async { (fetch_hostile(&bench, &hostile, server, name).await, began.elapsed()) };
            let others = futures_util::future::join_all((0..5).map(async |visit| {
                bench.get(&good, &format!("http://{server}/{visit}")).await.map(|got| text(&got))
            }));
            tokio::join!(guilty, others)
        };
        let ((error, took), others) = tokio::select! {
            done = visits => done,
            _ = peak_memory(&bench) => unreachable!("it does not end"),
        };
        eprintln!("{name}: {} after {took:?}, peak {} MiB", error.chain(), PEAK.load(Ordering::Relaxed));
        assert_eq!(error.kind(), ErrorKind::PageMemory, "{name}: {}", error.chain());
        assert!(error.chain().contains("limit: 256 MiB"), "{name}: {}", error.chain());
        assert!(error.hint().is_some_and(|hint| hint.contains("--page-memory")));
        for other in others {
            assert!(other.unwrap().contains("fine"), "{name}");
        }
        assert_eq!(bench.pids(), [pid], "{name}: the same browser serves on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_fills_the_shared_processes_ends_and_the_browser_tier_serves_on() {
    let server = serve(|head| match path(head) {
        "/canvases" => page(CANVASES),
        "/cache" => page(CACHE),
        _ => page("fine"),
    })
    .await;
    let bench = memory_bench(2);
    for name in ["canvases", "cache"] {
        PEAK.store(0, Ordering::Relaxed);
        let identity = test_identity();
        let error = tokio::select! {
            error = fetch_hostile(&bench, &identity, server, name) => error,
            _ = peak_memory(&bench) => unreachable!("it does not end"),
        };
        eprintln!("{name}: {}, peak {} MiB", error.chain(), PEAK.load(Ordering::Relaxed));
        assert_eq!(error.kind(), ErrorKind::PageMemory, "{name}: {}", error.chain());
        let other = test_identity();
        let got = bench.get(&other, &format!("http://{server}/ok")).await.unwrap();
        assert!(text(&got).contains("fine"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_share_a_process_with_the_guilty_one_are_fetched_once_more() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let server = serve(move |head| {
        let port = head.split("\r\nHost: 127.0.0.1:").nth(1).and_then(|rest| rest.split('\r').next());
        // Chromium gives the frames of one site in one context a single process.
        let frame =
            |name: &str| page(&format!("<iframe src=//localhost:{}/{name}></iframe>", port.unwrap_or("0")));
        match path(head) {
            "/hostile" => frame("grow"),
            "/grow" => page(GROW),
            "/good" if counter.load(Ordering::Relaxed) > 1 => page("<p id=late>fine"),
            "/good" => frame("quiet"),
            "/quiet" => {
                counter.fetch_add(2, Ordering::Relaxed);
                page("quiet")
            }
            _ => page(""),
        }
    })
    .await;
    let bench = memory_bench(6);
    let identity = test_identity();
    let good = Request::get(format!("http://{server}/good").parse().unwrap());
    let hostile = async {
        until(|| requests.load(Ordering::Relaxed) > 1).await;
        fetch_hostile(&bench, &identity, server, "hostile").await
    };
    let (good, error) = tokio::join!(bench.send(&identity, &good, Some("#late")), hostile);
    eprintln!("shared: {}", error.chain());
    assert_eq!(error.kind(), ErrorKind::PageMemory, "{}", error.chain());
    assert!(text(&good.unwrap()).contains("fine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_many_sites_does_not_multiply_its_limit() {
    let server = serve(|head| {
        let port = head.split("Host: top.test:").nth(1).and_then(|rest| rest.split('\r').next());
        match (path(head), port) {
            ("/", Some(port)) => {
                let frame = |site| format!("<iframe src=//site{site}.test:{port}/some></iframe>");
                page(&(0..24).map(frame).collect::<String>())
            }
            // Each stays below the limit of one page.
            ("/some", _) => page(&GROW.replace("true", "all.length<16")),
            _ => page("fine"),
        }
    })
    .await;
    let mut bench = memory_bench(1);
    let names = (0..24).map(|site| format!("site{site}.test")).chain(["top.test".to_owned()]);
    let overrides: Overrides = names.map(|name| ((name, server.port()), server.ip())).collect();
    bench.tier = BrowserTransport::new(BrowserOptions {
        connector: Arc::new(Connector::new(overrides, TrustConfig::default()).unwrap()),
        scratch_parent: bench.scratch.path().to_owned(),
        ..BrowserOptions::default()
    });
    PEAK.store(0, Ordering::Relaxed);
    let identity = test_identity();
    let request = Request::get(format!("http://top.test:{}/", server.port()).parse().unwrap());
    let error = tokio::select! {
        response = bench.send(&identity, &request, Some("#never")) => response.err().unwrap(),
        _ = peak_memory(&bench) => unreachable!("it does not end"),
    };
    eprintln!("many sites: {}, peak {} MiB", error.chain(), PEAK.load(Ordering::Relaxed));
    assert_eq!(error.kind(), ErrorKind::PageMemory, "{}", error.chain());
    assert!(error.chain().contains("together used"), "{}", error.chain());
    assert!(text(&bench.get(&identity, &format!("http://{server}/ok")).await.unwrap()).contains("fine"));
}

/// Fills the process for graphics.
const CANVASES: &str = "<body><script>const all=[];setInterval(()=>{for(let i=0;i<4;i++){const c=document.createElement('canvas');c.width=c.height=2048;const x=c.getContext('2d');x.fillRect(0,0,2048,2048);x.getImageData(0,0,1,1);all.push(c)}},20)</script>";
/// Fills the process for storage. This memory outlives the page, in its context.
const CACHE: &str = "<script>caches.open('x').then(c=>{let n=0;setInterval(()=>c.put('/'+(n++),new Response(new Uint8Array(2e7))),50)})</script>";
/// Takes 10 MB every 30 ms.
const GROW: &str =
    "<script>const all=[];setInterval(()=>{if(true)all.push(new Uint8Array(1e7).fill(7))},30)</script>";

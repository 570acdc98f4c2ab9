//! When a page is ready: workers, refreshes, fixed waits, expected content.

use super::*;
use crate::settings::render::PageCheck;

async fn view(bench: &Bench, url: &str, render: RenderOptions) -> RawResponse {
    let mut request = Request::get(url.parse().unwrap());
    request.follows_refresh = true;
    bench.render(&test_identity(), &request, &render).await.unwrap()
}

fn settled(got: &RawResponse) -> bool {
    got.browser.as_ref().unwrap().usage.settled
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_with_workers_settle_and_the_requests_of_workers_count() {
    let server = serve(|text| {
        let script = |body: &str| answer("200 OK", &["Content-Type: text/javascript"], body);
        match path(text) {
            "/work.js" => script(
                "(async()=>{for(let i=0;i<3;i++)await fetch('/data?'+i);postMessage(await (await fetch('/data')).text())})()",
            ),
            "/module.js" => script("import {a} from '/part.js';postMessage(a)"),
            "/part.js" => script("export const a='worked'"),
            "/nest.js" => script("new Worker('/work.js').onmessage=e=>postMessage(e.data)"),
            "/shared.js" => script("onconnect=e=>e.ports[0].postMessage('worked')"),
            "/service.js" => script("oninstall=e=>e.waitUntil(fetch('/data'))"),
            "/hang.js" => script("fetch('/hang');postMessage('worked')"),
            "/hang" => String::new(),
            "/missing.js" => answer("404 Not Found", &[], ""),
            path if path.starts_with("/data") => answer("200 OK", &[], "worked"),
            path => {
                let start = match path {
                    "/module" => "new Worker('/module.js',{type:'module'}).onmessage=show",
                    "/nested" => "new Worker('/nest.js').onmessage=show",
                    "/blob" => {
                        "new Worker(URL.createObjectURL(new Blob([\"postMessage('worked')\"]))).onmessage=show"
                    }
                    "/shared" => "const w=new SharedWorker('/shared.js');w.port.onmessage=show",
                    "/service" => "navigator.serviceWorker.register('/service.js').then(()=>show({data:'worked'}))",
                    "/missing" => "new Worker('/missing.js').onerror=()=>show({data:'worked'})",
                    "/ended" => "const w=new Worker('/hang.js');w.onmessage=e=>{w.terminate();show(e)}",
                    _ => "new Worker('/work.js').onmessage=show",
                };
                page(&format!("<p id=p></p><script>const show=e=>{{p.textContent=e.data}};{start}</script>"))
            }
        }
    })
    .await;
    let mut bench = Bench::new(|_| {});
    // So long that a page which never settles ends at the limit of the whole visit.
    bench.limits.browser_settle = Duration::from_secs(50);
    let kinds = ["/dedicated", "/module", "/nested", "/blob", "/shared", "/service", "/missing", "/ended"];
    for kind in kinds {
        let got = view(&bench, &format!("http://{server}{kind}"), RenderOptions::default()).await;
        assert!(settled(&got) && text(&got).contains(">worked<"), "{kind}: {}", text(&got));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_within_five_seconds_is_a_redirect() {
    let server = serve(|text| {
        let refresh = |to: &str| page(&format!("<meta http-equiv=refresh content='1.2;url={to}'>early"));
        match path(text) {
            "/meta" => refresh("/target"),
            "/chain" => refresh("/meta"),
            "/back" => refresh("/back2"),
            "/back2" => refresh("/back"),
            "/self" => refresh("/self"),
            "/header" => answer("200 OK", &["Content-Type: text/html", "Refresh: 1; url=/target"], "early"),
            "/script" => page("early<script>setTimeout(()=>location='/target',900)</script>"),
            "/later" => page("<meta http-equiv=refresh content='600;url=/target'>early"),
            _ => page("the target"),
        }
    })
    .await;
    let bench = Bench::new(|_| {});
    let url = |path: &str| format!("http://{server}{path}");
    for (path, redirects, want) in [
        ("/meta", &["/meta"][..], "the target"),
        ("/header", &["/header"], "the target"),
        ("/chain", &["/chain", "/meta"], "the target"),
        ("/self", &[], "early"),
        ("/back", &["/back"], "early"),
        ("/later", &[], "early"),
    ] {
        let got = view(&bench, &url(path), RenderOptions::default()).await;
        let chain: Vec<_> = got.redirects.iter().map(|redirect| redirect.url.path()).collect();
        assert!(settled(&got) && text(&got).contains(want), "{path}: {}", text(&got));
        assert_eq!(chain, redirects, "{path}");
    }
    let wait = RenderOptions { wait: Some(Duration::from_secs(2)), ..RenderOptions::default() };
    let got = view(&bench, &url("/script"), wait).await;
    assert!(text(&got).contains("the target") && got.url.path() == "/target", "{}", text(&got));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_expected_is_waited_for_as_for_the_end_of_a_challenge() {
    let server = serve(|text| match path(text) {
        "/changes" => page("wait<script>setTimeout(()=>document.body.textContent='goods',1500)</script>"),
        "/reloads" if text.contains("ok=1") => page("goods"),
        "/reloads" => {
            page("wait<script>setTimeout(()=>{document.cookie='ok=1';location.reload()},1500)</script>")
        }
        _ => page("wait"),
    })
    .await;
    let mut bench = Bench::new(|_| {});
    for (path, want) in [("/changes", "goods"), ("/reloads", "goods"), ("/never", "wait")] {
        if path == "/never" {
            bench.limits.browser_challenge = Duration::from_secs(1);
        }
        let is_expected =
            |_: u16, _: &HeaderMap, _: &Url, body: &[u8]| body.windows(6).any(|text| text == b">goods");
        let expected = Some(PageCheck(Arc::new(is_expected)));
        let render = RenderOptions { expected, ..RenderOptions::default() };
        let got = text(&view(&bench, &format!("http://{server}{path}"), render).await);
        assert!(got.contains(&format!("<body>{want}")), "{path}: {got}");
    }
}

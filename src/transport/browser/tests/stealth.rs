use super::*;

const NAVIGATOR_SCRIPT: &str = "async function describe(){const h=navigator.userAgentData?await navigator.userAgentData.\
    getHighEntropyValues(['fullVersionList','platformVersion','architecture','bitness']):{};\
    return JSON.stringify([navigator.userAgent,h.brands,h.fullVersionList,h.architecture,h.bitness,\
    navigator.languages,navigator.platform])}";

#[tokio::test(flavor = "multi_thread")]
async fn page_frames_and_workers_are_all_the_profile_s_browser() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let recorder = Arc::clone(&heads);
    let server = serve(move |head| {
        recorder.lock().unwrap().push(head.to_owned());
        let script = |text: &str| answer("200 OK", &["Content-Type: text/javascript"], text);
        match path(head) {
            "/worker" => script(&format!("{NAVIGATOR_SCRIPT} describe().then(w=>postMessage(w))")),
            "/shared" => script(&format!("{NAVIGATOR_SCRIPT} onconnect=e=>describe().then(w=>e.ports[0].postMessage(w))")),
            "/service" => script(&format!("{NAVIGATOR_SCRIPT} onmessage=e=>describe().then(w=>e.source.postMessage(w))")),
            "/frame" => page(&format!("<script>{NAVIGATOR_SCRIPT} describe().then(w=>parent.postMessage(w,'*'))</script>")),
            "/" => page(&format!(
                "<title>x</title><script>{NAVIGATOR_SCRIPT}
                const put=(id,t)=>{{const p=document.createElement('p');p.id=id;p.textContent=t;document.body.append(p)}};
                onload=()=>{{
                describe().then(w=>put('page',w)); put('driver',String(navigator.webdriver));
                new Worker('/worker').onmessage=e=>put('worker',e.data);
                const s=new SharedWorker('/shared'); s.port.onmessage=e=>put('shared',e.data); s.port.start();
                navigator.serviceWorker.onmessage=e=>put('service',e.data);
                navigator.serviceWorker.register('/service').then(()=>navigator.serviceWorker.ready)
                  .then(r=>r.active.postMessage(''));
                onmessage=e=>put('frame',e.data);
                const f=document.createElement('iframe'); f.src=location.href.replace('127.0.0.1','localhost')+'frame';
                document.body.append(f);
                }}</script>"
            )),
            _ => answer("404 Not Found", &[], "no"),
        }
    })
    .await;
    let bench = Bench::new(|_| {});
    let request = Request::get(format!("http://{server}/").parse().unwrap());
    let all = Some("body:has(#page):has(#worker):has(#shared):has(#service):has(#frame)");
    let got = text(&bench.send(&test_identity(), &request, all).await.unwrap());
    let reported = |id: &str| {
        let start = got.find(&format!("<p id=\"{id}\">")).unwrap_or_else(|| panic!("no {id} in {got}"));
        got[start..].split(['>', '<']).nth(2).unwrap().to_owned()
    };
    assert_eq!(reported("driver"), "false");
    let page = reported("page");
    assert!(!page.contains("Headless"), "{page}");
    let profile = Profile::named("chrome-156-linux").unwrap();
    let browser = profile.browser.as_ref().unwrap();
    let brand = |list: &[Brand]| {
        let one = |b: &Brand| format!("{{\"brand\":\"{}\",\"version\":\"{}\"}}", b.brand, b.version);
        format!("[{}]", list.iter().map(one).collect::<Vec<_>>().join(","))
    };
    let want = format!(
        "[\"{}\",{},{},\"x86\",\"64\",[\"en-US\",\"en\"],\"Linux x86_64\"]",
        browser.user_agent,
        brand(&browser.brands),
        brand(&browser.full_version_list)
    );
    assert_eq!(page, want);
    for id in ["worker", "shared", "service", "frame"] {
        assert_eq!(reported(id), page, "{id}");
    }
    for head in heads.lock().unwrap().iter() {
        assert!(head.contains(&browser.user_agent) && !head.contains("Headless"), "{head}");
    }
}

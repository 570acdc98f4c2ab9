//! What is read of a page: characters, shadow trees, lists that scroll, frames.

use super::*;

async fn view(bench: &Bench, url: &str, render: RenderOptions) -> RawResponse {
    let request = Request::get(url.parse().unwrap());
    bench.render(&test_identity(), &request, &render).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn surrogates_and_shadow_trees_are_in_the_dom() {
    let server = serve(|text| {
        page(match path(text) {
            "/surrogates" => {
                "<p id=p>x</p><script>const s='\\u{1f600}\\ud83d';document.title=s;p.textContent=s+' text';\
                 p.title='\\udc00 title';history.pushState(1,'','/'+s);console.log(s)</script>"
            }
            _ => {
                "<s-card><template shadowrootmode=open><i>declared</i><slot></slot></template>light</s-card>\
                 <div id=a></div><div id=b></div><input value=v><script>\
                 a.attachShadow({mode:'open'}).innerHTML='<b>opened</b><div id=n></div>';\
                 a.shadowRoot.querySelector('div').attachShadow({mode:'closed'}).innerHTML='nested';\
                 const root=b.attachShadow({mode:'closed'});root.innerHTML='<b>closed</b>';\
                 setTimeout(()=>root.append(Object.assign(document.createElement('u'),{id:'late'})),1500)</script>"
            }
        })
    })
    .await;
    let bench = Bench::new(|_| {});
    let got = text(&view(&bench, &format!("http://{server}/surrogates"), RenderOptions::default()).await);
    for part in ["\u{1f600}\u{fffd} text", "\"\u{fffd} title\"", "<title>\u{1f600}\u{fffd}<"] {
        assert!(got.contains(part), "{part}: {got}");
    }
    let wait_for = Some("#late".to_owned());
    let render = RenderOptions { wait_for, ..RenderOptions::default() };
    let got = text(&view(&bench, &format!("http://{server}/shadow"), render).await);
    assert!(got.contains("<u id=\"late\">"), "in a closed tree: {got}");
    let wait_for = Some("s-card i, #n".to_owned());
    let render = RenderOptions { wait_for, ..RenderOptions::default() };
    let got = text(&view(&bench, &format!("http://{server}/shadow"), render).await);
    for part in [
        "<s-card><template shadowrootmode=\"open\"><i>declared</i><slot></slot></template>light</s-card>",
        "<template shadowrootmode=\"open\"><b>opened</b>",
        "<div id=\"n\"><template shadowrootmode=\"closed\">nested</template></div>",
        "<template shadowrootmode=\"closed\"><b>closed</b>",
        "<input value=\"v\"><script>",
    ] {
        assert!(got.contains(part), "{part}: {got}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_that_a_wheel_moves_is_scrolled_to_its_end() {
    const STYLE: &str = "<style>html,body{margin:0;height:100%}.i{height:300px}\
        .whole{height:100vh;overflow:auto}.fixed{overflow:hidden}</style>";
    const GROW: &str = "let at=0;const list=document.getElementById('list');const more=()=>{\
        for(let i=0;i<8&&at<24;i++,at++){const d=document.createElement('div');d.className='i';\
        if(location.pathname!='/box')d.textContent=at;list.append(d)}};more();";
    let server = serve(|text| {
        let on_scroll = |target: &str, box_: &str| {
            format!("{GROW}{target}.addEventListener('scroll',()=>{{if({box_}.scrollTop+{box_}.clientHeight>{box_}.scrollHeight-400)more()}})")
        };
        let body = match path(text) {
            "/window" => format!(
                "<div id=list></div><script>{}</script>",
                on_scroll("window", "document.documentElement")
            ),
            "/box" => format!(
                "<body class=fixed><div id=list class=whole></div><script>{}</script>",
                on_scroll("list", "list")
            ),
            "/body" => format!(
                "<style>html{{overflow:hidden}}body{{overflow:auto}}</style><body id=list><script>{}</script>",
                on_scroll("list", "list")
            ),
            "/shadow" => "<div id=host></div><script>const root=host.attachShadow({mode:'open'});\
                 root.innerHTML='<style>.i{height:300px}</style><div id=box style=\"height:100vh;overflow:auto\"></div>';\
                 const box=root.getElementById('box');let at=0;const more=()=>{for(let i=0;i<8&&at<24;i++,at++){\
                 const d=document.createElement('div');d.className='i';d.textContent=at;box.append(d)}};more();\
                 box.onscroll=()=>{if(box.scrollTop+box.clientHeight>box.scrollHeight-400)more()}</script>"
                .to_owned(),
            _ => format!(
                "<body class=fixed><div id=list style='width:40%;height:100vh;overflow:auto'></div><script>{}</script>",
                on_scroll("list", "list")
            ),
        };
        page(&format!("<!doctype html>{STYLE}{body}"))
    })
    .await;
    let bench = Bench::new(|_| {});
    for place in ["/window", "/box", "/body", "/shadow", "/side"] {
        let render = RenderOptions { scroll: true, ..RenderOptions::default() };
        let got = view(&bench, &format!("http://{server}{place}"), render).await;
        assert_eq!(text(&got).matches("class=\"i\"").count(), 24, "{place}");
        assert!(got.browser.unwrap().usage.settled, "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_the_page_and_of_other_sites_are_read() {
    let server = serve(|text| {
        let other = text.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
        let port = other.rsplit(':').next().unwrap_or_default().to_owned();
        match path(text) {
            "/" => page(&format!(
                "<iframe src=/own></iframe><iframe src=http://localhost:{port}/other></iframe>\
                 <iframe srcdoc='<p>inline</p>'></iframe><iframe></iframe>"
            )),
            "/own" => page("own<iframe src=/inner></iframe>"),
            "/set" => page("<frameset cols='50%,50%'><frame src=/own><frame src=/inner></frameset>"),
            path => page(&format!("in {path}<script>document.body.append('\\ud83d')</script>")),
        }
    })
    .await;
    let mut bench = Bench::new(|_| {});
    bench.limits.browser_settle = Duration::from_secs(50);
    for (path, want) in [
        ("/", &["/own:own", "/inner:in /inner", "/other:in /other", "srcdoc:inline"][..]),
        ("/set", &["/own:own", "/inner:in /inner", "/inner:in /inner"]),
    ] {
        let render = RenderOptions { frames: true, ..RenderOptions::default() };
        let got = view(&bench, &format!("http://{server}{path}"), render).await;
        let frames = got.browser.unwrap().frames.unwrap();
        assert_eq!(frames.len(), want.len(), "{frames:?}");
        for part in want {
            let (url, content) = part.split_once(':').unwrap();
            let is_it = |frame: &&crate::exchange::response::FrameDocument| {
                frame.url.ends_with(url) && frame.html.contains(content)
            };
            assert!(frames.iter().any(|frame| is_it(&frame)), "{part}: {frames:?}");
        }
    }
    let got = view(&bench, &format!("http://{server}/"), RenderOptions::default()).await;
    assert_eq!(got.browser.unwrap().frames, None, "not requested");
}

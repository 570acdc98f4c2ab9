//! Records what the machine's own Chromium says in the contexts a browser profile holds.
//!
//! `cargo run --example record -- FOLDER [BROWSER]` writes one JSON file per context, and the
//! reference of the demo origin.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rungs::lab::{Authority, Chromium, Connection, Heard, Launch, Origin, Recorder, Reply};
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: record FOLDER")?);
    std::fs::create_dir_all(&folder)?;
    let authority = Arc::new(Authority::new(&["one.test", "two.test", "127.0.0.1"])?);
    let h2 = Recorder::builder().tls(Arc::clone(&authority), &["h2", "http/1.1"]).start(site).await?;
    let h1 = Recorder::builder().tls(Arc::clone(&authority), &["http/1.1"]).start(site).await?;
    let clear = Recorder::builder().start(site).await?;
    for (name, recorder, scheme) in
        [("h2", &h2, "https"), ("h1", &h1, "https"), ("cleartext", &clear, "http")]
    {
        // A fresh browser for each, since cookies do not mind the port.
        let chromium = Chromium::start(Launch {
            binary: std::env::args().nth(2).map(PathBuf::from),
            pin: Some(authority.pin()?),
            rules: Some("MAP *.test 127.0.0.1".to_owned()),
            ..Launch::default()
        })
        .await?;
        let port = recorder.addr().port();
        let site = |host: &str, path: &str| format!("{scheme}://{host}.test:{port}{path}");
        for (context, url, last) in [
            ("navigation", site("one", "/page"), "/page"),
            ("redirect-same", site("one", "/to-same"), "/landed"),
            ("redirect-cross", site("one", &format!("/to-cross?{scheme}://two.test:{port}")), "/landed"),
            ("form", site("one", "/form"), "/submit"),
            ("form-link", site("one", "/linking"), "/linked"),
            ("set-cookies", site("one", "/set-cookies"), "/set-cookies"),
            ("cookies", site("one", "/with-cookies"), "/with-cookies"),
            ("resumed", site("one", "/again"), "/again"),
        ] {
            recorder.clear();
            chromium.open(&url).await?;
            let seen = recorder.until(Duration::from_secs(10), |all| heard(all, last)).await;
            sleep(Duration::from_millis(300)).await;
            if !seen {
                eprintln!("{name} {context}: {last} was not asked for");
            }
            let text = serde_json::to_string_pretty(&recorder.connections())?;
            std::fs::write(folder.join(format!("{name}-{context}.json")), text)?;
        }
        chromium.stop().await?;
    }
    // What the demo origin's gate compares with.
    let origin = Origin::start(None).await?;
    std::fs::write(folder.join("reference.json"), serde_json::to_string_pretty(&origin.reference())?)?;
    Ok(())
}

fn heard(all: &[Connection], path: &str) -> bool {
    all.iter().flat_map(|c| &c.requests).any(|r| r.path == path)
}

/// Every answer but the icon's ends its connection, so that each context shows a whole opening.
fn site(heard: &Heard) -> Reply {
    let path = heard.request.path.as_str();
    match path {
        "/to-same" => Reply::redirect(302, "/landed"),
        "/favicon.ico" => Reply::status(404),
        "/form" => Reply::html(200, FORM),
        "/linking" => Reply::html(200, LINKING),
        "/set-cookies" => Reply::html(200, "<title>set</title>")
            .header("set-cookie", "first=1; Path=/")
            .header("set-cookie", "second=two; Path=/")
            .closing(),
        _ => match path.strip_prefix("/to-cross?") {
            Some(other) => Reply::redirect(302, format!("{other}/landed")),
            None => Reply::html(200, "<title>page</title><p>heard").closing(),
        },
    }
}

const FORM: &str = r#"<title>form</title><form method="post" action="/submit">
<input name="q" value="a b"><input name="r" value="c"><button>send</button></form>
<script>document.querySelector("button").click()</script>"#;

const LINKING: &str =
    r#"<title>link</title><a href="/linked">on</a><script>document.querySelector("a").click()</script>"#;

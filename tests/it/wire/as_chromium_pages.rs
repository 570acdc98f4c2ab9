//! What a page is: text, links and refreshes of the plain tier are those of the installed Chromium.
//!
//! `cargo test --test it -- as_chromium_pages --nocapture` prints the table.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rungs::batch::Record;
use rungs::extract::Extractor;
use rungs::lab::{Chromium, LaunchOptions};
use rungs::{Fetcher, Tier};

use crate::support::{RawConnection, RawServer, until_async};

#[path = "page_rows.rs"]
mod rows;

use rows::Row;

/// What was shown of each row.
type Reports = Arc<Mutex<BTreeMap<usize, String>>>;

/// A script loads each row into a frame without scripts, and reports what READ returns for its document.
const READER: &str = "<!doctype html><body><script>
const links=d=>[...new Set([...d.querySelectorAll('a[href],area[href]')].map(a=>{try{
const u=new URL(a.href);u.hash=u.username=u.password='';return /^https?:/.test(u)?u.href:'';}catch(e){return '';}}))]
.filter(u=>u).join('\\n');
(async()=>{for(let n=0;n<COUNT;n++){let said;const f=document.createElement('iframe');
f.width=800;f.height=600;f.sandbox='allow-same-origin';f.src='/row/'+n+'/page';
await new Promise(done=>{f.onload=done;document.body.append(f)});
try{const d=f.contentDocument;said=READ}catch(e){said='error: '+e}
await fetch('/report/'+n,{method:'POST',body:said});f.remove();}})()</script>";

/// A script loads each row into a frame, and says when no refresh is due any more.
const FRAMES: &str = "<!doctype html><body><script>
let left=COUNT;for(let n=0;n<COUNT;n++){const f=document.createElement('iframe');f.src='/row/'+n+'/page';
f.onload=()=>{f.onload=null;if(--left==0)setTimeout(()=>fetch('/done',{method:'POST'}),2500)};document.body.append(f)}
</script>";

/// Serves `page` at `/` and the rows. What is asked of a row besides its page is where its refresh leads.
fn serve(page: &str, rows: &[Row], reports: &Reports, conn: &mut RawConnection) -> io::Result<()> {
    let head = conn.read_head()?;
    let mut words = head.split(' ').skip(1);
    let path = words.next().unwrap_or_default();
    let field = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(own, value)| own.eq_ignore_ascii_case(name).then_some(value))
    };
    let mut parts = path.splitn(4, '/').skip(1);
    let (first, number) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_page = parts.next() == Some("page");
    let row = number.parse().ok().and_then(|number: usize| Some((number, rows.get(number)?)));
    let mut reports = reports.lock().unwrap_or_else(PoisonError::into_inner);
    let (kind, refresh, body) = match (first, row) {
        ("report", Some((number, _))) => {
            let length = field("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            reports.insert(number, String::from_utf8_lossy(&conn.read_bytes(length)?).into_owned());
            ("text/plain", None, Vec::new())
        }
        ("done", _) => {
            reports.insert(rows.len(), String::new());
            ("text/plain", None, Vec::new())
        }
        ("row", Some((_, row))) if is_page && !row.refreshes => (row.kind, None, row.page.clone()),
        ("row", Some((number, row))) if is_page && !reports.contains_key(&number) => {
            reports.insert(number, String::new());
            let port = field("host").and_then(|host| host.rsplit(':').next()).unwrap_or_default();
            let text = |part: &[u8]| String::from_utf8_lossy(part).replace("PORT", port);
            (row.kind, row.refresh.as_ref().map(|value| text(value.as_bytes())), text(&row.page).into_bytes())
        }
        ("row", Some((number, _))) => {
            // A page that loads itself again is the page.
            if !is_page {
                reports.insert(number, format!("{} {path}", field("host").unwrap_or_default()));
            }
            ("text/html", None, b"<p>the end".to_vec())
        }
        _ => ("text/html", None, page.replace("COUNT", &rows.len().to_string()).into_bytes()),
    };
    drop(reports);
    let refresh = refresh.map(|value| format!("Refresh: {value}\r\n")).unwrap_or_default();
    let length = body.len();
    conn.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{refresh}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    ))?;
    conn.send(body)
}

fn start(page: &str, rows: &Arc<Vec<Row>>) -> (RawServer, Reports) {
    let (reports, page) = (Reports::default(), page.to_owned());
    let server = RawServer::start({
        let (rows, reports) = (Arc::clone(rows), Arc::clone(&reports));
        move |conn| serve(&page, &rows, &reports, conn)
    });
    (server, reports)
}

/// Opens the server's page in Chromium, and returns what it reported of all rows, once `count` reports are there.
async fn in_chromium(server: &RawServer, reports: &Reports, count: usize) -> BTreeMap<usize, String> {
    let chromium =
        Chromium::start(LaunchOptions::default()).await.expect("Chromium starts; `make deps` installs it");
    chromium.open(&server.url("/")).await.expect("Chromium opens a page");
    let read = || reports.lock().unwrap_or_else(PoisonError::into_inner).clone();
    until_async("all reports of Chromium", || read().len() == count).await;
    chromium.stop().await.expect("Chromium ends");
    read()
}

fn fetcher() -> Fetcher {
    let builder = Fetcher::builder().min_tier(Tier::Plain).max_tier(Tier::Plain).retries(0);
    builder.build().expect("the settings are good")
}

/// What the plain tier extracts of each row, as the member `name` of its record.
async fn extracted(server: &RawServer, extractor: &Extractor, name: &str, count: usize) -> Vec<String> {
    let (fetcher, mut all) = (fetcher(), Vec::new());
    for number in 0..count {
        let url = server.url(&format!("/row/{number}/page"));
        let mut record = Record::new(&url, fetcher.get(&url).send().await);
        record.extract(extractor);
        let record: serde_json::Value = serde_json::from_str(&record.to_json()).expect("a record is JSON");
        all.push(match &record[name] {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Array(items) => {
                items.iter().filter_map(|item| item.as_str()).collect::<Vec<_>>().join("\n")
            }
            _ => format!("error: {}", record["error"]),
        });
    }
    all
}

/// Compares, prints the table, and fails for differences that are not listed and for listed ones that are none.
fn compare(area: &str, rows: &[Row], ours: &[String], theirs: &[String]) {
    assert!(rows.len() >= 40, "{area}: {} rows", rows.len());
    let (mut equal, mut reasons, mut wrong) = (0, 0, Vec::new());
    for ((row, ours), theirs) in rows.iter().zip(ours).zip(theirs) {
        let line = format!("{}\n    rungs    {ours:?}\n    Chromium {theirs:?}", row.name());
        match row.difference {
            None if ours == theirs => equal += 1,
            Some(reason) if ours != theirs => {
                println!("{area}: {line}\n    {reason}");
                reasons += 1;
            }
            _ => wrong.push(line),
        }
    }
    println!("{area}: {} rows, {equal} equal, {reasons} different with a reason", rows.len());
    assert!(wrong.is_empty(), "{area}:\n{}", wrong.join("\n"));
}

async fn compare_extracted(area: &str, rows: Vec<Row>, read: &str, extractor: &Extractor) {
    let rows = Arc::new(rows);
    let (server, reports) = start(&READER.replace("READ", read), &rows);
    let theirs = in_chromium(&server, &reports, rows.len()).await;
    reports.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let ours = extracted(&server, extractor, area, rows.len()).await;
    compare(area, &rows, &ours, &theirs.into_values().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_of_a_page_is_that_of_chromium() {
    compare_extracted("text", rows::texts(), "d.body.innerText", &Extractor::new().text(true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_links_of_a_page_are_those_of_chromium() {
    compare_extracted("links", rows::links(), "links(d)", &Extractor::new().links(true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_leads_where_it_leads_chromium() {
    let rows = Arc::new(rows::refreshes());
    let (server, reports) = start(FRAMES, &rows);
    let theirs = in_chromium(&server, &reports, rows.len() + 1).await;
    let port = server.port().to_string();
    drop(server);
    let (server, reports) = start("", &rows);
    let fetcher = fetcher();
    for number in 0..rows.len() {
        // Where a fetch fails, the requests until then count.
        let _ = fetcher.get(server.url(&format!("/row/{number}/page"))).send().await;
    }
    let ours = reports.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let own_port = server.port().to_string();
    let table = |all: BTreeMap<usize, String>, port: &str| -> Vec<String> {
        all.into_values().take(rows.len()).map(|text| text.replace(port, "PORT")).collect()
    };
    compare("refreshes", &rows, &table(ours, &own_port), &table(theirs, &port));
}

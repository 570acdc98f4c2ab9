//! Responses that are not as the RFCs want them: the HTTP tiers deliver what the installed Chromium shows.
//!
//! `cargo test --test it -- as_chromium_http --nocapture` prints the table.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rungs::lab::{Chromium, LaunchOptions};
use rungs::{Fetcher, Tier};

use crate::support::{RawConnection, RawServer, until_async};

#[path = "http_rows.rs"]
mod rows;

use rows::Row;

/// The status and the body. `None`: an error.
type Shown = Option<(u16, String)>;

type Reports = Arc<Mutex<Vec<Option<Shown>>>>;

/// A script fetches each row and reports what it read: its requests use the same network stack as navigations.
const PAGE: &str = "<script>(async()=>{for(let n=0;n<COUNT;n++){let said='error';try{
const r=await fetch('/row/'+n,{redirect:'manual',cache:'no-store'});said=r.status+' '+await r.text();}catch(e){}
await fetch('/report/'+n,{method:'POST',body:said});}})()</script>";

fn serve(rows: &[Row], reports: &Reports, conn: &mut RawConnection) -> io::Result<()> {
    let head = conn.read_head()?;
    let path = head.split(' ').nth(1).unwrap_or_default();
    let number = path.rsplit('/').next().and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
    if path.starts_with("/report/") {
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let said = conn.read_bytes(length.unwrap_or(0))?;
        let said = String::from_utf8_lossy(&said).into_owned();
        let shown =
            said.split_once(' ').and_then(|(status, body)| Some((status.parse().ok()?, body.to_owned())));
        reports.lock().unwrap_or_else(PoisonError::into_inner)[number] = Some(shown);
        return conn.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    if path.starts_with("/row/") {
        return conn.send(&rows[number].response);
    }
    let page = PAGE.replace("COUNT", &rows.len().to_string());
    let length = page.len();
    conn.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{page}"
    ))
}

async fn in_chromium(server: &RawServer, reports: &Reports) -> Vec<Shown> {
    let chromium =
        Chromium::start(LaunchOptions::default()).await.expect("Chromium starts; `make deps` installs it");
    chromium.open(&server.url("/")).await.expect("Chromium opens a page");
    let read =
        || reports.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect::<Option<Vec<_>>>();
    until_async("all reports of Chromium", || read().is_some()).await;
    chromium.stop().await.expect("Chromium ends");
    read().expect("all were there")
}

async fn in_rungs(server: &RawServer, tier: Tier, count: usize) -> Vec<Shown> {
    let mut all = Vec::new();
    for number in 0..count {
        // The circuit of the host opens after many errors.
        let fetcher = Fetcher::builder().min_tier(tier).max_tier(tier).retries(0);
        let fetcher = fetcher.build().expect("the settings are good");
        let response = fetcher.get(server.url(&format!("/row/{number}"))).send().await;
        all.push(response.ok().map(|response| {
            (response.status().as_u16(), String::from_utf8_lossy(response.bytes()).into_owned())
        }));
    }
    all
}

fn shortened(shown: &Shown) -> String {
    shown.as_ref().map_or("error".to_owned(), |(status, body)| {
        format!("{status} {:?} of {}", body.chars().take(12).collect::<String>(), body.len())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_http_tiers_deliver_what_chromium_shows() {
    let rows: Arc<Vec<Row>> = Arc::new(rows::rows().await);
    let reports: Reports = Arc::new(Mutex::new(vec![None; rows.len()]));
    let server = RawServer::start({
        let (rows, reports) = (Arc::clone(&rows), Arc::clone(&reports));
        move |conn| serve(&rows, &reports, conn)
    });
    let chromium = in_chromium(&server, &reports).await;
    let (mut equal, mut wrong) = (0, Vec::new());
    for tier in [Tier::Plain, Tier::Impersonate] {
        let shown = in_rungs(&server, tier, rows.len()).await;
        for ((row, ours), theirs) in rows.iter().zip(&shown).zip(&chromium) {
            let line = format!("{tier:?} {}: {}, Chromium {}", row.name, shortened(ours), shortened(theirs));
            match row.difference {
                None if ours == theirs => equal += 1,
                Some(reason) if ours != theirs => println!("{line}: {reason}"),
                _ => wrong.push(line),
            }
        }
    }
    println!("{equal} of {} equal", 2 * rows.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! A public site cannot make a fetch reach private addresses.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{FinishedRun, RawConnection, RawServer, Squid, rungs};

const TIERS: &[&str] =
    if cfg!(feature = "browser") { &["plain", "impersonate", "browser"] } else { &["plain", "impersonate"] };

fn fetch(tier: &str, arguments: &[&str]) -> FinishedRun {
    let fixed = ["fetch", "--retry", "0", "--tier", tier];
    rungs(fixed.into_iter().chain(arguments.iter().copied()))
}

fn page(conn: &mut RawConnection, status: &str, field: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    conn.send(format!(
        "HTTP/1.1 {status}\r\n{field}\r\ncontent-type: text/html\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

/// A server that must not be reached, and the number of its requests.
fn private_server() -> (RawServer, Arc<AtomicUsize>) {
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&visits);
    let server = RawServer::start(move |conn| {
        conn.read_head()?;
        counted.fetch_add(1, Ordering::SeqCst);
        page(conn, "200 OK", "access-control-allow-origin: *", "<title>treasure</title>")
    });
    (server, visits)
}

/// Leads to `to`, by a redirect or by a page that requests it.
fn redirect_to(to: String) -> RawServer {
    RawServer::start(move |conn| {
        let head = conn.read_head()?;
        if head.contains("/page") {
            let body = format!(
                "<title>page</title><img src={to}/i><iframe src={to}/f></iframe>\
                 <script>fetch('{to}/s',{{mode:'no-cors'}}).catch(()=>0)</script>"
            );
            return page(conn, "200 OK", "x: y", &body);
        }
        page(conn, "302 Found", &format!("location: {to}/"), "")
    })
}

#[test]
fn a_redirect_of_a_public_site_to_a_private_address_is_refused_on_every_tier() {
    let squid = Squid::start();
    let proxy = squid.url();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let (private_server, visits) = private_server();
        let target = format!("http://{host}:{}", private_server.port());
        let server = redirect_to(target);
        // Taken for public: the proxy resolves the name.
        let site = format!("http://site.test:{}/", server.port());
        let known = format!("site.test:{}:127.0.0.1", server.port());
        for tier in TIERS {
            let ways = [vec!["-x", &*proxy], vec!["--resolve", &*known]];
            for way in ways {
                let run = fetch(tier, &[&way[..], &["--format", "json", &site]].concat());
                assert_eq!(
                    (run.code, run.json()["error"]["kind"].as_str()),
                    (6, Some("redirect")),
                    "{tier}\n{run}"
                );
                assert!(
                    run.stderr.contains("private address") && run.stderr.contains("--allow-private"),
                    "{run}"
                );
                assert_eq!(visits.load(Ordering::SeqCst), 0, "{tier} {host} {way:?}");
                assert!(!run.to_string().contains("treasure"), "{run}");
            }
        }
    }
}

#[test]
fn private_addresses_the_user_names_or_allows_are_fetched() {
    let squid = Squid::start();
    let (private_server, _) = private_server();
    let server = redirect_to(format!("http://127.0.0.1:{}", private_server.port()));
    let site = format!("http://site.test:{}/", server.port());
    let typed = format!("http://127.0.0.1:{}/", server.port());
    for tier in TIERS {
        for (flags, url) in [
            (vec!["-x", &*squid.url(), "--allow-private"], &site),
            (vec!["-x", &*squid.url()], &typed),
            (vec![], &typed),
        ] {
            let run = fetch(tier, &[&flags[..], &[url]].concat());
            assert!(run.code == 0 && run.text().contains("treasure"), "{tier} {flags:?} {url}\n{run}");
        }
    }
}

#[cfg(feature = "browser")]
#[test]
fn a_public_page_in_the_browser_reaches_no_private_address_behind_a_proxy() {
    let squid = Squid::start();
    let (private_server, visits) = private_server();
    let server = redirect_to(format!("http://127.0.0.1:{}", private_server.port()));
    let site = format!("http://site.test:{}/page", server.port());
    let run = fetch("browser", &["-x", &squid.url(), &site]);
    assert!(run.code == 0 && run.text().contains("<title>page</title>"), "{run}");
    assert_eq!(visits.load(Ordering::SeqCst), 0, "a private address was reached");
    // Control: the same page of a private site may make the request, and it is counted.
    let typed = format!("http://127.0.0.1:{}/page", server.port());
    let run = fetch("browser", &["-x", &squid.url(), &typed]);
    assert_eq!(run.code, 0, "{run}");
    assert!(visits.load(Ordering::SeqCst) >= 2, "{} visits", visits.load(Ordering::SeqCst));
}

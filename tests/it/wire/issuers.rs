//! Intermediate certificates that a server does not send are fetched from where its certificate says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{CertFolder, Draft, FinishedRun, Made, RawServer, rungs};

const TIERS: [&str; 2] = ["plain", "impersonate"];

/// A root, and an intermediate certificate that names no issuer of its own.
fn authorities() -> (Made, Made) {
    let root = Draft::authority("Test Root").self_signed();
    let intermediate = Draft::authority("Test Intermediate").signed_by(&root);
    (root, intermediate)
}

/// A server that sends its own certificate only.
fn https_site(folder: &CertFolder, intermediate: &Made, url: &str) -> RawServer {
    let access: &'static str = Box::leak(format!("caIssuers;URI:{url}").into_boxed_str());
    let leaf = Draft::server("site")
        .with("subjectAltName", "DNS:localhost,IP:127.0.0.1")
        .with("authorityInfoAccess", access)
        .signed_by(intermediate)
        .alone();
    RawServer::start_tls(&folder.leaf("site", &leaf), b"", |conn| {
        conn.read_head()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\npage")
    })
}

/// Answers each request with `answer`, and counts them.
fn authority_site(answer: Vec<u8>) -> (RawServer, Arc<AtomicUsize>) {
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&visits);
    let server = RawServer::start(move |conn| {
        conn.read_head()?;
        counted.fetch_add(1, Ordering::SeqCst);
        conn.send(&answer)
    });
    (server, visits)
}

fn http_answer(status: &str, field: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status}\r\n{field}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn fetch(tier: &str, ca: &str, arguments: &[&str]) -> FinishedRun {
    let fixed = ["fetch", "--retry", "0", "--tier", tier, "--cacert", ca];
    rungs(fixed.into_iter().chain(arguments.iter().copied()))
}

#[test]
fn a_missing_intermediate_is_fetched() {
    let (folder, (root, intermediate)) = (CertFolder::new(), authorities());
    let ca = folder.trusted(&[root]);
    for body in [intermediate.der(), intermediate.pem().into_bytes()] {
        let (authority, visits) = authority_site(http_answer("200 OK", "", &body));
        let site = https_site(&folder, &intermediate, &authority.url("/ca.der"));
        for tier in TIERS {
            let run = fetch(tier, &ca, &[&site.url("/")]);
            assert_eq!((run.code, run.text().as_str()), (0, "page"), "{tier}\n{run}");
        }
        assert_eq!(visits.load(Ordering::SeqCst), TIERS.len(), "once for each run");
        for head in authority.heads() {
            let lower = head.to_ascii_lowercase();
            assert!(
                !lower.contains("cookie") && !lower.contains("sec-fetch") && !lower.contains("\r\naccept:"),
                "{head}"
            );
        }
    }
}

#[test]
fn what_cannot_complete_the_chain_is_an_error_that_names_the_issuer() {
    let (folder, (root, intermediate)) = (CertFolder::new(), authorities());
    let ca = folder.trusted(&[root]);
    let other = Draft::authority("Test Intermediate").self_signed();
    for answer in [
        http_answer("404 Not Found", "", b""),
        http_answer("200 OK", "", b"<html>"),
        http_answer("200 OK", "", &vec![0x30; 70_000]),
        http_answer("302 Found", "Location: https://127.0.0.1:1/\r\n", b""),
        // It has the issuer's name, but it is neither trusted nor the issuer.
        http_answer("200 OK", "", &other.der()),
    ] {
        let (authority, _) = authority_site(answer);
        let site = https_site(&folder, &intermediate, &authority.url("/ca.der"));
        for tier in TIERS {
            let run = fetch(tier, &ca, &[&site.url("/")]);
            assert_eq!(run.code, 1, "{tier}\n{run}");
            assert!(
                run.stderr.contains("Test Intermediate") || run.stderr.contains("not valid"),
                "{tier}\n{run}"
            );
        }
    }
    // Only http URLs are requested.
    let (authority, visits) = authority_site(http_answer("200 OK", "", &intermediate.der()));
    let site = https_site(&folder, &intermediate, &authority.url("/ca.der").replace("http:", "https:"));
    let run = fetch("plain", &ca, &[&site.url("/")]);
    assert!(run.code == 1 && run.stderr.contains("`Test Intermediate`"), "{run}");
    assert_eq!(visits.load(Ordering::SeqCst), 0);
}

#[test]
fn a_fetched_root_is_not_trusted() {
    let (folder, (root, _)) = (CertFolder::new(), authorities());
    let ca = folder.trusted(&[root]);
    let rogue = Draft::authority("Rogue Root").self_signed();
    let (authority, _) = authority_site(http_answer("200 OK", "", &rogue.der()));
    let site = https_site(&folder, &rogue, &authority.url("/ca.der"));
    for tier in TIERS {
        let run = fetch(tier, &ca, &[&site.url("/")]);
        assert!(run.code == 1 && run.stdout.is_empty(), "{tier}\n{run}");
    }
}

#[test]
fn a_public_site_does_not_lead_to_a_private_address() {
    let (folder, (root, intermediate)) = (CertFolder::new(), authorities());
    let ca = folder.trusted(&[root]);
    let (authority, visits) = authority_site(http_answer("200 OK", "", &intermediate.der()));
    let site = https_site(&folder, &intermediate, &authority.url("/ca.der"));
    // An assigned address counts as public.
    let resolve = format!("localhost:{}:127.0.0.1", site.port());
    let url = format!("https://localhost:{}/", site.port());
    let run = fetch("plain", &ca, &["--resolve", &resolve, &url]);
    assert!(run.code == 1 && run.stderr.contains("private address"), "{run}");
    assert_eq!(visits.load(Ordering::SeqCst), 0);
    let run = fetch("plain", &ca, &["--resolve", &resolve, "--allow-private", &url]);
    assert_eq!((run.code, run.text().as_str()), (0, "page"), "{run}");
}

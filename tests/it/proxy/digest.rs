//! `--proxy-digest`: the password of the proxy does not travel, neither in CONNECT nor with an http URL.

use crate::support::{RawServer, rungs};

/// A proxy that asks for Digest authentication, answers http URLs itself and refuses tunnels.
fn proxy() -> RawServer {
    RawServer::start(|conn| {
        let head = conn.read_head()?;
        let answer = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
        match answer {
            Some(answer) if head.starts_with("GET ") => {
                conn.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len()))
            }
            Some(_) => conn.send("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"),
            None => conn.send(
                "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Digest realm=\"r\", nonce=\"n\", \
                 qop=\"auth\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            ),
        }
    })
}

#[test]
fn the_challenge_of_a_proxy_is_answered() {
    for tier in ["plain", "impersonate"] {
        let server = proxy();
        let address = server.url("").replace("http://", "http://jane:s3cret@");
        let fetch = |url: &str| {
            rungs(["fetch", "--tier", tier, "--retry", "0", "--proxy-digest", "-x", &address, url])
        };
        let run = fetch("http://site.test/p?q=1");
        assert_eq!(run.code, 0, "{run}");
        let text = run.text();
        assert!(
            text.starts_with(
                "Digest username=\"jane\", realm=\"r\", nonce=\"n\", uri=\"http://site.test/p?q=1\""
            ),
            "{text}"
        );
        let run = fetch("https://site.test/");
        assert!(run.code == 1 && run.stderr.contains("refused the tunnel with status 502"), "{run}");
        let heads = server.heads();
        assert_eq!(heads.len(), 4, "{heads:?}");
        assert!(heads[3].contains("uri=\"site.test:443\"") && heads[3].starts_with("CONNECT "), "{heads:?}");
        assert!(!heads.concat().contains("Basic "), "{heads:?}");
    }
}

#[test]
fn a_pool_of_proxies_cannot_use_digest() {
    let run = rungs([
        "fetch",
        "--proxy-digest",
        "-x",
        "http://a.test:1",
        "-x",
        "http://b.test:1",
        "http://site.test/",
    ]);
    assert!(run.code == 2 && run.stderr.contains("--proxy-digest"), "{run}");
}

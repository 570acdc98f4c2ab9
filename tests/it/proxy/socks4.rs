//! SOCKS4 and SOCKS4a: the request has their form, and each reply has its own error.

use std::io;

use crate::support::{FinishedRun, RawConnection, RawServer, rungs};

/// Accepts a SOCKS4 request, sends `reply`, and answers HTTP with what the request named.
fn socks4(reply: u8) -> RawServer {
    RawServer::start(move |conn| {
        let head = conn.read_bytes(8)?;
        let user = read_text(conn)?;
        let name = if head[4..7] == [0, 0, 0] { read_text(conn)? } else { String::new() };
        conn.send([0, reply, 0, 0, 0, 0, 0, 0])?;
        if reply == 90 {
            conn.read_head()?;
            let port = u16::from_be_bytes([head[2], head[3]]);
            let text = format!("{}.{} {:?} {port} {user} {name}", head[0], head[1], &head[4..]);
            conn.send(format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
                text.len()
            ))?;
        }
        Ok(())
    })
}

fn read_text(conn: &mut RawConnection) -> io::Result<String> {
    let mut text = String::new();
    loop {
        match conn.read_bytes(1)?[0] {
            0 => return Ok(text),
            byte => text.push(char::from(byte)),
        }
    }
}

fn fetch(tier: &str, proxy: &str, url: &str) -> FinishedRun {
    rungs(["fetch", "--tier", tier, "--retry", "0", "--resolve", "known.test:81:192.0.2.7", "-x", proxy, url])
}

#[test]
fn the_client_or_the_proxy_resolves_names() {
    let server = socks4(90);
    for tier in ["plain", "impersonate"] {
        for (scheme, user, url, expected) in [
            ("socks4", "", "http://known.test:81/", "4.1 [192, 0, 2, 7] 81  "),
            ("socks4", "jane:ignored@", "http://192.0.2.9/", "4.1 [192, 0, 2, 9] 80 jane "),
            ("socks4a", "jane@", "http://far.test/", "4.1 [0, 0, 0, 1] 80 jane far.test"),
            ("socks4a", "", "http://192.0.2.9/", "4.1 [192, 0, 2, 9] 80  "),
        ] {
            let run = fetch(tier, &format!("{scheme}://{user}127.0.0.1:{}", server.port()), url);
            assert_eq!((run.code, run.text().as_str()), (0, expected), "{tier} {scheme} {run}");
        }
    }
}

#[test]
fn refusals_have_their_reasons() {
    for (reply, url, words) in [
        (91, "http://192.0.2.9/", "could not open a tunnel to 192.0.2.9:80"),
        (92, "http://192.0.2.9/", "refused the user"),
        (93, "http://192.0.2.9/", "refused the user"),
        (5, "http://192.0.2.9/", "did not answer with SOCKS4"),
        (90, "http://[2001:db8::1]/", "SOCKS4 does not support this address"),
    ] {
        let server = socks4(reply);
        let run = fetch("plain", &format!("socks4a://127.0.0.1:{}", server.port()), url);
        assert!(run.code == 1 && run.stderr.contains(words), "{reply} {run}");
    }
}

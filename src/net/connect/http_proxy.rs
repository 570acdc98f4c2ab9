//! Tunnels through an HTTP proxy (CONNECT, RFC 9110 section 9.3.6).

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::exchange::digest_auth::DigestAuth;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::net::headers;
use crate::net::tls::BoxIo;
use crate::proxy::{self, Proxy};
use crate::text::redact::Secret;

/// The proxy's answer to CONNECT.
#[derive(Debug)]
pub(crate) enum Answer {
    Opened,
    /// The challenges for a client with Digest authentication.
    Challenged(HeaderMap),
}

/// Requests a tunnel to `authority` from `proxy` on `stream`, and waits for its confirmation.
pub(crate) async fn connect(
    stream: &mut BoxIo,
    proxy: &Proxy,
    authority: &str,
    user_agent: Option<&str>,
    digest: Option<&DigestAuth>,
    within: Duration,
) -> Result<Answer> {
    timeout(within, send_connect(stream, proxy, authority, user_agent, digest)).await.map_err(|_| {
        // The proxy may be waiting for the site.
        let message = format!("timed out after {within:?} waiting for the proxy {proxy} to answer CONNECT");
        proxy::target_error(ErrorKind::Proxy, message)
    })?
}

async fn send_connect(
    stream: &mut BoxIo,
    proxy: &Proxy,
    authority: &str,
    user_agent: Option<&str>,
    digest: Option<&DigestAuth>,
) -> Result<Answer> {
    // The order is Chrome's own.
    let mut head =
        format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nProxy-Connection: keep-alive\r\n");
    if let Some(user_agent) = user_agent {
        head.push_str("User-Agent: ");
        head.push_str(user_agent);
        head.push_str("\r\n");
    }
    head.push_str(
        match digest {
            Some(digest) => digest_header(digest, authority),
            None => authorization_header(proxy),
        }
        .expose(),
    );
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.map_err(|cause| connection_broke(proxy, cause))?;
    let mut read = 0;
    loop {
        let head = read_head(stream, proxy, &mut read).await?;
        match head.status {
            // As in curl and Chromium, interim responses are skipped.
            100 | 102..=199 => {}
            200..=299 => return Ok(Answer::Opened),
            407 if digest.is_some() => return Ok(Answer::Challenged(head.challenges)),
            status => return Err(refusal_error(proxy, status)),
        }
    }
}

struct ResponseHead {
    status: u16,
    /// The `Proxy-Authenticate` fields.
    challenges: HeaderMap,
}

/// Reads the headers of one response. As in curl, only the status line must be valid HTTP/1. `read` is the number of
/// bytes of all responses.
async fn read_head(stream: &mut BoxIo, proxy: &Proxy, read: &mut usize) -> Result<ResponseHead> {
    let mut head: Option<ResponseHead> = None;
    let mut line = Vec::with_capacity(128);
    loop {
        if *read >= MAX_RESPONSE_HEAD {
            return Err(Error::new(
                ErrorKind::Proxy,
                format!("response headers to CONNECT from the proxy {proxy} exceed the size limit"),
            ));
        }
        // Reads byte by byte, because the bytes after the headers belong to the tunnel.
        let byte = stream.read_u8().await.map_err(|cause| match cause.kind() {
            std::io::ErrorKind::UnexpectedEof => Error::new(
                ErrorKind::Proxy,
                format!("the proxy {proxy} closed the connection during CONNECT"),
            ),
            _ => connection_broke(proxy, cause),
        })?;
        *read += 1;
        if byte != b'\n' {
            line.push(byte);
            continue;
        }
        match &mut head {
            None => {
                let status = parse_status(&line).ok_or_else(|| {
                    let message = format!("the proxy {proxy} did not answer CONNECT with valid HTTP");
                    Error::new(ErrorKind::Proxy, message)
                })?;
                head = Some(ResponseHead { status, challenges: HeaderMap::new() });
            }
            Some(known) => {
                if let Some(value) = parse_challenge(&line) {
                    known.challenges.append(header::PROXY_AUTHENTICATE, value);
                }
            }
        }
        // A line without text ends the headers.
        match head {
            Some(head) if line.iter().all(|byte| *byte == b'\r') => return Ok(head),
            known => head = known,
        }
        line.clear();
    }
}

fn parse_challenge(line: &[u8]) -> Option<HeaderValue> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at(colon);
    let is_challenge = name.trim_ascii().eq_ignore_ascii_case(header::PROXY_AUTHENTICATE.as_str().as_bytes());
    HeaderValue::from_bytes(value[1..].trim_ascii()).ok().filter(|_| is_challenge)
}

/// Parses a status line: `HTTP/1.1 200`, with or without a reason.
fn parse_status(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line.get(..MAX_STATUS_LINE.min(line.len()))?.trim_ascii_end())
        .or_else(|error| std::str::from_utf8(&line[..error.valid_up_to()]))
        .ok()?;
    let (version, rest) = line.split_once([' ', '\t'])?;
    let is_http1 =
        version.get(..7).is_some_and(|text| text.eq_ignore_ascii_case("HTTP/1.")) && version.len() == 8;
    let status = rest.trim_start().split_ascii_whitespace().next()?;
    let is_status = is_http1 && status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
    status.parse().ok().filter(|status| is_status && *status >= 100)
}

fn connection_broke(proxy: &Proxy, cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Proxy, format!("the connection to the proxy {proxy} broke")).with_source(cause)
}

/// Returns the `Proxy-Authorization` line, including the line end; empty without credentials.
pub(crate) fn authorization_header(proxy: &Proxy) -> Secret {
    Secret::new(proxy.credentials().map_or_else(String::new, |(user, password)| {
        let value = headers::basic_auth(user, password.expose());
        format!("Proxy-Authorization: {}\r\n", value.to_str().unwrap_or_default())
    }))
}

/// Returns the `Proxy-Authorization` line that answers the last challenge; empty before it.
fn digest_header(digest: &DigestAuth, authority: &str) -> Secret {
    let value = digest.authorization("CONNECT", authority);
    let value = value.as_ref().and_then(|value| value.to_str().ok());
    Secret::new(value.map_or_else(String::new, |value| format!("Proxy-Authorization: {value}\r\n")))
}

/// Converts the proxy's refusal by its status.
pub(crate) fn refusal_error(proxy: &Proxy, status: u16) -> Error {
    if status == 407 {
        let (what, hint) = if proxy.credentials().is_some() {
            ("refused the credentials (407)", "check user name and password of the proxy")
        } else {
            (
                "requires credentials (407)",
                "add them to its URL, http://user:password@host:port, or set --proxy-user",
            )
        };
        let error = Error::new(ErrorKind::Proxy, format!("the proxy {proxy} {what}"));
        return error.with_hint(hint).mark_proxy_auth_error();
    }
    let message = format!("the proxy {proxy} refused the tunnel with status {status}");
    if matches!(status, 401 | 402) {
        // The account is invalid, or its traffic is used up.
        return Error::new(ErrorKind::Proxy, message).with_hint("check the account at the proxy's provider");
    }
    let error = proxy::target_error(ErrorKind::Proxy, message);
    if status >= 500 {
        return error.with_hint("the proxy could not reach the site: check the host name");
    }
    error
}

/// The maximum size of the headers of all responses to one CONNECT.
const MAX_RESPONSE_HEAD: usize = 256 * 1024;
/// How much of a status line is parsed.
const MAX_STATUS_LINE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_parsed_with_or_without_a_reason() {
        for (line, status) in [
            (&b"HTTP/1.1 200 Connection established\r"[..], Some(200)),
            (b"HTTP/1.0 200", Some(200)),
            (b"http/1.1  407 no", Some(407)),
            (b"HTTP/1.1 200 \xc3\xa9t\xe9", Some(200)),
            (b"HTTP/1.1 20", None),
            (b"HTTP/1.1 2000", None),
            (b"HTTP/1.1 099", None),
            (b"HTTP/1.1", None),
            (b"SSH-2.0-x", None),
            (b"", None),
            (b"\xff\xff", None),
        ] {
            assert_eq!(parse_status(line), status, "{line:?}");
        }
        assert_eq!(parse_status(&[b"HTTP/1.1 200 ".to_vec(), vec![b'x'; 10_000]].concat()), Some(200));
    }

    #[tokio::test]
    async fn the_final_status_decides_and_the_bytes_behind_it_stay() {
        let many = "X-Line: 1\r\n".repeat(2_000);
        let proxy: Proxy = "http://proxy.example:3128".parse().unwrap();
        for (answer, accepted) in [
            ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), true),
            ("HTTP/1.1 200 OK\n\n".to_owned(), true),
            ("HTTP/1.1 200 OK\nA: b\r\n\n".to_owned(), true),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
                    .to_owned(),
                true,
            ),
            ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\tc\r\nno colon\r\n\r\n".to_owned(), true),
            (format!("HTTP/1.1 200 OK\r\n{many}\r\n"), true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), true),
            ("HTTP/1.1 101 Switching\r\n\r\nHTTP/1.1 200 OK\r\n\r\n".to_owned(), false),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 502 Bad\r\n\r\n".to_owned(), false),
            ("HTTP/1.1 100 Continue\r\n\r\n".repeat(20_000), false),
            ("\r\n\r\n".to_owned(), false),
            ("HTTP/1.1 200 OK\r\n".to_owned(), false),
        ] {
            let shown: String = answer.chars().take(80).collect();
            let (client, mut server) = tokio::io::duplex(answer.len() + 4096);
            server.write_all(answer.as_bytes()).await.unwrap();
            server.write_all(b"tunnel").await.unwrap();
            server.shutdown().await.unwrap();
            let mut stream: BoxIo = Box::pin(client);
            let outcome = send_connect(&mut stream, &proxy, "a.example:443", None, None).await;
            assert_eq!(outcome.is_ok(), accepted, "{shown}: {outcome:?}");
            if accepted {
                let mut rest = String::new();
                stream.read_to_string(&mut rest).await.unwrap();
                assert_eq!(rest, "tunnel", "{shown}");
            }
        }
    }
}

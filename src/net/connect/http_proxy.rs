//! Tunnels through an HTTP proxy (CONNECT, RFC 9110 section 9.3.6).

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::net::headers;
use crate::net::tls::BoxIo;
use crate::proxy::{self, Proxy};
use crate::redact::Secret;

/// Requests a tunnel to `authority` from `proxy` on `stream`, and waits for its confirmation.
pub(crate) async fn connect(
    stream: &mut BoxIo,
    proxy: &Proxy,
    authority: &str,
    user_agent: Option<&str>,
    within: Duration,
) -> Result<()> {
    timeout(within, send_connect(stream, proxy, authority, user_agent)).await.map_err(|_| {
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
) -> Result<()> {
    // The order is Chrome's own.
    let mut head =
        format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nProxy-Connection: keep-alive\r\n");
    if let Some(user_agent) = user_agent {
        head.push_str("User-Agent: ");
        head.push_str(user_agent);
        head.push_str("\r\n");
    }
    head.push_str(authorization_header(proxy).expose());
    head.push_str("\r\n");
    let broke = |cause: std::io::Error| {
        Error::new(ErrorKind::Proxy, format!("the connection to the proxy {proxy} broke")).with_source(cause)
    };
    stream.write_all(head.as_bytes()).await.map_err(broke)?;
    let mut response_head = Vec::with_capacity(512);
    loop {
        if response_head.len() >= MAX_RESPONSE_HEAD {
            return Err(Error::new(
                ErrorKind::Proxy,
                format!("response headers to CONNECT from the proxy {proxy} exceed the size limit"),
            ));
        }
        // Reads byte by byte, because the bytes after the headers belong to the tunnel.
        let byte = match stream.read_u8().await {
            Ok(byte) => byte,
            Err(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(Error::new(
                    ErrorKind::Proxy,
                    format!("the proxy {proxy} closed the connection during CONNECT"),
                ));
            }
            Err(cause) => return Err(broke(cause)),
        };
        response_head.push(byte);
        if byte == b'\n' && (response_head.ends_with(b"\r\n\r\n") || response_head.ends_with(b"\n\n")) {
            return check_response(&response_head, proxy);
        }
    }
}

/// Returns the `Proxy-Authorization` line, including the line end; empty without credentials.
pub(crate) fn authorization_header(proxy: &Proxy) -> Secret {
    Secret::new(proxy.credentials().map_or_else(String::new, |(user, password)| {
        let value = headers::basic_auth(user, password.expose());
        format!("Proxy-Authorization: {}\r\n", value.to_str().unwrap_or_default())
    }))
}

fn check_response(response_head: &[u8], proxy: &Proxy) -> Result<()> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let status = match response.parse(response_head) {
        Ok(httparse::Status::Complete(_)) => response.code.unwrap_or(0),
        _ => {
            return Err(Error::new(
                ErrorKind::Proxy,
                format!("the proxy {proxy} did not answer CONNECT with valid HTTP"),
            ));
        }
    };
    match status {
        200..=299 => Ok(()),
        _ => Err(refusal_error(proxy, status)),
    }
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

const MAX_RESPONSE_HEAD: usize = 16 * 1024;

//! Parses and rewrites the request and response heads that the forwarder relays. Pure.

/// A request as the browser sends it to a proxy.
pub(super) struct ProxyRequest {
    /// CONNECT: opaque bytes follow.
    pub tunnel: bool,
    /// In the form of a URL: an IPv6 address has brackets.
    pub host: String,
    pub port: u16,
    head: Vec<u8>,
}

impl ProxyRequest {
    /// Parses a head, including the blank line. `None` when it is not a proxy request.
    pub(super) fn parse(head: Vec<u8>) -> Option<Self> {
        let end = head.iter().position(|&byte| byte == b'\r')?;
        let line = std::str::from_utf8(&head[..end]).ok()?;
        let mut words = line.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let tunnel = method == "CONNECT";
        let url = if tunnel { format!("https://{target}") } else { target.to_owned() };
        let url = url::Url::parse(&url).ok()?;
        // Only http is sent without a tunnel.
        if !tunnel && url.scheme() != "http" {
            return None;
        }
        let (host, port) = (url.host_str()?.to_owned(), url.port_or_known_default()?);
        Some(Self { tunnel, host, port, head })
    }

    /// Returns the target for error messages.
    pub(super) fn target(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Returns the head for an http proxy with `authorization`, a whole line or nothing. `Connection: close` makes
    /// the proxy close the connection, because the next request on it would have no credentials.
    pub(super) fn for_proxy(&self, authorization: &str) -> Vec<u8> {
        let extra = [authorization.as_bytes(), b"Connection: close\r\n"].concat();
        rewrite_head(&self.head, None, &extra, |name| is_hop_by_hop(name).then_some(&b""[..]))
    }

    /// Returns the head for the site itself, as the browser would send it without a proxy.
    pub(super) fn for_site(&self) -> Vec<u8> {
        let line = self.head.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default();
        let after = |text: &[u8], skip: usize, byte: u8| {
            text.iter().skip(skip).position(|&other| other == byte).map(|at| at + skip)
        };
        // `GET http://host/path HTTP/1.1`: removes the text between the method and the path.
        let cut = after(line, 0, b' ').and_then(|space| Some((space, after(line, space + 8, b'/')?)));
        let first = cut.map(|(space, path)| [&line[..=space], &line[path..]].concat());
        rewrite_head(&self.head, first, b"", |name| match name {
            b"proxy-connection" => Some(b"Connection: keep-alive\r\n"),
            b"proxy-authorization" => Some(b""),
            _ => None,
        })
    }
}

/// Returns the status of a response head; 0 when it has none.
pub(super) fn status(head: &[u8]) -> u16 {
    let mut words = head.split(|&byte| matches!(byte, b' ' | b'\r'));
    let word = words.nth(1).and_then(|word| std::str::from_utf8(word).ok());
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Returns a response head that makes the browser close the connection, because its next request may be for
/// another site.
pub(super) fn with_connection_close(head: &[u8]) -> Vec<u8> {
    rewrite_head(head, None, b"Connection: close\r\n", |name| is_hop_by_hop(name).then_some(&b""[..]))
}

/// Returns the head with `first` as its first line, followed by `extra`. `change` returns the replacement for a
/// field, given its name in lower case.
fn rewrite_head(
    head: &[u8],
    first: Option<Vec<u8>>,
    extra: &[u8],
    change: impl Fn(&[u8]) -> Option<&'static [u8]>,
) -> Vec<u8> {
    let mut lines = head.split_inclusive(|&byte| byte == b'\n');
    let line = lines.next().unwrap_or_default();
    let mut out = first.unwrap_or_else(|| line.to_vec());
    out.extend_from_slice(extra);
    for line in lines {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default().to_ascii_lowercase();
        out.extend_from_slice(change(&name).unwrap_or(line));
    }
    out
}

fn is_hop_by_hop(name: &[u8]) -> bool {
    matches!(name, b"connection" | b"proxy-connection" | b"keep-alive" | b"proxy-authorization")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Option<ProxyRequest> {
        ProxyRequest::parse(head.as_bytes().to_vec())
    }

    #[test]
    fn credentials_go_to_the_proxy_and_hop_by_hop_fields_not_to_the_site() {
        let plain = parse(
            "GET http://a.example/x?y=http://b/ HTTP/1.1\r\nHost: a.example\r\nProxy-Connection: keep-alive\r\n\
             Proxy-Authorization: mine\r\nA: b\r\n\r\n",
        )
        .unwrap();
        assert_eq!((plain.tunnel, plain.target().as_str()), (false, "a.example:80"));
        assert_eq!(
            String::from_utf8(plain.for_proxy("P: x\r\n")).unwrap(),
            "GET http://a.example/x?y=http://b/ HTTP/1.1\r\nP: x\r\nConnection: close\r\nHost: a.example\r\nA: b\r\n\r\n"
        );
        assert_eq!(
            String::from_utf8(plain.for_site()).unwrap(),
            "GET /x?y=http://b/ HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive\r\nA: b\r\n\r\n"
        );
    }

    #[test]
    fn only_proxy_requests_are_parsed() {
        let tunnel = parse("CONNECT [::1]:8443 HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!((tunnel.tunnel, tunnel.target().as_str()), (true, "[::1]:8443"));
        assert_eq!(parse("CONNECT a:443 HTTP/1.1\r\n\r\n").unwrap().port, 443);
        for wrong in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET ftp://a/ HTTP/1.1\r\n\r\n",
            "GET https://a/ HTTP/1.1\r\n\r\n",
            "CONNECT\r\n\r\n",
            "\r\n\r\n",
        ] {
            assert!(parse(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn responses_are_the_last_of_their_connection() {
        let head = b"HTTP/1.1 200 OK\r\nKeep-Alive: 5\r\nconnection: keep-alive\r\nA: b\r\n\r\n";
        assert_eq!(with_connection_close(head), b"HTTP/1.1 200 OK\r\nConnection: close\r\nA: b\r\n\r\n");
        for (head, want) in
            [(&b"HTTP/1.1 407\r\n\r\n"[..], 407), (b"HTTP/1.0 200 OK\r\n\r\n", 200), (b"x", 0)]
        {
            assert_eq!(status(head), want);
        }
    }
}

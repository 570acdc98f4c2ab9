//! Every limit and deadline of one attempt.

use std::time::Duration;

/// How long and how large one attempt may get. Every wait on the network stands under one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Name lookup. Default: 5 s.
    pub dns: Duration,
    /// TCP, and the proxy's answer to CONNECT. Default: 5 s.
    pub connect: Duration,
    /// TLS handshake. Default: 5 s.
    pub tls: Duration,
    /// From the request's last byte to the answer's head; while a body is sent, how long none of it may leave.
    /// Default: 15 s.
    pub first_byte: Duration,
    /// Between two reads of the body. Default: 5 s.
    pub read_idle: Duration,
    /// A whole HTTP attempt, redirects and body included; not applied while a body streams to a
    /// file. Default: 30 s.
    pub http_total: Duration,
    /// In the browser, from the request to the site's first answer, a redirect too. Default: 30 s.
    pub browser_start: Duration,
    /// In the browser, from the request to the document parsed. A document that still comes then is taken as it is,
    /// unsettled. Default: 45 s.
    pub browser_navigation: Duration,
    /// How long a parsed page may take to come to rest: no request of its own in flight for half a second. After that
    /// it is taken as it is, unsettled. Default: 10 s.
    pub browser_settle: Duration,
    /// How long a challenge may take to let go of the page. Default: 15 s.
    pub browser_challenge: Duration,
    /// A whole browser attempt, from when there is a page for it. Default: 60 s.
    pub browser_total: Duration,
    /// The whole fetch, all attempts and waits. `None` leaves it to the attempts. Default: none.
    pub fetch_total: Option<Duration>,
    /// The largest body taken, in bytes, counted after content decoding. Default: 32 MiB.
    pub max_body: u64,
    /// The largest body streamed to a file, in bytes. Default: 64 GiB.
    pub max_file: u64,
    /// The most redirects followed. Default: 10.
    pub max_redirects: u32,
    /// The most header fields an answer may carry. Default: 200.
    pub max_header_fields: usize,
    /// The largest an answer's head may be, in bytes. Default: 256 KiB.
    pub max_header_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            dns: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            tls: Duration::from_secs(5),
            first_byte: Duration::from_secs(15),
            read_idle: Duration::from_secs(5),
            http_total: Duration::from_secs(30),
            browser_start: Duration::from_secs(30),
            browser_navigation: Duration::from_secs(45),
            browser_settle: Duration::from_secs(10),
            browser_challenge: Duration::from_secs(15),
            browser_total: Duration::from_secs(60),
            fetch_total: None,
            max_body: 32 * 1024 * 1024,
            max_file: 64 * 1024 * 1024 * 1024,
            max_redirects: 10,
            max_header_fields: 200,
            max_header_bytes: 256 * 1024,
        }
    }
}

//! The time and size limits of one fetch and its attempts.

use std::time::Duration;

/// The time and size limits of a fetch. Every wait for the network has one of these timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The DNS lookup. Default: 5 s.
    pub dns: Duration,
    /// The TCP connection, and the proxy's response to CONNECT. Default: 5 s.
    pub connect: Duration,
    /// The TLS handshake. Default: 5 s.
    pub tls: Duration,
    /// The time from the last byte of the request to the response headers. While a request body is sent, the time
    /// without progress. Default: 15 s.
    pub first_byte: Duration,
    /// The time between two reads of the body. Default: 5 s.
    pub read_idle: Duration,
    /// A whole HTTP attempt with redirects and body. Not applied while a body streams to a file. Default: 30 s.
    pub http_total: Duration,
    /// In the browser, the time from the request to the first response, which may be a redirect. Default: 30 s.
    pub browser_start: Duration,
    /// In the browser, the time from the request until the document is parsed. After that, the partial document is
    /// returned, unsettled. Default: 45 s.
    pub browser_navigation: Duration,
    /// The time for a parsed page to settle: none of its requests in flight for half a second. After that, the page is
    /// returned, unsettled. Default: 10 s.
    pub browser_settle: Duration,
    /// The time for a challenge to be passed. Default: 15 s.
    pub browser_challenge: Duration,
    /// A whole browser attempt, from the moment when a browser page is free. Default: 60 s.
    pub browser_total: Duration,
    /// The whole fetch with all attempts and waits. `None`: only the limits of each attempt apply. Default: `None`.
    pub fetch_total: Option<Duration>,
    /// The maximum body size in bytes, after content decoding. Default: 32 MiB.
    pub max_body: u64,
    /// The maximum size of a body that is streamed to a file, in bytes. Default: 1 GiB.
    pub max_file: u64,
    /// The memory in bytes that a page may use in the browser, with its frames and workers, at least 128 MiB. Open pages
    /// of one browser process share the largest of their limits. `None`: half of the memory that is available when the
    /// fetcher is built, divided by the maximum of open pages, from 512 MiB to 2 GiB. Default: `None`.
    pub page_memory: Option<u64>,
    /// The maximum number of redirects. Redirects to the same URL count like others. Default: 20, as in browsers.
    pub max_redirects: u32,
    /// The maximum number of header fields of a response. Default: 1000.
    pub max_header_fields: usize,
    /// The maximum size of the response headers in bytes. Default: 256 KiB.
    pub max_header_bytes: usize,
}

/// The least [`Limits::page_memory`]. An empty page uses about 60 MB.
pub(crate) const MIN_PAGE_MEMORY: u64 = 128 * 1024 * 1024;

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
            max_file: 1024 * 1024 * 1024,
            page_memory: None,
            max_redirects: 20,
            max_header_fields: 1000,
            max_header_bytes: 256 * 1024,
        }
    }
}

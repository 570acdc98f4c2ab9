//! Recorded connections and their requests.

use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::control_frame::ControlFrame;
use crate::fingerprint::h2::Frame;
use crate::fingerprint::hello::ClientHello;
use crate::fingerprint::hpack::HpackField;
use crate::fingerprint::profile::{Priority, WireProtocol};
use crate::fingerprint::{Http2Fingerprint, ja3, ja4, ja4_r};
use crate::os::sync::lock_unpoisoned;
use crate::text::hex;

/// The maximum number of recorded requests per connection. Later ones are served, but not recorded.
const MAX_REQUESTS: usize = 256;
/// The maximum number of other recorded frames.
const MAX_CONTROL: usize = 1024;

/// One client's connection, as the handler sees it.
#[derive(Debug)]
pub struct Client {
    pub(super) id: usize,
    pub(super) over: WireProtocol,
    finished: bool,
    pub(super) hello: Option<ClientHello>,
    pub(super) hello_records: Vec<u8>,
    pub(super) opening: OnceLock<Http2Fingerprint>,
    requests: Mutex<Vec<RecordedRequest>>,
    control: Mutex<Vec<ControlFrame>>,
}

impl Client {
    pub(super) fn new(id: usize, over: WireProtocol, finished: bool, hello_records: Vec<u8>) -> Self {
        Self {
            id,
            over,
            finished,
            hello: ClientHello::from_records(&hello_records).ok(),
            hello_records,
            opening: OnceLock::new(),
            requests: Mutex::default(),
            control: Mutex::default(),
        }
    }

    /// The number of the connection, in order of arrival.
    #[must_use]
    pub const fn id(&self) -> usize {
        self.id
    }

    /// The protocol of the requests.
    #[must_use]
    pub const fn over(&self) -> WireProtocol {
        self.over
    }

    /// The ClientHello; `None` over cleartext.
    #[must_use]
    pub const fn hello(&self) -> Option<&ClientHello> {
        self.hello.as_ref()
    }

    /// The start of the HTTP/2 connection, once the first request has arrived.
    #[must_use]
    pub fn opening(&self) -> Option<&Http2Fingerprint> {
        self.opening.get()
    }

    /// The requests so far, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        lock_unpoisoned(&self.requests).clone()
    }

    pub(super) fn add_request(&self, request: &RecordedRequest) {
        let mut requests = lock_unpoisoned(&self.requests);
        if requests.len() < MAX_REQUESTS {
            requests.push(request.clone());
        }
    }

    /// Adds the DATA frames of a request that was recorded before its body arrived.
    pub(super) fn add_data_frames(&self, stream: u32, data: Vec<(usize, bool)>) {
        let mut requests = lock_unpoisoned(&self.requests);
        if let Some(request) = requests.iter_mut().rev().find(|r| r.stream == Some(stream)) {
            request.data = data;
        }
    }

    /// Records a frame, except DATA.
    pub(super) fn add_frame(&self, frame: &Frame) {
        let mut control = lock_unpoisoned(&self.control);
        if control.len() < MAX_CONTROL {
            control.extend(ControlFrame::from_frame(frame));
        }
    }

    pub(super) fn clear(&self) {
        lock_unpoisoned(&self.requests).clear();
        lock_unpoisoned(&self.control).clear();
    }

    /// A snapshot of the connection for serialization.
    #[must_use]
    pub fn to_connection(&self) -> RecordedConnection {
        let hello = self.hello.as_ref();
        let opening = self.opening.get();
        RecordedConnection {
            id: self.id,
            over: self.over,
            finished: self.finished,
            ja3: hello.map(|h| ja3(h).hash),
            ja3_text: hello.map(|h| ja3(h).text),
            ja4: hello.map(ja4),
            ja4_r: hello.map(ja4_r),
            akamai: opening.map(Http2Fingerprint::akamai),
            akamai_hash: opening.map(Http2Fingerprint::akamai_hash),
            resumed: hello.is_some_and(ClientHello::is_resumption),
            hello: hello.map(HelloSummary::from_hello),
            hello_records: hex::encode(&self.hello_records),
            opening: opening.cloned(),
            control: lock_unpoisoned(&self.control).clone(),
            requests: self.requests(),
        }
    }
}

/// A recorded connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordedConnection {
    /// The number of the connection, in order of arrival.
    pub id: usize,
    /// The protocol of the requests.
    pub over: WireProtocol,
    /// Whether the TLS handshake completed. If not (the client left, or rejected the certificate), `over` is
    /// meaningless.
    pub finished: bool,
    /// The MD5 of its JA3.
    pub ja3: Option<String>,
    /// The text of its JA3.
    pub ja3_text: Option<String>,
    /// Its JA4.
    pub ja4: Option<String>,
    /// Its JA4_r.
    pub ja4_r: Option<String>,
    /// Akamai's HTTP/2 text.
    pub akamai: Option<String>,
    /// The MD5 of Akamai's text.
    pub akamai_hash: Option<String>,
    /// Whether the client offered to resume a TLS session.
    pub resumed: bool,
    /// The parsed ClientHello. When a recording is deserialized, `hello_records` replaces it.
    #[serde(skip_deserializing)]
    pub hello: Option<HelloSummary>,
    /// The TLS records of the ClientHello, in hex.
    pub hello_records: String,
    /// The start of the HTTP/2 connection, up to the first request.
    pub opening: Option<Http2Fingerprint>,
    /// The HTTP/2 frames in order of arrival, without bodies.
    pub control: Vec<ControlFrame>,
    /// The requests in order of arrival.
    pub requests: Vec<RecordedRequest>,
}

/// A request as it was on the wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordedRequest {
    /// The HTTP/2 stream id.
    pub stream: Option<u32>,
    /// The method.
    pub method: String,
    /// Requested host and port: `:authority`, or the Host header.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// The protocol of the request.
    pub over: WireProtocol,
    /// HTTP/2 pseudo-headers in order.
    pub pseudo: Vec<String>,
    /// Headers in order, in wire case.
    pub headers: Vec<(String, String)>,
    /// The priority fields of the HEADERS frame.
    pub priority: Option<Priority>,
    /// The HPACK representation of each field.
    pub hpack: Vec<HpackField>,
    /// Whether the HEADERS frame has END_STREAM.
    pub end_stream: Option<bool>,
    /// The DATA frames: the length of each, and whether it is the last.
    pub data: Vec<(usize, bool)>,
}

impl RecordedRequest {
    /// The first header of this name, case-insensitive.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The requested host, without the port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host)
    }

    /// The value of a cookie.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case("cookie"))
            .flat_map(|(_, v)| v.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v)
    }

    /// Converts a HEADERS frame to a request; `None` for trailers and other frames.
    pub(super) fn from_frame(frame: Frame) -> Option<(u32, Self)> {
        let Frame::Headers { stream, priority, end_stream, fields } = frame else { return None };
        let find = |name: &str| fields.iter().find(|f| f.name == name).map(|f| f.value.clone());
        let method = find(":method")?;
        let authority = find(":authority").or_else(|| find("host")).unwrap_or_default();
        let path = find(":path").unwrap_or_default();
        let (pseudo, headers): (Vec<_>, Vec<_>) = fields.iter().partition(|f| f.name.starts_with(':'));
        let request = Self {
            stream: Some(stream),
            method,
            authority,
            path,
            over: WireProtocol::Http2,
            pseudo: pseudo.into_iter().map(|f| f.name.clone()).collect(),
            headers: headers.into_iter().map(|f| (f.name.clone(), f.value.clone())).collect(),
            priority,
            hpack: fields,
            end_stream: Some(end_stream),
            data: Vec::new(),
        };
        Some((stream, request))
    }

    /// Parses the head of an HTTP/1 request, without the final empty line.
    pub(super) fn from_head(head: &[u8], over: WireProtocol) -> Option<Self> {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        if !words.next()?.starts_with("HTTP/1.") {
            return None;
        }
        let mut headers = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut request = Self {
            stream: None,
            method: method.to_owned(),
            authority: String::new(),
            path: target.to_owned(),
            over,
            pseudo: Vec::new(),
            headers,
            priority: None,
            hpack: Vec::new(),
            end_stream: None,
            data: Vec::new(),
        };
        request.authority = request.header("host").unwrap_or_default().to_owned();
        Some(request)
    }
}

/// The handler's input: a request and its client.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The connection of the request.
    pub client: Arc<Client>,
    /// The request.
    pub request: RecordedRequest,
    /// The request body.
    pub body: Bytes,
}

/// The parsed lists of a ClientHello.
#[derive(Clone, Debug, Serialize)]
pub struct HelloSummary {
    record_version: u16,
    legacy_version: u16,
    session_id_len: usize,
    server_name: Option<String>,
    ciphers: Vec<u16>,
    extension_ids: Vec<u16>,
    groups: Vec<u16>,
    key_shares: Vec<(u16, usize)>,
    signature_algorithms: Vec<String>,
    versions: Vec<u16>,
    alpn: Vec<String>,
    alps: Option<(u16, Vec<String>)>,
    certificate_compression: Vec<u16>,
    psk_modes: Vec<u8>,
    trust_anchors: Option<String>,
    extensions: Vec<crate::fingerprint::hello::Extension>,
}

impl HelloSummary {
    pub(super) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    fn from_hello(hello: &ClientHello) -> Self {
        let text = |names: Vec<Vec<u8>>| -> Vec<String> {
            names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
        };
        Self {
            record_version: hello.record_version,
            legacy_version: hello.legacy_version,
            session_id_len: hello.session_id_len,
            server_name: hello.server_name(),
            ciphers: hello.ciphers.clone(),
            extension_ids: hello.extension_ids().collect(),
            groups: hello.groups(),
            key_shares: hello.key_shares().iter().map(|s| (s.group, s.len)).collect(),
            signature_algorithms: hello.signature_algorithms().iter().map(|a| format!("{a:04x}")).collect(),
            versions: hello.versions(),
            alpn: text(hello.alpn()),
            alps: hello.alps().map(|(id, names)| (id, text(names))),
            certificate_compression: hello.certificate_compression(),
            psk_modes: hello.psk_modes(),
            trust_anchors: hello.trust_anchors().map(hex::encode),
            extensions: hello.extensions.clone(),
        }
    }
}

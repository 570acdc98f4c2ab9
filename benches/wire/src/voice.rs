//! The recording of one client.

use std::sync::Arc;

use rungs::fingerprint::hello::extension;
use rungs::fingerprint::hpack::{FieldEncoding, HpackField};
use rungs::fingerprint::profile::WireProtocol;
use rungs::fingerprint::{ClientHello, HelloShape, Http2Fingerprint, ja4};
use rungs::lab::{Client, RecordedRequest};

/// The first navigation.
pub const FIRST: &str = "/first";
/// The second request of the same session.
pub const AGAIN: &str = "/again";
/// The third request, which needs a new connection.
pub const RESUMED: &str = "/resumed";

/// One client's hellos and requests.
pub struct ClientRecording {
    /// Its name and version, as it prints them.
    pub name: String,
    /// JA4 of its first hello.
    pub ja4: String,
    /// Shape of its first hello.
    pub shape: HelloShape,
    /// Akamai HTTP/2 fingerprint.
    pub akamai: Option<String>,
    /// The first navigation.
    pub first: RecordedRequest,
    /// The second request, if it used the same connection.
    pub again: Option<RecordedRequest>,
    /// The hello that resumed a session: its JA4, and whether pre_shared_key was its last extension.
    pub resumed: Option<(String, bool)>,
}

impl ClientRecording {
    /// `None` if the client did not request [`FIRST`] over TLS.
    pub fn from_clients(name: String, clients: &[Arc<Client>]) -> Option<Self> {
        let request = |client: &Client, path: &str| client.requests().into_iter().find(|r| r.path == path);
        let (client, first) = clients.iter().find_map(|c| Some((c, request(c, FIRST)?)))?;
        // A browser opens spare connections, so the request may use one that resumed a session.
        let hello = clients.iter().filter_map(|c| c.hello()).find(|hello| !hello.is_resumption())?;
        let resumed = clients.iter().filter_map(|c| c.hello()).find(|hello| hello.is_resumption());
        Some(Self {
            name,
            ja4: ja4(hello),
            shape: HelloShape::from_hello(hello),
            akamai: client.opening().map(Http2Fingerprint::akamai),
            first,
            again: request(client, AGAIN),
            resumed: resumed.map(|hello| (ja4(hello), psk_is_last(hello))),
        })
    }

    /// Whether every layer was recorded, so that others can be compared with this client.
    pub fn is_whole(&self) -> bool {
        self.is_h2() && self.akamai.is_some() && self.again.is_some() && self.resumed.is_some()
    }

    /// Whether its first request used HTTP/2.
    pub fn is_h2(&self) -> bool {
        self.first.over == WireProtocol::Http2
    }

    /// Its header names in order.
    pub fn names(&self) -> Vec<&str> {
        self.first.headers.iter().map(|(name, _)| name.as_str()).collect()
    }
}

fn psk_is_last(hello: &ClientHello) -> bool {
    hello.extension_ids().last() == Some(extension::PRE_SHARED_KEY)
}

/// Describes the HPACK representation of a field.
pub fn form(field: &HpackField) -> String {
    let form = match field.form {
        FieldEncoding::Indexed => return "from the table".to_owned(),
        FieldEncoding::Incremental => "indexed",
        FieldEncoding::WithoutIndexing => "not indexed",
        FieldEncoding::NeverIndexed => "never indexed",
    };
    let name = match field.name_huffman {
        None => "",
        Some(true) => ", name Huffman",
        Some(false) => ", name raw",
    };
    let value = if field.value_huffman == Some(true) { ", Huffman" } else { ", raw" };
    format!("{form}{name}{value}")
}

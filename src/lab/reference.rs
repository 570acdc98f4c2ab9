//! A browser's own recording, and whether a request is that browser's.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::recording::{Client, RecordedRequest};
use crate::fingerprint::hello::extension;
use crate::fingerprint::profile::{Priority, WireProtocol};
use crate::fingerprint::{ClientHello, HelloShape, Http2Fingerprint, ja4};

/// Headers that come and go with the request; their place is held against the recording where the
/// recording shows it.
const OPTIONAL: [&str; 3] = ["cookie", "referer", "sec-fetch-user"];

/// What one browser says, taken from recordings of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Its ClientHello.
    pub hello: HelloShape,
    /// Its JA4 when it resumes no session.
    pub ja4: String,
    /// Akamai's text of its HTTP/2 opening.
    pub akamai: String,
    /// The requests it was heard to make.
    pub requests: Vec<RequestShape>,
}

/// One way a browser writes a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestShape {
    /// The method.
    pub method: String,
    /// Pseudo headers in order.
    pub pseudo: Vec<String>,
    /// Header names in order, repeated ones once.
    pub names: Vec<String>,
    /// The priority in the HEADERS frame.
    pub priority: Option<Priority>,
}

impl Reference {
    /// Takes together what was heard on HTTP/2 connections of one browser; `None` when it made no
    /// request on any.
    #[must_use]
    pub fn from_clients(clients: &[Arc<Client>]) -> Option<Self> {
        let mut reference: Option<Self> = None;
        for client in clients {
            let (Some(hello), Some(opening), WireProtocol::Http2) =
                (client.hello(), client.opening(), client.over())
            else {
                continue;
            };
            let reference = reference.get_or_insert_with(|| Self {
                hello: HelloShape::from_hello(hello),
                ja4: ja4_unresumed(hello),
                akamai: opening.akamai(),
                requests: Vec::new(),
            });
            for request in &client.requests() {
                let shape = RequestShape::from_request(request);
                if !reference.requests.contains(&shape) {
                    reference.requests.push(shape);
                }
            }
        }
        reference
    }

    /// In what a request differs from the browser's; empty when it could be its own.
    #[must_use]
    pub fn differences(&self, client: &Client, request: &RecordedRequest) -> Vec<&'static str> {
        let mut found = match client.hello() {
            Some(hello) => {
                let mut found = self.hello.differences(&HelloShape::from_hello(hello));
                if self.ja4 != ja4_unresumed(hello) {
                    found.push("ja4");
                }
                found
            }
            None => vec!["tls"],
        };
        if client.opening().map(Http2Fingerprint::akamai).as_ref() != Some(&self.akamai) {
            found.push("akamai");
        }
        let shape = RequestShape::from_request(request);
        if !self.requests.iter().any(|known| known.matches(&shape)) {
            found.push("headers");
        }
        found
    }
}

impl RequestShape {
    fn from_request(request: &RecordedRequest) -> Self {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in &request.headers {
            if names.last() != Some(name) {
                names.push(name.clone());
            }
        }
        Self {
            method: request.method.clone(),
            pseudo: request.pseudo.clone(),
            names,
            priority: request.priority,
        }
    }

    /// Whether `other` is this, but for optional headers that it lacks.
    fn matches(&self, other: &Self) -> bool {
        let expected =
            self.names.iter().filter(|name| !OPTIONAL.contains(&name.as_str()) || other.names.contains(name));
        // Which stream it depends on follows from what else is under way.
        let rank = |shape: &Self| shape.priority.map(|p| (p.weight, p.exclusive));
        self.method == other.method
            && self.pseudo == other.pseudo
            && rank(self) == rank(other)
            && expected.eq(&other.names)
    }
}

/// Who a client is, as far as a clearance is bound to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientFingerprint {
    ja4: Option<String>,
    akamai: Option<String>,
    user_agent: Option<String>,
}

impl ClientFingerprint {
    pub(super) fn from_request(client: &Client, request: &RecordedRequest) -> Self {
        Self {
            ja4: client.hello().map(ja4_unresumed),
            akamai: client.opening().map(Http2Fingerprint::akamai),
            user_agent: request.header("user-agent").map(str::to_owned),
        }
    }

    pub(super) fn has_user_agent(&self, user_agent: &str) -> bool {
        self.user_agent.as_deref() == Some(user_agent)
    }

    #[cfg(test)]
    pub(super) fn for_test(ja4: &str, user_agent: &str) -> Self {
        Self { ja4: Some(ja4.to_owned()), akamai: None, user_agent: Some(user_agent.to_owned()) }
    }
}

/// The JA4 as it would be without the session that is resumed.
fn ja4_unresumed(hello: &ClientHello) -> String {
    let mut hello = hello.clone();
    hello.extensions.retain(|e| e.id != extension::PRE_SHARED_KEY);
    ja4(&hello)
}

//! Bytes on the wire: HTTP, TLS, fingerprints, limits and faults.

mod as_chromium_http;
mod certificate_rules;
mod certificates;
mod cookies;
mod faults;
mod file_descriptors;
mod fingerprint;
mod hostile_http2;
mod http;
mod limits;
mod resent_requests;

//! Bytes on the wire: HTTP, TLS, fingerprints, limits and faults.

mod as_chromium_http;
mod as_chromium_pages;
mod certificate_rules;
mod certificates;
mod cookies;
mod faults;
mod file_descriptors;
mod fingerprint;
mod hostile_http2;
mod http;
mod issuers;
mod limits;
mod names;
mod redirects;
mod resent_requests;

//! The HTTP engine of both HTTP tiers: DNS, connections, TLS, HTTP/1.1 and HTTP/2, redirects, bodies.

mod body;
mod certificates;
mod client;
mod codings;
mod connect;
mod dns;
mod exchange;
pub(crate) mod fetch_metadata;
mod ffi;
pub mod fuzz_parts;
pub mod head_reader;
mod header_order;
pub(crate) mod headers;
mod hooks;
mod host_name;
pub(crate) mod http1;
mod http2;
mod io;
mod issuer_cache;
mod issuers;
mod pool;
mod redirect;
pub(crate) mod refresh;
mod request_capture;
mod roots;
mod send;
mod tls;
mod upload;
mod wire_url;

pub(crate) use client::HttpClient;
pub use connect::is_private_literal;
pub(crate) use connect::{ConnectTarget, Connector, is_private_address_error};
pub(crate) use dns::Overrides;
pub(crate) use hooks::{AttemptRequest, RequestHooks, ResponseHead};
pub(crate) use roots::find_system_bundle as system_roots;
pub(crate) use tls::{BoxIo, TrustConfig};

#[cfg(feature = "browser")]
pub(crate) use {
    connect::http_proxy::{authorization_header as proxy_authorization, refusal_error as refused_by_proxy},
    io::metered::Metered,
    request_capture::mask_secrets,
};

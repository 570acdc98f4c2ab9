//! One request and its response headers over one connection, HTTP/1.1 or HTTP/2.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{
    HeaderMap, HeaderValue, Method, Request as HttpRequest, Response as HttpResponse, StatusCode, Uri,
    Version,
};
use http2::frame::{PseudoId, PseudoOrder, SettingId, SettingsOrder};
use tokio::sync::OwnedSemaphorePermit;
use url::Url;
use wreq_proto::body::Incoming;
use wreq_proto::conn::{http1, http2 as h2};
use wreq_proto::ext::{OnPreserveHeaderCallback, on_preserve_header};
use wreq_proto::http1::Http1Options;
use wreq_proto::http2::Http2Options;
use wreq_proto::rt::Executor;

use super::headers::WireHeaders;
use super::http1::{ResponseReader, ResponseWatch};
use super::http2::{
    FrameRewriter, HeadersTicket, PendingHeaders, TICKET_HEADER, UnreadResponse, restore_names,
};
use super::io::read_limit::ReadLimit;
use super::tls::BoxIo;
pub(crate) use super::upload::UploadProgress;
use super::upload::{UploadBody, UploadError};
use crate::exchange::address_rule::AddressSpace;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::Request;
use crate::exchange::response::ReceivedHead;
use crate::fingerprint::Profile;
use crate::fingerprint::profile::Http2;
use crate::settings::limits::Limits;

type WireBody = UploadBody;

/// The sending side of one HTTP/1.1 connection.
pub(crate) struct Http1Sender {
    sender: http1::SendRequest<WireBody>,
    read_limit: ReadLimit,
    watch: ResponseWatch,
    /// The maximum size of the response headers, including those of interim responses.
    max_head_bytes: usize,
    /// The kind of address that the connection leads to.
    pub(crate) space: AddressSpace,
}

impl Http1Sender {
    /// Whether a request can be sent now.
    pub(crate) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits until the current response is complete.
    ///
    /// # Errors
    /// When the connection is closed or must not be reused.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        self.sender.ready().await.map_err(|cause| exchange_error(cause, ErrorKind::Connect))?;
        if self.watch.is_odd() {
            return Err(Error::new(ErrorKind::Connect, "the connection is not reused"));
        }
        Ok(())
    }
}

/// The sending side of one HTTP/2 connection. Clones share it.
#[derive(Clone)]
pub(crate) struct Http2Sender {
    sender: h2::SendRequest<WireBody>,
    pending_headers: PendingHeaders,
    /// Whether the server requires HTTP/1.1 (GOAWAY).
    requires_http1: Arc<AtomicBool>,
    profile: Arc<Profile>,
    /// The kind of address that the connection leads to.
    pub(crate) space: AddressSpace,
}

impl Http2Sender {
    /// Whether the connection accepts no more requests.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// Why a request received no response.
pub(crate) enum SendError {
    /// The server has not processed the request: it may be sent again on a new connection.
    Unsent(Error),
    /// The server requires HTTP/1.1: the request may be sent again over it.
    RequiresHttp1(Error),
    /// The response is incomplete or missing.
    Broken(Error),
}

/// Starts HTTP/1.1 on `io`. The permit is held for as long as the connection is open.
pub(crate) async fn handshake_http1(
    (io, space): (BoxIo, AddressSpace),
    limits: &Limits,
    permit: OwnedSemaphorePermit,
) -> Result<Http1Sender> {
    let max_head = limits.max_header_bytes.max(8192);
    let (read_limit, watch) = (ReadLimit::new(), ResponseWatch::default());
    let options = Http1Options::builder()
        .max_headers(limits.max_header_fields.min(MAX_FIELDS))
        .max_buf_size(max_head)
        .build();
    let (sender, connection) = http1::Builder::default()
        .options(options)
        .handshake(ResponseReader::new(io, read_limit.clone(), max_head, watch.clone()))
        .await
        .map_err(|cause| exchange_error(cause, ErrorKind::Connect))?;
    tokio::spawn(async move {
        if let Err(cause) = connection.await {
            tracing::debug!(%cause, "HTTP/1.1 connection ended");
        }
        drop(permit);
    });
    Ok(Http1Sender { sender, read_limit, watch, max_head_bytes: max_head.saturating_mul(MAX_HEADS), space })
}

/// Starts HTTP/2 on `io` with the profile's preface. The permit is held for as long as the connection is
/// open.
pub(crate) async fn handshake_http2(
    (io, space): (BoxIo, AddressSpace),
    profile: &Arc<Profile>,
    permit: OwnedSemaphorePermit,
) -> Result<Http2Sender> {
    let pending_headers = PendingHeaders::default();
    let hpack = profile.http2.hpack.clone();
    let requires_http1 = Arc::new(AtomicBool::new(false));
    let is_browser = profile.browser.is_some();
    let io = FrameRewriter::new(io, pending_headers.clone(), hpack, is_browser, Arc::clone(&requires_http1));
    let (sender, connection) = h2::Builder::new(TokioExecutor)
        .options(http2_options(&profile.http2))
        .handshake(io)
        .await
        .map_err(|cause| exchange_error(cause, ErrorKind::Connect))?;
    tokio::spawn(async move {
        if let Err(cause) = connection.await {
            tracing::debug!(%cause, "HTTP/2 connection ended");
        }
        drop(permit);
    });
    Ok(Http2Sender { sender, pending_headers, requires_http1, profile: Arc::clone(profile), space })
}

fn http2_options(profile: &Http2) -> Http2Options {
    let setting = |id: u16| profile.settings.iter().find(|(other, _)| *other == id).map(|(_, value)| *value);
    let mut options = Http2Options::builder()
        .header_table_size(setting(1))
        .max_concurrent_streams(setting(3))
        .initial_window_size(setting(4).unwrap_or(SPEC_WINDOW))
        .max_frame_size(setting(5))
        .initial_connection_window_size(SPEC_WINDOW.saturating_add(profile.window_update))
        .settings_order(
            SettingsOrder::builder()
                .extend(profile.settings.iter().map(|(id, _)| SettingId::from(*id)))
                .build(),
        )
        .headers_pseudo_order(
            PseudoOrder::builder()
                .extend(profile.pseudo_order.iter().filter_map(|name| pseudo_id(name)))
                .build(),
        );
    if let Some(push) = setting(2) {
        options = options.enable_push(push != 0);
    }
    if let Some(max) = setting(6) {
        options = options.max_header_list_size(max);
    }
    options.build()
}

fn pseudo_id(name: &str) -> Option<PseudoId> {
    match name {
        "method" => Some(PseudoId::Method),
        "authority" => Some(PseudoId::Authority),
        "scheme" => Some(PseudoId::Scheme),
        "path" => Some(PseudoId::Path),
        _ => None,
    }
}

/// Assembles an HTTP/1.1 request. `absolute` selects the absolute-form, which HTTP proxies require.
fn assemble_http1(
    request: &Request,
    fields: WireHeaders,
    absolute: bool,
    progress: &UploadProgress,
) -> Result<HttpRequest<WireBody>> {
    let mut wire = request_without_headers(request, request_uri(&request.url, absolute, None)?, progress);
    *wire.version_mut() = Version::HTTP_11;
    on_preserve_header(&mut wire, VerbatimHeaders(fields));
    Ok(wire)
}

/// Assembles an HTTP/2 request. Its header fields bypass the stack; the request contains a ticket for them.
fn assemble_http2(
    request: &Request,
    fields: WireHeaders,
    shared: &Http2Sender,
    progress: &UploadProgress,
) -> Result<(HttpRequest<WireBody>, HeadersTicket)> {
    let (host, fields) = to_http2_fields(fields);
    let host = host.as_ref().and_then(|value| value.to_str().ok());
    let mut wire = request_without_headers(request, request_uri(&request.url, true, host)?, progress);
    *wire.version_mut() = Version::HTTP_2;
    let ticket = shared.pending_headers.insert(fields, shared.profile.http2.priority(request.context));
    wire.headers_mut().insert(TICKET_HEADER, HeaderValue::from(ticket.number()));
    Ok((wire, ticket))
}

/// Converts header fields to HTTP/2. `Host` is removed; the caller's value becomes the `:authority`.
pub(super) fn to_http2_fields(fields: WireHeaders) -> (Option<HeaderValue>, WireHeaders) {
    let (hosts, fields): (WireHeaders, WireHeaders) =
        fields.into_iter().partition(|(name, _)| name.eq_ignore_ascii_case("host"));
    let fields = fields
        .into_iter()
        .map(|(name, value)| (lowercase_name(name), value))
        .filter(|(name, value)| !is_connection_specific(name, value))
        .collect();
    (hosts.into_iter().next().map(|(_, value)| value), fields)
}

fn lowercase_name(name: Arc<str>) -> Arc<str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name }
}

/// Whether a field is connection-specific, and so not allowed in HTTP/2 (RFC 9113, section 8.2.2).
fn is_connection_specific(name: &str, value: &HeaderValue) -> bool {
    matches!(name, "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade")
        || name == "te" && value != "trailers"
}

fn request_without_headers(request: &Request, uri: Uri, progress: &UploadProgress) -> HttpRequest<WireBody> {
    let body = UploadBody::new(request.body.as_ref(), progress.clone());
    let mut wire = HttpRequest::new(body);
    *wire.method_mut() = request.method.clone();
    *wire.uri_mut() = uri;
    wire
}

fn request_uri(url: &Url, absolute: bool, host: Option<&str>) -> Result<Uri> {
    let mut target = super::headers::origin_form(url);
    if absolute {
        let authority = host.map_or_else(|| super::headers::authority(url), ToOwned::to_owned);
        target = format!("{}://{authority}{target}", url.scheme());
    }
    if target.len() > MAX_URI {
        let message = format!("the URL has {} characters, more than the limit of {MAX_URI}", target.len());
        return Err(Error::new(ErrorKind::InvalidUrl, message));
    }
    target.parse().map_err(|cause: http::uri::InvalidUri| {
        Error::new(ErrorKind::InvalidUrl, "the URL contains a character that cannot be sent")
            .with_source(cause)
    })
}

/// Writes HTTP/1.1 header fields in exactly the given order and case.
struct VerbatimHeaders(WireHeaders);

impl OnPreserveHeaderCallback for VerbatimHeaders {
    fn call(&self, _headers: &mut HeaderMap) {}

    fn call_visit(&self, _headers: &mut HeaderMap, write: &mut dyn FnMut(&dyn AsRef<[u8]>, &HeaderValue)) {
        for (name, value) in &self.0 {
            write(&name.as_bytes(), value);
        }
    }
}

/// Sends a request over HTTP/1.1. The connection handles one request at a time.
pub(crate) async fn send_http1(
    sender: &mut Http1Sender,
    request: &Request,
    fields: WireHeaders,
    absolute: bool,
    progress: &UploadProgress,
) -> Result<HttpResponse<Incoming>, SendError> {
    let wire = assemble_http1(request, fields, absolute, progress).map_err(SendError::Broken)?;
    sender.read_limit.set(sender.max_head_bytes);
    sender.watch.expect_response(request.method == Method::HEAD);
    let mut response = sender.sender.try_send_request(wire).await.map_err(|mut failed| {
        let unsent = failed.take_message().is_some();
        classify_send_error(failed.into_error(), unsent)
    })?;
    sender.read_limit.clear();
    sender.watch.restore_framing(response.headers_mut());
    response.extensions_mut().insert(sender.watch.take_received().unwrap_or_default());
    refuse_switch(&response)?;
    Ok(response)
}

/// Sends a request over HTTP/2, concurrently with others on the connection.
pub(crate) async fn send_http2(
    shared: &mut Http2Sender,
    request: &Request,
    fields: WireHeaders,
    progress: &UploadProgress,
) -> Result<HttpResponse<Incoming>, SendError> {
    let (wire, ticket) = assemble_http2(request, fields, shared, progress).map_err(SendError::Broken)?;
    let mut response = shared.sender.try_send_request(wire).await.map_err(|mut failed| {
        let unsent = failed.take_message().is_some();
        let cause = failed.into_error();
        let is_required = shared.requires_http1.load(Ordering::Relaxed)
            || find_source::<http2::Error>(&cause)
                .is_some_and(|h2| h2.is_remote() && h2.reason() == Some(http2::Reason::HTTP_1_1_REQUIRED));
        if is_required {
            return SendError::RequiresHttp1(exchange_error(cause, ErrorKind::Protocol));
        }
        classify_send_error(cause, unsent)
    })?;
    restore_names(response.headers_mut());
    response.extensions_mut().insert(ticket.response());
    refuse_switch(&response)?;
    Ok(response)
}

/// Refuses a switch to another protocol (101), which no request asks for.
fn refuse_switch(response: &HttpResponse<Incoming>) -> Result<(), SendError> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    let message = "the server switched to another protocol, which the request did not ask for";
    Err(SendError::Broken(Error::new(ErrorKind::Protocol, message)))
}

fn classify_send_error(cause: wreq_proto::Error, unsent: bool) -> SendError {
    let refused = find_source::<http2::Error>(&cause).is_some_and(|h2| {
        // The stack fails a stream with the GOAWAY of the server only if that says that it was not processed.
        h2.reason() == Some(http2::Reason::REFUSED_STREAM) || (h2.is_go_away() && h2.is_remote())
    });
    if unsent || refused {
        SendError::Unsent(exchange_error(cause, ErrorKind::Connect))
    } else {
        // The server may have processed the request. The router must not send a POST again after this kind.
        SendError::Broken(exchange_error(cause, ErrorKind::Protocol))
    }
}

/// Converts an error that occurred before the response headers were complete. `lost` is the kind of a lost
/// connection.
fn exchange_error(cause: wreq_proto::Error, lost: ErrorKind) -> Error {
    if let Some(failed) = find_source::<UploadError>(&cause) {
        return failed.to_error();
    }
    let is_unreadable = is_unreadable(&cause);
    let (kind, message) = if cause.is_parse() {
        (ErrorKind::Protocol, "the response is not valid HTTP")
    } else if cause.is_incomplete_message() {
        (ErrorKind::Protocol, "the server closed the connection without a response")
    } else if cause.is_canceled() || cause.is_closed() {
        (lost, "the connection was closed")
    } else if let Some(h2) = find_source::<http2::Error>(&cause) {
        if h2.is_io() {
            (lost, "the connection broke")
        } else {
            (ErrorKind::Protocol, "the server aborted the HTTP/2 exchange")
        }
    } else if let Some(cause) = find_source::<io::Error>(&cause) {
        match cause.kind() {
            io::ErrorKind::InvalidData => (ErrorKind::Protocol, "the response is not valid HTTP"),
            _ => (lost, "the connection broke"),
        }
    } else {
        (ErrorKind::Protocol, "the exchange failed")
    };
    mark_unreadable(Error::new(kind, message).with_source(cause), is_unreadable)
}

/// Whether an exchange failed because of the bytes that the server sent, which a browser may accept.
fn is_unreadable(cause: &wreq_proto::Error) -> bool {
    let is_invalid =
        |cause: &io::Error| matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput);
    let h2 = find_source::<http2::Error>(cause);
    cause.is_parse()
        || find_source::<io::Error>(cause).is_some_and(is_invalid)
        || h2.is_some_and(|h2| h2.get_io().map_or(!h2.is_remote() && h2.reason().is_some(), is_invalid))
}

fn mark_unreadable(error: Error, is_unreadable: bool) -> Error {
    if is_unreadable { error.mark_unreadable() } else { error }
}

/// Converts an error that occurred while reading a body.
pub(crate) fn body_error(cause: wreq_proto::Error) -> Error {
    let message = match find_source::<io::Error>(&cause).map(io::Error::kind) {
        Some(io::ErrorKind::UnexpectedEof) => "the body ended before its announced length",
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => "the body's chunks are malformed",
        Some(_) => "the connection broke in the middle of the body",
        None => "the body ended unexpectedly",
    };
    let is_unreadable = is_unreadable(&cause);
    mark_unreadable(Error::new(ErrorKind::Protocol, message).with_source(cause), is_unreadable)
}

/// Returns the first source of type `E` in an error's chain.
fn find_source<E: StdError + 'static>(error: &dyn StdError) -> Option<&E> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

/// Removes the handle that cancels an unread HTTP/2 response.
pub(crate) fn take_unread(extensions: &mut http::Extensions) -> Option<UnreadResponse> {
    extensions.remove()
}

/// Removes what the head was as received.
pub(crate) fn take_received(extensions: &mut http::Extensions) -> ReceivedHead {
    extensions.remove().unwrap_or_default()
}

/// Runs the tasks of the HTTP/2 stack on tokio.
#[derive(Clone)]
struct TokioExecutor;

impl<F> Executor<F> for TokioExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        tokio::spawn(future);
    }
}

/// The limit of the `http` crate.
const MAX_URI: usize = 65_534;
const SPEC_WINDOW: u32 = 65_535;
/// The maximum number of header fields, whatever the limits say: the stack allocates space for all of them at
/// once.
const MAX_FIELDS: usize = 10_000;
/// How many complete response headers are allowed, including interim responses.
const MAX_HEADS: usize = 4;

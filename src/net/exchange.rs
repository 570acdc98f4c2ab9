//! One request and its answer's head over one connection, HTTP/1.1 or HTTP/2.

use std::error::Error as StdError;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request as HttpRequest, Response as HttpResponse, Uri, Version};
use http2::frame::{PseudoId, PseudoOrder, SettingId, SettingsOrder};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use url::Url;
use wreq_proto::body::Incoming;
use wreq_proto::conn::{http1, http2 as h2};
use wreq_proto::ext::{OnPreserveHeaderCallback, on_preserve_header};
use wreq_proto::http1::Http1Options;
use wreq_proto::http2::Http2Options;
use wreq_proto::rt::Executor;

use super::headers::WireHeaders;
use super::http2::{FrameRewriter, HeadersTicket, PendingHeaders, TICKET_HEADER, UnreadResponse};
use super::io::read_limit::{LimitedReader, ReadLimit};
use super::tls::BoxIo;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::fingerprint::Profile;
use crate::fingerprint::profile::Http2;
use crate::limits::Limits;
use crate::request::Request;
use crate::sync::lock_unpoisoned;

type WireBody = RequestBody;

/// The sending side of one HTTP/1.1 connection.
pub(crate) struct Http1Sender {
    sender: http1::SendRequest<WireBody>,
    read_limit: ReadLimit,
    /// The most bytes before an answer's head is whole, interim answers included.
    max_head_bytes: usize,
}

impl Http1Sender {
    /// Whether a request can be sent now.
    pub(crate) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits until the answer under way is over; an error when the connection is.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        self.sender.ready().await.map_err(|cause| exchange_error(cause, ErrorKind::Connect))
    }
}

/// A sending side of one HTTP/2 connection; clones share it.
#[derive(Clone)]
pub(crate) struct Http2Sender {
    sender: h2::SendRequest<WireBody>,
    pending_headers: PendingHeaders,
    profile: Arc<Profile>,
}

impl Http2Sender {
    /// Whether nothing more can be sent on it.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// Why an exchange gave no answer.
pub(crate) enum SendError {
    /// Nothing of the request can have been acted upon: send it again on a fresh connection.
    Unsent(Error),
    /// The answer broke off or never came.
    Broken(Error),
}

/// Begins HTTP/1.1 on `io`. The permit lives as long as the connection.
pub(crate) async fn handshake_http1(
    io: BoxIo,
    bounds: &Limits,
    permit: OwnedSemaphorePermit,
) -> Result<Http1Sender> {
    let max_head = bounds.max_header_bytes.max(8192);
    let allowance = ReadLimit::new();
    let options = Http1Options::builder()
        .max_headers(bounds.max_header_fields.min(MAX_FIELDS))
        .max_buf_size(max_head)
        .build();
    let (sender, connection) = http1::Builder::default()
        .options(options)
        .handshake(LimitedReader::new(io, allowance.clone()))
        .await
        .map_err(|cause| exchange_error(cause, ErrorKind::Connect))?;
    tokio::spawn(async move {
        if let Err(cause) = connection.await {
            tracing::debug!(%cause, "an HTTP/1.1 connection ended");
        }
        drop(permit);
    });
    Ok(Http1Sender { sender, read_limit: allowance, max_head_bytes: max_head.saturating_mul(MAX_HEADS) })
}

/// Begins HTTP/2 on `io` with a profile's preface. The permit lives as long as the connection.
pub(crate) async fn handshake_http2(
    io: BoxIo,
    profile: &Arc<Profile>,
    permit: OwnedSemaphorePermit,
) -> Result<Http2Sender> {
    let counter = PendingHeaders::default();
    let habits = profile.http2.hpack.clone();
    let io = FrameRewriter::new(io, counter.clone(), habits, profile.browser.is_some());
    let (sender, connection) = h2::Builder::new(TokioExecutor)
        .options(http2_options(&profile.http2))
        .handshake(io)
        .await
        .map_err(|cause| exchange_error(cause, ErrorKind::Connect))?;
    tokio::spawn(async move {
        if let Err(cause) = connection.await {
            tracing::debug!(%cause, "an HTTP/2 connection ended");
        }
        drop(permit);
    });
    Ok(Http2Sender { sender, pending_headers: counter, profile: Arc::clone(profile) })
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

/// Assembles a request for HTTP/1.1. `absolute` is the form an http proxy wants.
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

/// Assembles a request for HTTP/2: its fields go by ticket, straight to the wire.
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

/// Fields as HTTP/2 has them. It has no Host: a caller's own becomes the authority.
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

/// What speaks of the connection has no place in HTTP/2 (RFC 9113, section 8.2.2).
fn is_connection_specific(name: &str, value: &HeaderValue) -> bool {
    matches!(name, "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade")
        || name == "te" && value != "trailers"
}

fn request_without_headers(request: &Request, uri: Uri, progress: &UploadProgress) -> HttpRequest<WireBody> {
    let left = request.body.clone().unwrap_or_default();
    let mut wire = HttpRequest::new(RequestBody { remaining: left, progress: progress.clone() });
    *wire.method_mut() = request.method.clone();
    *wire.uri_mut() = uri;
    wire
}

fn request_uri(url: &Url, absolute: bool, host: Option<&str>) -> Result<Uri> {
    let mut target = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
    if target.is_empty() {
        target.push('/');
    }
    if absolute {
        let authority = host.map_or_else(|| super::headers::authority(url), ToOwned::to_owned);
        target = format!("{}://{authority}{target}", url.scheme());
    }
    if target.len() > MAX_URI {
        let message = format!("the URL has {} characters, at most {MAX_URI} can be sent", target.len());
        return Err(Error::new(ErrorKind::InvalidUrl, message));
    }
    target.parse().map_err(|cause: http::uri::InvalidUri| {
        Error::new(ErrorKind::InvalidUrl, "the URL holds a character that cannot be sent").with_source(cause)
    })
}

/// Writes HTTP/1.1 header fields in exactly the order and case they were dressed in.
struct VerbatimHeaders(WireHeaders);

impl OnPreserveHeaderCallback for VerbatimHeaders {
    fn call(&self, _headers: &mut HeaderMap) {}

    fn call_visit(&self, _headers: &mut HeaderMap, write: &mut dyn FnMut(&dyn AsRef<[u8]>, &HeaderValue)) {
        for (name, value) in &self.0 {
            write(&name.as_bytes(), value);
        }
    }
}

/// Sends over HTTP/1.1. The connection answers one request at a time.
pub(crate) async fn send_http1(
    sender: &mut Http1Sender,
    request: &Request,
    fields: WireHeaders,
    absolute: bool,
    progress: &UploadProgress,
) -> Result<HttpResponse<Incoming>, SendError> {
    let wire = assemble_http1(request, fields, absolute, progress).map_err(SendError::Broken)?;
    sender.read_limit.set(sender.max_head_bytes);
    let response = sender.sender.try_send_request(wire).await.map_err(|mut failed| {
        let unsent = failed.take_message().is_some();
        classify_send_error(failed.into_error(), unsent)
    })?;
    sender.read_limit.clear();
    Ok(response)
}

/// Sends over HTTP/2, beside what else is under way there.
pub(crate) async fn send_http2(
    shared: &mut Http2Sender,
    request: &Request,
    fields: WireHeaders,
    progress: &UploadProgress,
) -> Result<HttpResponse<Incoming>, SendError> {
    let (wire, ticket) = assemble_http2(request, fields, shared, progress).map_err(SendError::Broken)?;
    let mut response = shared.sender.try_send_request(wire).await.map_err(|mut failed| {
        let unsent = failed.take_message().is_some();
        classify_send_error(failed.into_error(), unsent)
    })?;
    response.extensions_mut().insert(ticket.response());
    Ok(response)
}

fn classify_send_error(cause: wreq_proto::Error, unsent: bool) -> SendError {
    let refused = find_source::<http2::Error>(&cause).is_some_and(|h2| {
        h2.reason() == Some(http2::Reason::REFUSED_STREAM)
            || (h2.is_go_away() && h2.is_remote() && h2.reason() == Some(http2::Reason::NO_ERROR))
    });
    if unsent || refused {
        SendError::Unsent(exchange_error(cause, ErrorKind::Connect))
    } else {
        // The request may have been heard: not the kind after which a POST is sent again.
        SendError::Broken(exchange_error(cause, ErrorKind::Protocol))
    }
}

/// Names what broke while an answer's head was awaited; `lost` is the kind of a lost connection.
fn exchange_error(cause: wreq_proto::Error, lost: ErrorKind) -> Error {
    let (kind, message) = if cause.is_parse() {
        (ErrorKind::Protocol, "the answer is not proper HTTP")
    } else if cause.is_incomplete_message() {
        (ErrorKind::Protocol, "the server closed the connection without an answer")
    } else if cause.is_canceled() || cause.is_closed() {
        (lost, "the connection was closed")
    } else if let Some(h2) = find_source::<http2::Error>(&cause) {
        if h2.is_io() {
            (lost, "the connection broke")
        } else {
            (ErrorKind::Protocol, "the server broke off the HTTP/2 exchange")
        }
    } else if let Some(cause) = find_source::<io::Error>(&cause) {
        match cause.kind() {
            io::ErrorKind::InvalidData => (ErrorKind::Protocol, "the answer is not proper HTTP"),
            _ => (lost, "the connection broke"),
        }
    } else {
        (ErrorKind::Protocol, "the exchange failed")
    };
    Error::new(kind, message).with_source(cause)
}

/// Names what broke while a body was read.
pub(crate) fn body_error(cause: wreq_proto::Error) -> Error {
    let message = match find_source::<io::Error>(&cause).map(io::Error::kind) {
        Some(io::ErrorKind::UnexpectedEof) => "the body ended before its announced length",
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => "the body's chunks are malformed",
        Some(_) => "the connection broke in the middle of the body",
        None => "the body broke off",
    };
    Error::new(ErrorKind::Protocol, message).with_source(cause)
}

/// The first source of type `E` behind an error.
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

/// What of an answer's head says that it will not be read to its end; over HTTP/2.
pub(crate) fn take_unread(extensions: &mut http::Extensions) -> Option<UnreadResponse> {
    extensions.remove()
}

/// A request's body, in the parts in which Chrome hands it to HTTP/2.
pub(crate) struct RequestBody {
    remaining: Bytes,
    progress: UploadProgress,
}

/// When the last part of a request's body was taken to be sent.
#[derive(Clone, Default)]
pub(crate) struct UploadProgress(Arc<Mutex<Option<Instant>>>);

impl UploadProgress {
    fn record_chunk(&self) {
        *lock_unpoisoned(&self.0) = Some(Instant::now());
    }

    fn last_chunk(&self) -> Option<Instant> {
        *lock_unpoisoned(&self.0)
    }

    /// The outcome of `sending`; none when for `limit` neither it came nor any of the body left.
    pub(crate) async fn run_with_idle_timeout<T>(
        &self,
        limit: Duration,
        sending: impl Future<Output = T>,
    ) -> Option<T> {
        let mut sending = pin!(sending);
        let mut since = Instant::now();
        loop {
            match timeout(limit.saturating_sub(since.elapsed()), &mut sending).await {
                Ok(outcome) => return Some(outcome),
                Err(_) => since = self.last_chunk().filter(|last| *last > since)?,
            }
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        if self.remaining.is_empty() {
            return Poll::Ready(None);
        }
        self.progress.record_chunk();
        let part = self.remaining.len().min(UPLOAD_CHUNK);
        Poll::Ready(Some(Ok(http_body::Frame::data(self.remaining.split_to(part)))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining.is_empty()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.remaining.len() as u64)
    }
}

/// Runs the HTTP/2 stack's own tasks on tokio.
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

/// What the `http` crate takes.
const MAX_URI: usize = 65_534;
const SPEC_WINDOW: u32 = 65_535;
/// A frame of the least size every peer takes, head and all.
const UPLOAD_CHUNK: usize = 16_384 - 9;
/// The most header fields whatever the bounds say: the stack makes room for all of them at once.
const MAX_FIELDS: usize = 10_000;
/// How many full heads may come before the last: interim answers.
const MAX_HEADS: usize = 4;

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

use super::dress::Fields;
use super::guard::{Allowance, Guarded};
use super::reframe::{self, Counter, Reframed, Ticket, Unread};
use super::tls::BoxIo;
use crate::bounds::Bounds;
use crate::error::{Error, Result};
use crate::fingerprint::Profile;
use crate::fingerprint::profile::Http2;
use crate::kind::ErrorKind;
use crate::lock::lock;
use crate::request::Request;

type Wire = Upload;

/// The sending side of one HTTP/1.1 connection.
pub(crate) struct Http1 {
    sender: http1::SendRequest<Wire>,
    allowance: Allowance,
    /// The most bytes before an answer's head is whole, interim answers included.
    max_heads: usize,
}

impl Http1 {
    /// Whether a request can be sent now.
    pub(crate) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits until the answer under way is over; an error when the connection is.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        self.sender.ready().await.map_err(|cause| broke(cause, ErrorKind::Connect))
    }
}

/// A sending side of one HTTP/2 connection; clones share it.
#[derive(Clone)]
pub(crate) struct Shared {
    sender: h2::SendRequest<Wire>,
    counter: Counter,
    profile: Arc<Profile>,
}

impl Shared {
    /// Whether nothing more can be sent on it.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// Why an exchange gave no answer.
pub(crate) enum Failure {
    /// Nothing of the request can have been acted upon: send it again on a fresh connection.
    Unsent(Error),
    /// The answer broke off or never came.
    Broken(Error),
}

/// Begins HTTP/1.1 on `io`. The permit lives as long as the connection.
pub(crate) async fn begin_http1(io: BoxIo, bounds: &Bounds, permit: OwnedSemaphorePermit) -> Result<Http1> {
    let max_head = bounds.max_header_bytes.max(8192);
    let allowance = Allowance::new();
    let options = Http1Options::builder()
        .max_headers(bounds.max_header_fields.min(MAX_FIELDS))
        .max_buf_size(max_head)
        .build();
    let (sender, connection) = http1::Builder::default()
        .options(options)
        .handshake(Guarded::new(io, allowance.clone()))
        .await
        .map_err(|cause| broke(cause, ErrorKind::Connect))?;
    tokio::spawn(async move {
        if let Err(cause) = connection.await {
            tracing::debug!(%cause, "an HTTP/1.1 connection ended");
        }
        drop(permit);
    });
    Ok(Http1 { sender, allowance, max_heads: max_head.saturating_mul(HEADS) })
}

/// Begins HTTP/2 on `io` with a profile's preface. The permit lives as long as the connection.
pub(crate) async fn begin_http2(
    io: BoxIo,
    profile: &Arc<Profile>,
    permit: OwnedSemaphorePermit,
) -> Result<Shared> {
    let counter = Counter::default();
    let habits = profile.http2.hpack.clone();
    let io = Reframed::new(io, counter.clone(), habits, profile.browser.is_some());
    let (sender, connection) = h2::Builder::new(Spawn)
        .options(options(&profile.http2))
        .handshake(io)
        .await
        .map_err(|cause| broke(cause, ErrorKind::Connect))?;
    tokio::spawn(async move {
        if let Err(cause) = connection.await {
            tracing::debug!(%cause, "an HTTP/2 connection ended");
        }
        drop(permit);
    });
    Ok(Shared { sender, counter, profile: Arc::clone(profile) })
}

fn options(profile: &Http2) -> Http2Options {
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
                .extend(profile.pseudo_order.iter().filter_map(|name| pseudo(name)))
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

fn pseudo(name: &str) -> Option<PseudoId> {
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
    fields: Fields,
    absolute: bool,
    progress: &Progress,
) -> Result<HttpRequest<Wire>> {
    let mut wire = bare(request, uri(&request.url, absolute, None)?, progress);
    *wire.version_mut() = Version::HTTP_11;
    on_preserve_header(&mut wire, AsWritten(fields));
    Ok(wire)
}

/// Assembles a request for HTTP/2: its fields go by ticket, straight to the wire.
fn assemble_http2(
    request: &Request,
    fields: Fields,
    shared: &Shared,
    progress: &Progress,
) -> Result<(HttpRequest<Wire>, Ticket)> {
    let (host, fields) = in_http2(fields);
    let host = host.as_ref().and_then(|value| value.to_str().ok());
    let mut wire = bare(request, uri(&request.url, true, host)?, progress);
    *wire.version_mut() = Version::HTTP_2;
    let ticket = shared.counter.deposit(fields, shared.profile.http2.priority(request.context));
    wire.headers_mut().insert(reframe::TICKET, HeaderValue::from(ticket.number()));
    Ok((wire, ticket))
}

/// Fields as HTTP/2 has them. It has no Host: a caller's own becomes the authority.
pub(super) fn in_http2(fields: Fields) -> (Option<HeaderValue>, Fields) {
    let (hosts, fields): (Fields, Fields) =
        fields.into_iter().partition(|(name, _)| name.eq_ignore_ascii_case("host"));
    let fields = fields
        .into_iter()
        .map(|(name, value)| (lower(name), value))
        .filter(|(name, value)| !is_of_connection(name, value))
        .collect();
    (hosts.into_iter().next().map(|(_, value)| value), fields)
}

fn lower(name: Arc<str>) -> Arc<str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name }
}

/// What speaks of the connection has no place in HTTP/2 (RFC 9113, section 8.2.2).
fn is_of_connection(name: &str, value: &HeaderValue) -> bool {
    matches!(name, "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade")
        || name == "te" && value != "trailers"
}

fn bare(request: &Request, uri: Uri, progress: &Progress) -> HttpRequest<Wire> {
    let left = request.body.clone().unwrap_or_default();
    let mut wire = HttpRequest::new(Upload { left, progress: progress.clone() });
    *wire.method_mut() = request.method.clone();
    *wire.uri_mut() = uri;
    wire
}

fn uri(url: &Url, absolute: bool, host: Option<&str>) -> Result<Uri> {
    let mut target = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
    if target.is_empty() {
        target.push('/');
    }
    if absolute {
        let authority = host.map_or_else(|| super::dress::authority(url), ToOwned::to_owned);
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
struct AsWritten(Fields);

impl OnPreserveHeaderCallback for AsWritten {
    fn call(&self, _headers: &mut HeaderMap) {}

    fn call_visit(&self, _headers: &mut HeaderMap, write: &mut dyn FnMut(&dyn AsRef<[u8]>, &HeaderValue)) {
        for (name, value) in &self.0 {
            write(&name.as_bytes(), value);
        }
    }
}

/// Sends over HTTP/1.1. The connection answers one request at a time.
pub(crate) async fn send_http1(
    sender: &mut Http1,
    request: &Request,
    fields: Fields,
    absolute: bool,
    progress: &Progress,
) -> Result<HttpResponse<Incoming>, Failure> {
    let wire = assemble_http1(request, fields, absolute, progress).map_err(Failure::Broken)?;
    sender.allowance.bound(sender.max_heads);
    let response = sender.sender.try_send_request(wire).await.map_err(|mut failed| {
        let unsent = failed.take_message().is_some();
        failure(failed.into_error(), unsent)
    })?;
    sender.allowance.lift();
    Ok(response)
}

/// Sends over HTTP/2, beside what else is under way there.
pub(crate) async fn send_http2(
    shared: &mut Shared,
    request: &Request,
    fields: Fields,
    progress: &Progress,
) -> Result<HttpResponse<Incoming>, Failure> {
    let (wire, ticket) = assemble_http2(request, fields, shared, progress).map_err(Failure::Broken)?;
    let mut response = shared.sender.try_send_request(wire).await.map_err(|mut failed| {
        let unsent = failed.take_message().is_some();
        failure(failed.into_error(), unsent)
    })?;
    response.extensions_mut().insert(ticket.answer());
    Ok(response)
}

fn failure(cause: wreq_proto::Error, unsent: bool) -> Failure {
    let refused = source::<http2::Error>(&cause).is_some_and(|h2| {
        h2.reason() == Some(http2::Reason::REFUSED_STREAM)
            || (h2.is_go_away() && h2.is_remote() && h2.reason() == Some(http2::Reason::NO_ERROR))
    });
    if unsent || refused {
        Failure::Unsent(broke(cause, ErrorKind::Connect))
    } else {
        // The request may have been heard: not the kind after which a POST is sent again.
        Failure::Broken(broke(cause, ErrorKind::Protocol))
    }
}

/// Names what broke while an answer's head was awaited; `lost` is the kind of a lost connection.
fn broke(cause: wreq_proto::Error, lost: ErrorKind) -> Error {
    let (kind, message) = if cause.is_parse() {
        (ErrorKind::Protocol, "the answer is not proper HTTP")
    } else if cause.is_incomplete_message() {
        (ErrorKind::Protocol, "the server closed the connection without an answer")
    } else if cause.is_canceled() || cause.is_closed() {
        (lost, "the connection was closed")
    } else if let Some(h2) = source::<http2::Error>(&cause) {
        if h2.is_io() {
            (lost, "the connection broke")
        } else {
            (ErrorKind::Protocol, "the server broke off the HTTP/2 exchange")
        }
    } else if let Some(cause) = source::<io::Error>(&cause) {
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
pub(crate) fn body_broke(cause: wreq_proto::Error) -> Error {
    let message = match source::<io::Error>(&cause).map(io::Error::kind) {
        Some(io::ErrorKind::UnexpectedEof) => "the body ended before its announced length",
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => "the body's chunks are malformed",
        Some(_) => "the connection broke in the middle of the body",
        None => "the body broke off",
    };
    Error::new(ErrorKind::Protocol, message).with_source(cause)
}

/// The first source of type `E` behind an error.
fn source<E: StdError + 'static>(error: &dyn StdError) -> Option<&E> {
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
pub(crate) fn unread(extensions: &mut http::Extensions) -> Option<Unread> {
    extensions.remove()
}

/// A request's body, in the parts in which Chrome hands it to HTTP/2.
pub(crate) struct Upload {
    left: Bytes,
    progress: Progress,
}

/// When the last part of a request's body was taken to be sent.
#[derive(Clone, Default)]
pub(crate) struct Progress(Arc<Mutex<Option<Instant>>>);

impl Progress {
    fn note(&self) {
        *lock(&self.0) = Some(Instant::now());
    }

    fn last(&self) -> Option<Instant> {
        *lock(&self.0)
    }

    /// The outcome of `sending`; none when for `limit` neither it came nor any of the body left.
    pub(crate) async fn within<T>(&self, limit: Duration, sending: impl Future<Output = T>) -> Option<T> {
        let mut sending = pin!(sending);
        let mut since = Instant::now();
        loop {
            match timeout(limit.saturating_sub(since.elapsed()), &mut sending).await {
                Ok(outcome) => return Some(outcome),
                Err(_) => since = self.last().filter(|last| *last > since)?,
            }
        }
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        self.progress.note();
        let part = self.left.len().min(UPLOAD_PART);
        Poll::Ready(Some(Ok(http_body::Frame::data(self.left.split_to(part)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left.len() as u64)
    }
}

/// Runs the HTTP/2 stack's own tasks on tokio.
#[derive(Clone)]
struct Spawn;

impl<F> Executor<F> for Spawn
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
const UPLOAD_PART: usize = 16_384 - 9;
/// The most header fields whatever the bounds say: the stack makes room for all of them at once.
const MAX_FIELDS: usize = 10_000;
/// How many full heads may come before the last: interim answers.
const HEADS: usize = 4;

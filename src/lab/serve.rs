//! Serves and records one connection, HTTP/2 or HTTP/1.1.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::recording::{Client, Exchange, RecordedRequest};
use super::reply::{AfterReply, Reply};
use super::tap::Tap;
use crate::fingerprint::h2::Frame;
use crate::fingerprint::{H2Reader, Http2Fingerprint};
use crate::net::head_reader::read_head;
use crate::os::sync::lock_unpoisoned;

/// Responds to requests.
pub(super) type Handler = Arc<dyn Fn(&Exchange) -> Reply + Send + Sync>;

const MAX_BODY: usize = 1024 * 1024;
const MAX_HEAD: usize = 64 * 1024;
/// The maximum number of requests that are parsed before the server responds to them.
const MAX_PENDING: usize = 1024;
/// The delay before SETTINGS are sent again.
const RETRY_DELAY: std::time::Duration = std::time::Duration::from_millis(5);
/// The maximum number of queued actions.
const MAX_PENDING_ACTIONS: usize = 8;
/// The receive window of the server: larger than any test body. The client then cuts its DATA frames by its
/// own rule, and not by the speed of the server.
const WINDOW: u32 = 1024 * 1024;
/// The window size after [`AfterReply::SendSettings`].
const OTHER_WINDOW: u32 = 100_000;

/// An action on an HTTP/2 connection because of a response.
enum ConnectionAction {
    /// Sends GOAWAY. Reports when it is queued, before everything that is sent afterwards.
    Close(oneshot::Sender<()>),
    Ping,
    SendSettings,
}

/// The state of an HTTP/2 connection's requests, parsed before the server sees them.
#[derive(Default)]
struct H2Observer {
    reader: H2Reader,
    opening: Http2Fingerprint,
    pending: BTreeMap<u32, RecordedRequest>,
    data: BTreeMap<u32, Vec<(usize, bool)>>,
}

impl H2Observer {
    fn observe(&mut self, bytes: &[u8], client: &Client) {
        // Bytes that are not HTTP/2 are rejected by the server.
        for frame in self.reader.push(bytes).unwrap_or_default() {
            client.add_frame(&frame);
            self.opening.observe(&frame);
            if self.opening.is_complete() {
                client.opening.get_or_init(|| self.opening.clone());
            }
            if let Frame::Data { stream, len, end_stream } = frame {
                self.data.entry(stream).or_default().push((len, end_stream));
                if self.data.len() > MAX_PENDING {
                    self.data.pop_first();
                }
                continue;
            }
            if let Some((stream, request)) = RecordedRequest::from_frame(frame) {
                self.pending.insert(stream, request);
                if self.pending.len() > MAX_PENDING {
                    self.pending.pop_first();
                }
            }
        }
    }
}

pub(super) async fn h2<S>(stream: S, client: Arc<Client>, handler: Handler) -> Result<(), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let wire = Arc::new(Mutex::new(H2Observer::default()));
    let on_read = {
        let (wire, client) = (Arc::clone(&wire), Arc::clone(&client));
        move |bytes: &[u8]| lock_unpoisoned(&wire).observe(bytes, &client)
    };
    let mut connection = h2::server::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(Tap::new(stream, on_read))
        .await?;
    let mut pings = connection.ping_pong();
    let (action_sender, mut action_receiver) = mpsc::channel(MAX_PENDING_ACTIONS);
    let mut answers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(accepted) = accepted else { return Ok(()) };
                let (request, respond) = accepted?;
                let stream = respond.stream_id().as_u32();
                let recorded = lock_unpoisoned(&wire).pending.remove(&stream);
                let Some(recorded) = recorded else { continue };
                client.add_request(&recorded);
                let with_body = recorded.method != "HEAD";
                let wire = Arc::clone(&wire);
                let (client, handler) = (Arc::clone(&client), Arc::clone(&handler));
                let action_sender = action_sender.clone();
                answers.spawn(async move {
                    let body = read_body(request.into_body()).await?;
                    let data = lock_unpoisoned(&wire).data.remove(&stream);
                    client.add_data_frames(stream, data.unwrap_or_default());
                    let reply = handler(&Exchange { client, request: recorded, body });
                    let after = reply.after;
                    if after == AfterReply::Close {
                        // GOAWAY goes out before the response ends. The client's next request could otherwise
                        // still arrive on this connection.
                        let (queued, is_queued) = oneshot::channel();
                        let _ = action_sender.send(ConnectionAction::Close(queued)).await;
                        let _ = is_queued.await;
                    }
                    send(reply, with_body, respond).await?;
                    let action = match after {
                        AfterReply::KeepOpen | AfterReply::Close => return Ok(()),
                        AfterReply::Ping => ConnectionAction::Ping,
                        AfterReply::SendSettings => ConnectionAction::SendSettings,
                    };
                    // A full queue already contains enough actions.
                    let _ = action_sender.try_send(action);
                    Ok::<(), h2::Error>(())
                });
            }
            Some(action) = action_receiver.recv() => match action {
                ConnectionAction::Close(queued) => {
                    connection.graceful_shutdown();
                    let _: Result<(), ()> = queued.send(());
                }
                ConnectionAction::Ping => pings.iter_mut().try_for_each(|pings| pings.send_ping(h2::Ping::opaque()))?,
                // Fails until the client has acknowledged the first SETTINGS.
                ConnectionAction::SendSettings => if connection.set_initial_window_size(OTHER_WINDOW).is_err() {
                    let again = action_sender.clone();
                    answers.spawn(async move {
                        tokio::time::sleep(RETRY_DELAY).await;
                        let _ = again.try_send(ConnectionAction::SendSettings);
                        Ok(())
                    });
                },
            },
            Some(_) = answers.join_next(), if !answers.is_empty() => {}
        }
    }
}

async fn read_body(mut stream: h2::RecvStream) -> Result<Bytes, h2::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        if body.len() + chunk.len() <= MAX_BODY {
            body.extend_from_slice(&chunk);
        }
    }
    Ok(body.freeze())
}

async fn send(
    reply: Reply,
    with_body: bool,
    mut respond: h2::server::SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    if has_length(reply.status) {
        response.headers_mut().insert(http::header::CONTENT_LENGTH, reply.body.len().into());
    }
    let mut body = if with_body { reply.body } else { Bytes::new() };
    let mut body_sink = respond.send_response(response, body.is_empty())?;
    while !body.is_empty() {
        body_sink.reserve_capacity(body.len());
        let Some(capacity) = std::future::poll_fn(|cx| body_sink.poll_capacity(cx)).await else { break };
        let part = body.split_to(capacity?.min(body.len()));
        body_sink.send_data(part, body.is_empty())?;
    }
    Ok(())
}

pub(super) async fn h1<S>(mut stream: S, client: Arc<Client>, handler: Handler) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = Vec::new();
    loop {
        // The client closes the connection between two requests.
        let Ok((head, mut body)) = read_head(&mut stream, buffer, MAX_HEAD).await else { return Ok(()) };
        let Some(request) = RecordedRequest::from_head(&head[..head.len() - 4], client.over()) else {
            return write(&mut stream, Reply::status(400).close_after(), true).await;
        };
        client.add_request(&request);
        if request.header("transfer-encoding").is_some() {
            return write(&mut stream, Reply::status(411).close_after(), true).await;
        }
        let len = request.header("content-length").map_or(Ok(0), str::parse::<usize>);
        let Some(len) = len.ok().filter(|len| *len <= MAX_BODY) else {
            return write(&mut stream, Reply::status(413).close_after(), true).await;
        };
        while body.len() < len {
            if stream.read_buf(&mut body).await? == 0 {
                return Ok(());
            }
        }
        buffer = body.split_off(len);
        let body = Bytes::from(body);
        let with_body = request.method != "HEAD";
        let asked_to_close =
            request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let mut reply = handler(&Exchange { client: Arc::clone(&client), request, body });
        if asked_to_close {
            reply.after = AfterReply::Close;
        }
        let last = reply.after == AfterReply::Close;
        write(&mut stream, reply, with_body).await?;
        if last {
            return stream.shutdown().await;
        }
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, reply: Reply, with_body: bool) -> io::Result<()> {
    let reason = StatusCode::from_u16(reply.status).ok().and_then(|s| s.canonical_reason()).unwrap_or("");
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    if has_length(reply.status) {
        head.extend(["content-length: ", &reply.body.len().to_string(), "\r\n"]);
    }
    if reply.after == AfterReply::Close {
        head.push_str("connection: close\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    if with_body {
        stream.write_all(&reply.body).await?;
    }
    stream.flush().await
}

/// Whether a response has a Content-Length. 204 and 304 must not have one.
const fn has_length(status: u16) -> bool {
    !matches!(status, 204 | 304)
}

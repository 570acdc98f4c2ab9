//! Serving one connection, HTTP/2 or HTTP/1.1, while listening.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::recording::{Client, Exchange, RecordedRequest};
use super::reply::{AfterReply, Reply};
use super::tap::Tap;
use crate::fingerprint::h2::Frame;
use crate::fingerprint::{H2Reader, Http2Fingerprint};
use crate::sync::lock_unpoisoned;

/// What answers requests.
pub(super) type Handler = Arc<dyn Fn(&Exchange) -> Reply + Send + Sync>;

const MAX_BODY: usize = 1024 * 1024;
const MAX_HEAD: usize = 64 * 1024;
/// HEADERS read ahead of the server that answers them.
const MAX_PENDING: usize = 1024;
/// How long to wait for a client before trying again.
const RETRY_DELAY: std::time::Duration = std::time::Duration::from_millis(5);
/// What may wait to be done after answers.
const MAX_PENDING_ACTIONS: usize = 8;
/// What a client may send before it must wait: more than it has, so that its frames are cut by its
/// own rule and not by how fast we are.
const WINDOW: u32 = 1024 * 1024;
/// Another.
const OTHER_WINDOW: u32 = 100_000;

/// What the listener knows of an HTTP/2 connection's requests before the server sees them.
#[derive(Default)]
struct H2Observer {
    reader: H2Reader,
    opening: Http2Fingerprint,
    pending: BTreeMap<u32, RecordedRequest>,
    data: BTreeMap<u32, Vec<(usize, bool)>>,
}

impl H2Observer {
    fn observe(&mut self, bytes: &[u8], client: &Client) {
        // Bytes that are no HTTP/2 are the server's to refuse.
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
    let ear = {
        let (wire, client) = (Arc::clone(&wire), Arc::clone(&client));
        move |bytes: &[u8]| lock_unpoisoned(&wire).observe(bytes, &client)
    };
    let mut connection = h2::server::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(Tap::new(stream, ear))
        .await?;
    let mut pings = connection.ping_pong();
    let (then, mut afterwards) = mpsc::channel(MAX_PENDING_ACTIONS);
    let mut answers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(accepted) = accepted else { return Ok(()) };
                let (request, respond) = accepted?;
                let stream = respond.stream_id().as_u32();
                let heard = lock_unpoisoned(&wire).pending.remove(&stream);
                let Some(heard) = heard else { continue };
                client.add_request(&heard);
                let with_body = heard.method != "HEAD";
                let wire = Arc::clone(&wire);
                let (client, handler, afterwards) = (Arc::clone(&client), Arc::clone(&handler), then.clone());
                answers.spawn(async move {
                    let body = read_body(request.into_body()).await?;
                    let data = lock_unpoisoned(&wire).data.remove(&stream);
                    client.add_data_frames(stream, data.unwrap_or_default());
                    let reply = handler(&Exchange { client, request: heard, body });
                    let then = reply.after;
                    send(reply, with_body, respond).await?;
                    if then != AfterReply::KeepOpen {
                        // Full means that enough has been asked for already.
                        let _ = afterwards.try_send(then);
                    }
                    Ok::<(), h2::Error>(())
                });
            }
            Some(wanted) = afterwards.recv() => match wanted {
                AfterReply::KeepOpen => {}
                AfterReply::Close => connection.graceful_shutdown(),
                AfterReply::Ping => pings.iter_mut().try_for_each(|pings| pings.send_ping(h2::Ping::opaque()))?,
                // Refused while the client has not taken note of the first SETTINGS.
                AfterReply::SendSettings => if connection.set_initial_window_size(OTHER_WINDOW).is_err() {
                    let again = then.clone();
                    answers.spawn(async move {
                        tokio::time::sleep(RETRY_DELAY).await;
                        let _ = again.try_send(AfterReply::SendSettings);
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
    let mut sink = respond.send_response(response, body.is_empty())?;
    while !body.is_empty() {
        sink.reserve_capacity(body.len());
        let Some(room) = std::future::poll_fn(|cx| sink.poll_capacity(cx)).await else { break };
        let part = body.split_to(room?.min(body.len()));
        sink.send_data(part, body.is_empty())?;
    }
    Ok(())
}

pub(super) async fn h1<S>(mut stream: S, client: Arc<Client>, handler: Handler) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::new();
    loop {
        let Some(end) = read_head(&mut stream, &mut buffer).await? else { return Ok(()) };
        let head = buffer.split_to(end);
        let Some(request) = RecordedRequest::from_head(&head[..end - 4], client.over()) else {
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
        while buffer.len() < len {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let body = buffer.split_to(len).freeze();
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

/// Reads until a head is whole and says where it ends; `None` when the client left before.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
    loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            return Ok(Some(at + 4));
        }
        if buffer.len() > MAX_HEAD || stream.read_buf(buffer).await? == 0 {
            return Ok(None);
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

/// 204 and 304 have no body, and must not say how long it is.
const fn has_length(status: u16) -> bool {
    !matches!(status, 204 | 304)
}

//! The DevTools protocol over the process's pipe: NUL-terminated messages, flat sessions. It needs no async
//! runtime: one thread writes, and the process's thread reads.

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::Duration;

use chromiumoxide_types::{Command, Error as ProtocolError, MethodId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::error::CdpError;
use crate::os::sync::lock_unpoisoned;

/// A connection to one browser. Cheap to clone.
#[derive(Clone)]
pub(crate) struct CdpConnection(Arc<ConnectionInner>);

struct ConnectionInner {
    state: Mutex<State>,
    /// Messages larger than this are discarded.
    max_message: usize,
}

struct State {
    next: u64,
    waiting: HashMap<u64, PendingReply>,
    /// `None` once the browser has exited.
    outgoing: Option<mpsc::Sender<Vec<u8>>>,
    /// Taken by the writer thread once the process runs.
    unsent: Option<mpsc::Receiver<Vec<u8>>>,
}

/// The receiver of a command's reply.
enum PendingReply {
    Reply(oneshot::Sender<Result<Box<RawValue>, CdpError>>),
    /// No caller waits. The value is dropped when the reply arrives.
    Release(Box<dyn Any + Send + Sync>),
}

/// An event as received.
pub(crate) struct CdpEvent<'a> {
    pub session: Option<&'a str>,
    pub method: &'a str,
    pub params: &'a str,
}

impl CdpConnection {
    pub(crate) fn new(max_message: usize) -> Self {
        let (outgoing, unsent) = mpsc::channel();
        let state =
            State { next: 0, waiting: HashMap::new(), outgoing: Some(outgoing), unsent: Some(unsent) };
        Self(Arc::new(ConnectionInner { state: Mutex::new(state), max_message }))
    }

    /// Whether the browser is still connected.
    pub(crate) fn is_alive(&self) -> bool {
        self.lock().outgoing.is_some()
    }

    /// Sends `command` and waits for its reply.
    pub(crate) async fn run<C: Command>(
        &self,
        session: Option<&str>,
        command: &C,
        limit: Duration,
    ) -> Result<C::Response, CdpError> {
        let (sender, reply) = oneshot::channel();
        self.send(session, command, PendingReply::Reply(sender))?;
        let text = match tokio::time::timeout(limit, reply).await {
            Ok(Ok(reply)) => reply?,
            Ok(Err(_)) => return Err(CdpError::BrowserClosed),
            Err(_) => return Err(CdpError::TimedOut(method_of(command))),
        };
        serde_json::from_str(text.get()).map_err(CdpError::Unreadable)
    }

    /// Sends `command` and drops `guard` when the browser has replied or exited.
    pub(crate) fn send_with_guard<C: Command>(
        &self,
        session: Option<&str>,
        command: &C,
        guard: Box<dyn Any + Send + Sync>,
    ) {
        if let Err(fault) = self.send(session, command, PendingReply::Release(guard)) {
            tracing::trace!(%fault, method = method_of(command), "command not sent");
        }
    }

    /// Starts a thread that writes queued messages to the pipe.
    pub(crate) fn attach_writer(&self, mut pipe: PipeWriter) {
        let Some(unsent) = self.lock().unsent.take() else { return };
        let thread = std::thread::Builder::new().name("rungs-cdp".to_owned()).spawn(move || {
            for message in unsent {
                if pipe.write_all(&message).is_err() {
                    // The reader thread sees that the browser has exited and fails all commands.
                    return;
                }
            }
        });
        if let Err(cause) = thread {
            tracing::warn!(%cause, "could not start the thread that writes to the browser");
            self.close();
        }
    }

    /// Reads until the browser closes its end of the pipe. Blocks.
    pub(crate) fn read_events(&self, pipe: PipeReader, mut on_event: impl FnMut(CdpEvent<'_>)) {
        let mut pipe = BufReader::with_capacity(64 * 1024, pipe);
        let mut message = Vec::new();
        while let Some(whole) = read_message(&mut pipe, &mut message, self.0.max_message) {
            if whole {
                replace_lone_surrogates(&mut message);
                self.on_message(&message, &mut on_event);
            } else {
                self.fail_oversized(&message);
            }
            message.clear();
            message.shrink_to(1024 * 1024);
        }
    }

    /// Fails all pending and later commands.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = self.lock();
            state.outgoing = None;
            state.unsent = None;
            std::mem::take(&mut state.waiting)
        };
        for (_, waiting) in waiting {
            if let PendingReply::Reply(reply) = waiting {
                // The receiver is gone when the caller was dropped.
                let _ = reply.send(Err(CdpError::BrowserClosed));
            }
        }
    }

    /// Returns the messages that no writer has taken.
    #[cfg(test)]
    pub(crate) fn take_unsent(&self) -> Vec<String> {
        let state = self.lock();
        let unsent = state.unsent.iter().flat_map(mpsc::Receiver::try_iter);
        unsent.map(|bytes| String::from_utf8(bytes).expect("JSON is text")).collect()
    }

    fn send<C: Command>(
        &self,
        session: Option<&str>,
        command: &C,
        waiting: PendingReply,
    ) -> Result<(), CdpError> {
        let mut state = self.lock();
        state.next += 1;
        let id = state.next;
        let call = CdpCommand { id, method: command.identifier(), session_id: session, params: command };
        let mut bytes = serde_json::to_vec(&call).map_err(CdpError::Unreadable)?;
        bytes.push(0);
        let sent = state.outgoing.as_ref().is_some_and(|outgoing| outgoing.send(bytes).is_ok());
        if !sent {
            return Err(CdpError::BrowserClosed);
        }
        state.waiting.insert(id, waiting);
        Ok(())
    }

    fn on_message(&self, message: &[u8], on_event: &mut impl FnMut(CdpEvent<'_>)) {
        let incoming: CdpMessage<'_> = match serde_json::from_slice(message) {
            Ok(incoming) => incoming,
            Err(cause) => {
                tracing::debug!(%cause, "could not parse a message from the browser");
                return;
            }
        };
        if let Some(id) = incoming.id {
            let reply = match (incoming.error, incoming.result) {
                (Some(error), _) => Err(CdpError::Protocol(error)),
                (None, result) => Ok(result.map_or_else(|| RawValue::NULL.to_owned(), ToOwned::to_owned)),
            };
            self.complete(id, reply);
        } else if let Some(method) = &incoming.method {
            let params = incoming.params.map_or("{}", RawValue::get);
            on_event(CdpEvent { session: incoming.session_id.as_deref(), method, params });
        }
    }

    /// Fails the command whose reply was too large. `start` is the beginning of the reply.
    fn fail_oversized(&self, start: &[u8]) {
        let digits = start.strip_prefix(b"{\"id\":").unwrap_or_default();
        let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(0);
        let id = std::str::from_utf8(&digits[..end]).ok().and_then(|text| text.parse().ok());
        if let Some(id) = id {
            self.complete(id, Err(CdpError::TooLarge));
        }
    }

    fn complete(&self, id: u64, result: Result<Box<RawValue>, CdpError>) {
        let waiting = self.lock().waiting.remove(&id);
        match waiting {
            Some(PendingReply::Reply(reply)) => {
                let _ = reply.send(result);
            }
            Some(PendingReply::Release(guard)) => {
                drop(guard);
                if let Err(fault) = result {
                    tracing::trace!(%fault, "a command without a waiting caller failed");
                }
            }
            None => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock_unpoisoned(&self.0.state)
    }
}

/// Reads one message without its NUL: `Some(true)` if whole, `Some(false)` if cut at `max`, `None` at the end.
fn read_message(pipe: &mut impl BufRead, message: &mut Vec<u8>, max: usize) -> Option<bool> {
    let mut whole = true;
    loop {
        let chunk = match pipe.fill_buf() {
            Ok([]) => return None,
            Ok(chunk) => chunk,
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return None,
        };
        let end = chunk.iter().position(|&byte| byte == 0);
        let text = &chunk[..end.unwrap_or(chunk.len())];
        let remaining = max.saturating_sub(message.len());
        whole &= text.len() <= remaining;
        message.extend_from_slice(&text[..text.len().min(remaining)]);
        let used = end.map_or(chunk.len(), |end| end + 1);
        pipe.consume(used);
        if end.is_some() {
            return Some(whole);
        }
    }
}

/// Replaces each escaped surrogate without its pair by U+FFFD, as when the string is written as UTF-8. JavaScript strings
/// may contain such surrogates, and JSON parsers refuse them.
fn replace_lone_surrogates(message: &mut [u8]) {
    let mut from = 0;
    while let Some(found) = memchr::memchr(b'\\', &message[from..]) {
        let at = from + found;
        from = match escaped_unit(&message[at..]) {
            // The escape of a backslash or a quote has two bytes.
            None => (at + 2).min(message.len()),
            Some(0xD800..=0xDBFF) if is_low_surrogate(&message[at + UNIT_ESCAPE_LEN..]) => {
                at + 2 * UNIT_ESCAPE_LEN
            }
            Some(0xD800..=0xDFFF) => {
                message[at + 2..at + UNIT_ESCAPE_LEN].copy_from_slice(b"fffd");
                at + UNIT_ESCAPE_LEN
            }
            Some(_) => at + UNIT_ESCAPE_LEN,
        };
    }
}

fn is_low_surrogate(text: &[u8]) -> bool {
    escaped_unit(text).is_some_and(|unit| (0xDC00..=0xDFFF).contains(&unit))
}

/// Parses an escape of the form `\u0000` at the start of `text`.
fn escaped_unit(text: &[u8]) -> Option<u16> {
    let digits = text.get(..UNIT_ESCAPE_LEN)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The length of an escaped UTF-16 code unit.
const UNIT_ESCAPE_LEN: usize = 6;

fn method_of<C: Command>(command: &C) -> &'static str {
    match command.identifier() {
        Cow::Borrowed(name) => name,
        Cow::Owned(_) => "a command",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CdpCommand<'a, C> {
    id: u64,
    method: MethodId,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    params: &'a C,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CdpMessage<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    session_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<ProtocolError>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_at_nul_and_are_cut_at_the_limit() {
        let mut pipe = BufReader::with_capacity(3, &b"abc\0{\"id\":7,long\0\0rest"[..]);
        let mut message = Vec::new();
        assert_eq!(read_message(&mut pipe, &mut message, 8), Some(true));
        assert_eq!(message, b"abc");
        message.clear();
        assert_eq!(read_message(&mut pipe, &mut message, 8), Some(false));
        assert_eq!(message, b"{\"id\":7,");
        message.clear();
        assert_eq!(read_message(&mut pipe, &mut message, 8), Some(true));
        assert_eq!(read_message(&mut pipe, &mut message, 8), None);
    }

    #[test]
    fn lone_surrogates_are_replaced_and_pairs_are_kept() {
        for (text, want) in [
            (r#""\ud83d\ude00""#, "\u{1f600}"),
            (r#""a\ud83d…""#, "a\u{fffd}…"),
            (r#""\uD83D""#, "\u{fffd}"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (r#""\ud83d\n\ude00""#, "\u{fffd}\n\u{fffd}"),
            (r#""\ud83dude00""#, "\u{fffd}ude00"),
            (r#""\\ud83d \" \\\ud83d""#, "\\ud83d \" \\\u{fffd}"),
            (r#""\u00e4\ufffd""#, "\u{e4}\u{fffd}"),
        ] {
            let mut bytes = text.as_bytes().to_vec();
            replace_lone_surrogates(&mut bytes);
            assert_eq!(serde_json::from_slice::<String>(&bytes).unwrap(), want, "{text}");
        }
        for cut in ["\\", "\"\\u", "\"\\ud83d\\", "\"\\u\u{e4}\u{e4}"] {
            let mut bytes = cut.as_bytes().to_vec();
            replace_lone_surrogates(&mut bytes);
        }
    }

    #[tokio::test]
    async fn an_oversized_reply_fails_only_its_command() {
        let connection = CdpConnection::new(64);
        let (reply, answer) = oneshot::channel();
        connection.lock().waiting.insert(7, PendingReply::Reply(reply));
        connection.fail_oversized(b"{\"id\":7,\"result\":{\"outerHTML\":\"");
        assert!(matches!(answer.await, Ok(Err(CdpError::TooLarge))));
    }

    #[tokio::test]
    async fn a_command_to_a_dead_browser_fails_at_once() {
        let connection = CdpConnection::new(64);
        let (reply, answer) = oneshot::channel();
        connection.lock().waiting.insert(1, PendingReply::Reply(reply));
        connection.close();
        assert!(matches!(answer.await, Ok(Err(CdpError::BrowserClosed))));
        assert!(!connection.is_alive());
    }
}

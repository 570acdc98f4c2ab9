//! The DevTools protocol over the process's pipe: messages ended by NUL, flat sessions. No runtime
//! is needed for it to live: one thread writes, the process's supervisor reads.

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::Duration;

use chromiumoxide::types::{self, Command};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::error::CdpError;
use crate::sync::lock_unpoisoned;

/// The way to speak to one browser. Cheap to clone.
#[derive(Clone)]
pub(super) struct CdpConnection(Arc<ConnectionInner>);

struct ConnectionInner {
    state: Mutex<State>,
    /// A message larger than this is not kept.
    max_message: usize,
}

struct State {
    next: u64,
    waiting: HashMap<u64, PendingReply>,
    /// `None` once the browser is gone.
    outgoing: Option<mpsc::Sender<Vec<u8>>>,
    /// Until the process is there to take it.
    unsent: Option<mpsc::Receiver<Vec<u8>>>,
}

/// Who wants to know that a command was answered.
enum PendingReply {
    Reply(oneshot::Sender<Result<Box<RawValue>, CdpError>>),
    /// Nobody; what it holds is let go of then.
    Release(Box<dyn Any + Send + Sync>),
}

/// An event as it came.
pub(super) struct CdpEvent<'a> {
    pub session: Option<&'a str>,
    pub method: &'a str,
    pub params: &'a str,
}

impl CdpConnection {
    pub(super) fn new(max_message: usize) -> Self {
        let (outgoing, unsent) = mpsc::channel();
        let state =
            State { next: 0, waiting: HashMap::new(), outgoing: Some(outgoing), unsent: Some(unsent) };
        Self(Arc::new(ConnectionInner { state: Mutex::new(state), max_message }))
    }

    /// Whether the browser is still there.
    pub(super) fn is_alive(&self) -> bool {
        self.lock().outgoing.is_some()
    }

    /// Sends `command` and waits for its answer.
    pub(super) async fn run<C: Command>(
        &self,
        session: Option<&str>,
        command: &C,
        limit: Duration,
    ) -> Result<C::Response, CdpError> {
        let (reply, answer) = oneshot::channel();
        self.send(session, command, PendingReply::Reply(reply))?;
        let text = match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => answer?,
            Ok(Err(_)) => return Err(CdpError::BrowserClosed),
            Err(_) => return Err(CdpError::TimedOut(method_of(command))),
        };
        serde_json::from_str(text.get()).map_err(CdpError::Unreadable)
    }

    /// Sends `command` and lets go of `held` when it is answered, or when the browser is gone.
    pub(super) fn send_with_guard<C: Command>(
        &self,
        session: Option<&str>,
        command: &C,
        held: Box<dyn Any + Send + Sync>,
    ) {
        if let Err(fault) = self.send(session, command, PendingReply::Release(held)) {
            tracing::trace!(%fault, method = method_of(command), "not sent");
        }
    }

    /// Gives the pipe's writing end to a thread that sends what is queued.
    pub(super) fn attach_writer(&self, mut pipe: PipeWriter) {
        let Some(unsent) = self.lock().unsent.take() else { return };
        let thread = std::thread::Builder::new().name("rungs-cdp".to_owned()).spawn(move || {
            for message in unsent {
                if pipe.write_all(&message).is_err() {
                    // The reader sees the end of the browser and tells everybody.
                    return;
                }
            }
        });
        if let Err(cause) = thread {
            tracing::warn!(%cause, "no thread to speak to the browser with");
            self.close();
        }
    }

    /// Reads until the browser closes its end. Blocks.
    pub(super) fn read_events(&self, pipe: PipeReader, mut on_event: impl FnMut(CdpEvent<'_>)) {
        let mut pipe = BufReader::with_capacity(64 * 1024, pipe);
        let mut message = Vec::new();
        while let Some(whole) = read_message(&mut pipe, &mut message, self.0.max_message) {
            if whole {
                self.on_message(&message, &mut on_event);
            } else {
                self.fail_oversized(&message);
            }
            message.clear();
            message.shrink_to(1024 * 1024);
        }
    }

    /// Fails everything that waits, now and later.
    pub(super) fn close(&self) {
        let waiting = {
            let mut state = self.lock();
            state.outgoing = None;
            state.unsent = None;
            std::mem::take(&mut state.waiting)
        };
        for (_, waiting) in waiting {
            if let PendingReply::Reply(reply) = waiting {
                // Who gave up waiting need not be told.
                let _ = reply.send(Err(CdpError::BrowserClosed));
            }
        }
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
                tracing::debug!(%cause, "a message from the browser was not understood");
                return;
            }
        };
        if let Some(id) = incoming.id {
            let answer = match (incoming.error, incoming.result) {
                (Some(error), _) => Err(CdpError::Protocol(error)),
                (None, result) => Ok(result.map_or_else(|| RawValue::NULL.to_owned(), ToOwned::to_owned)),
            };
            self.complete(id, answer);
        } else if let Some(method) = &incoming.method {
            let params = incoming.params.map_or("{}", RawValue::get);
            on_event(CdpEvent { session: incoming.session_id.as_deref(), method, params });
        }
    }

    /// Fails the command whose answer was too large to keep. `start` is how the answer began.
    fn fail_oversized(&self, start: &[u8]) {
        let digits = start.strip_prefix(b"{\"id\":").unwrap_or_default();
        let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(0);
        let id = std::str::from_utf8(&digits[..end]).ok().and_then(|text| text.parse().ok());
        if let Some(id) = id {
            self.complete(id, Err(CdpError::TooLarge));
        }
    }

    fn complete(&self, id: u64, answer: Result<Box<RawValue>, CdpError>) {
        let waiting = self.lock().waiting.remove(&id);
        match waiting {
            Some(PendingReply::Reply(reply)) => {
                let _ = reply.send(answer);
            }
            Some(PendingReply::Release(held)) => {
                drop(held);
                if let Err(fault) = answer {
                    tracing::trace!(%fault, "a command that nobody waits for failed");
                }
            }
            None => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock_unpoisoned(&self.0.state)
    }
}

/// One message without its NUL: `Some(true)` whole, `Some(false)` cut at `max`, `None` at the end.
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
        let room = max.saturating_sub(message.len());
        whole &= text.len() <= room;
        message.extend_from_slice(&text[..text.len().min(room)]);
        let used = end.map_or(chunk.len(), |end| end + 1);
        pipe.consume(used);
        if end.is_some() {
            return Some(whole);
        }
    }
}

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
    method: types::MethodId,
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
    error: Option<types::Error>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_at_nul_and_are_cut_at_the_bound() {
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

    #[tokio::test]
    async fn an_answer_too_large_fails_its_command_only() {
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

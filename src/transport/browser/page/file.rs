//! Documents that are no page: taken as bytes, or copied on their way into the page.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use chromiumoxide::cdp::browser_protocol::{fetch, io, network};

use super::super::answer::Head;
use super::super::watch::{Held, Step};
use super::read::decode;
use super::wait::{Deadlines, too_large};
use super::{Page, Visit};
use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::response::Answer;

impl Page {
    /// Takes the answer that is held as a file: its body, and no page.
    pub(super) async fn file(&self, visit: &Visit<'_>, deadlines: &Deadlines) -> Result<Answer> {
        let held = self
            .watch
            .take_held()
            .ok_or_else(|| Error::new(ErrorKind::Browser, "the answer that was held is gone"))?;
        let body = tokio::select! {
            biased;
            () = self.watch.until(|state, _| if state.is_over() { Step::Done(()) } else { Step::Event }) => {
                return Err(super::Fault::PageGone.into());
            }
            body = self.stream(&held, visit, deadlines.total) => body?,
        };
        let refuse = fetch::FailRequestParams::new(held.request.clone(), network::ErrorReason::Aborted);
        self.connection.tell(Some(&self.session), &refuse, Box::new(()));
        let document = self.watch.read(|state| state.coming.clone()).unwrap_or_default();
        Ok(Head::of_file(&held, &document, visit.bounds)?.with(body))
    }

    async fn stream(&self, held: &Held, visit: &Visit<'_>, deadline: Instant) -> Result<Bytes> {
        if announced(held) > visit.bounds.max_body {
            return Err(too_large(visit.bounds));
        }
        let left = || deadline.saturating_duration_since(Instant::now());
        let take = fetch::TakeResponseBodyAsStreamParams::new(held.request.clone());
        let stream = self.run(&take, left()).await?.stream;
        let mut read = io::ReadParams::new(stream.clone());
        read.size = Some(CHUNK);
        let mut body = BytesMut::new();
        loop {
            let chunk = self.run(&read, left()).await?;
            if chunk.base64_encoded == Some(true) {
                body.extend_from_slice(&decode(chunk.data)?);
            } else {
                body.extend_from_slice(chunk.data.as_bytes());
            }
            if body.len() as u64 > visit.bounds.max_body {
                return Err(too_large(visit.bounds));
            }
            if chunk.eof {
                break;
            }
        }
        self.connection.tell(Some(&self.session), &io::CloseParams::new(stream), Box::new(()));
        Ok(body.freeze())
    }

    /// Copies each document as the server sent it and lets it go on. Ends when one cannot be copied.
    pub(super) async fn keep_copies(&self, visit: &Visit<'_>) -> Error {
        loop {
            self.watch
                .until(|state, _| match &state.held {
                    Some(held) if !held.file => Step::Done(()),
                    _ => Step::Event,
                })
                .await;
            let Some(held) = self.watch.take_held() else { continue };
            let left = visit.deadline.saturating_duration_since(Instant::now());
            match self.copy(&held, visit, left).await {
                Ok(body) => self.watch.keep_raw(&held.loader, body),
                Err(error) => return error,
            }
            let go_on = fetch::ContinueRequestParams::new(held.request);
            self.connection.tell(Some(&self.session), &go_on, Box::new(()));
        }
    }

    async fn copy(&self, held: &Held, visit: &Visit<'_>, limit: Duration) -> Result<Bytes> {
        if announced(held) > visit.bounds.max_body {
            return Err(too_large(visit.bounds));
        }
        let body = self.run(&fetch::GetResponseBodyParams::new(held.request.clone()), limit).await?;
        let body = if body.base64_encoded { decode(body.body)? } else { Bytes::from(body.body) };
        if body.len() as u64 > visit.bounds.max_body { Err(too_large(visit.bounds)) } else { Ok(body) }
    }
}

/// How long the answer says it is; 0 when it does not say.
fn announced(held: &Held) -> u64 {
    held.field("content-length").and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

/// Read at once.
const CHUNK: i64 = 256 * 1024;

//! Documents that are no page: taken as bytes, or copied on their way into the page.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use chromiumoxide::cdp::browser_protocol::{fetch, io, network};

use super::super::page_events::{PausedResponse, WaitStep};
use super::super::response_head::ResponseHead;
use super::content::decode;
use super::wait::{Deadlines, body_too_large_error};
use super::{Page, PageTask};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::response::RawResponse;

impl Page {
    /// Takes the answer that is held as a file: its body, and no page.
    pub(super) async fn read_file(&self, visit: &PageTask<'_>, deadlines: &Deadlines) -> Result<RawResponse> {
        let held = self
            .watcher
            .take_paused()
            .ok_or_else(|| Error::new(ErrorKind::Browser, "the answer that was held is gone"))?;
        let body = tokio::select! {
            biased;
            () = self.watcher.wait_until(|state, _| if state.has_ended() { WaitStep::Done(()) } else { WaitStep::Event }) => {
                return Err(super::CdpError::PageClosed.into());
            }
            body = self.read_stream(&held, visit, deadlines.total) => body?,
        };
        let refuse = fetch::FailRequestParams::new(held.request_id.clone(), network::ErrorReason::Aborted);
        self.connection.send_with_guard(Some(&self.session), &refuse, Box::new(()));
        let document = self.watcher.with_state(|state| state.pending_document.clone()).unwrap_or_default();
        Ok(ResponseHead::from_paused(&held, &document, visit.limits)?.into_response(body))
    }

    async fn read_stream(
        &self,
        held: &PausedResponse,
        visit: &PageTask<'_>,
        deadline: Instant,
    ) -> Result<Bytes> {
        if content_length(held) > visit.limits.max_body {
            return Err(body_too_large_error(visit.limits));
        }
        let left = || deadline.saturating_duration_since(Instant::now());
        let take = fetch::TakeResponseBodyAsStreamParams::new(held.request_id.clone());
        let stream = self.run(&take, left()).await?.stream;
        let mut read = io::ReadParams::new(stream.clone());
        read.size = Some(CHUNK_SIZE);
        let mut body = BytesMut::new();
        loop {
            let chunk = self.run(&read, left()).await?;
            if chunk.base64_encoded == Some(true) {
                body.extend_from_slice(&decode(chunk.data)?);
            } else {
                body.extend_from_slice(chunk.data.as_bytes());
            }
            if body.len() as u64 > visit.limits.max_body {
                return Err(body_too_large_error(visit.limits));
            }
            if chunk.eof {
                break;
            }
        }
        self.connection.send_with_guard(Some(&self.session), &io::CloseParams::new(stream), Box::new(()));
        Ok(body.freeze())
    }

    /// Copies each document as the server sent it and lets it go on. Ends when one cannot be copied.
    pub(super) async fn copy_documents(&self, visit: &PageTask<'_>) -> Error {
        loop {
            self.watcher
                .wait_until(|state, _| match &state.paused {
                    Some(held) if !held.file => WaitStep::Done(()),
                    _ => WaitStep::Event,
                })
                .await;
            let Some(held) = self.watcher.take_paused() else { continue };
            let left = visit.deadline.saturating_duration_since(Instant::now());
            match self.copy_document(&held, visit, left).await {
                Ok(body) => self.watcher.store_raw_body(&held.loader_id, body),
                Err(error) => return error,
            }
            let go_on = fetch::ContinueRequestParams::new(held.request_id);
            self.connection.send_with_guard(Some(&self.session), &go_on, Box::new(()));
        }
    }

    async fn copy_document(
        &self,
        held: &PausedResponse,
        visit: &PageTask<'_>,
        limit: Duration,
    ) -> Result<Bytes> {
        if content_length(held) > visit.limits.max_body {
            return Err(body_too_large_error(visit.limits));
        }
        let body = self.run(&fetch::GetResponseBodyParams::new(held.request_id.clone()), limit).await?;
        let body = if body.base64_encoded { decode(body.body)? } else { Bytes::from(body.body) };
        if body.len() as u64 > visit.limits.max_body {
            Err(body_too_large_error(visit.limits))
        } else {
            Ok(body)
        }
    }
}

/// How long the answer says it is; 0 when it does not say.
fn content_length(held: &PausedResponse) -> u64 {
    held.field("content-length").and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

/// Read at once.
const CHUNK_SIZE: i64 = 256 * 1024;

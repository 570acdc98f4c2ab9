//! Reads documents as bytes: files instead of pages, and copies of documents that the page shows.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use chromiumoxide_cdp::cdp::browser_protocol::{fetch, io, network};

use super::super::PageVerdict;
use super::super::page_events::{OfferedFile, PausedResponse, WaitStep};
use super::super::response_head::ResponseHead;
use super::content::decode;
use super::navigate::Navigation;
use super::show::is_challenge;
use super::wait::{Deadlines, body_too_large_error, unexpected_file_error};
use super::{Page, PageTask};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::response::RawResponse;

impl Page {
    /// Reads the paused response as a file. The page does not show it.
    pub(super) async fn read_file(&self, visit: &PageTask<'_>, deadlines: &Deadlines) -> Result<RawResponse> {
        let paused = self
            .watcher
            .take_paused()
            .ok_or_else(|| Error::new(ErrorKind::Browser, "the paused response is gone"))?;
        let body = tokio::select! {
            biased;
            () = self.watcher.wait_until(|state, _| if state.has_ended() { WaitStep::Done(()) } else { WaitStep::Event }) => {
                return Err(super::CdpError::PageClosed.into());
            }
            body = self.read_stream(&paused, visit, deadlines.total) => body?,
        };
        let refuse = fetch::FailRequestParams::new(paused.request_id.clone(), network::ErrorReason::Aborted);
        self.connection.send_with_guard(Some(&self.session), &refuse, Box::new(()));
        let document = self.watcher.with_state(|state| state.pending_document.clone()).unwrap_or_default();
        Ok(ResponseHead::from_paused(&paused, &document, visit.limits)?.into_response(body))
    }

    /// Returns the file that the page leads to. One whose bytes the browser has consumed is requested again.
    pub(super) async fn take_offered(
        &self,
        visit: &PageTask<'_>,
        deadlines: &Deadlines,
        file: &OfferedFile,
    ) -> Result<RawResponse> {
        if file.is_paused {
            return self.read_file(visit, deadlines).await;
        }
        if !visit.request.method.is_safe() {
            return Err(unexpected_file_error());
        }
        let mut rules = self.watcher.with_state(|state| state.rules().clone());
        rules.file = true;
        self.watcher.reset(rules);
        match self.navigate(visit, &file.url, deadlines).await? {
            Navigation::Response(response) => Ok(*response),
            Navigation::Document | Navigation::Download => Err(unexpected_file_error()),
        }
    }

    /// Lets the browser have the file, which does not change the page.
    pub(super) fn release_offered(&self, file: &OfferedFile) {
        if !file.is_paused {
            self.watcher.forget_download();
        } else if let Some(paused) = self.watcher.take_paused() {
            let resume = fetch::ContinueRequestParams::new(paused.request_id);
            self.connection.send_with_guard(Some(&self.session), &resume, Box::new(()));
        }
    }

    async fn read_stream(
        &self,
        paused: &PausedResponse,
        visit: &PageTask<'_>,
        deadline: Instant,
    ) -> Result<Bytes> {
        if content_length(paused) > visit.limits.max_body {
            return Err(body_too_large_error(visit.limits));
        }
        let left = || deadline.saturating_duration_since(Instant::now());
        let take = fetch::TakeResponseBodyAsStreamParams::new(paused.request_id.clone());
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

    /// Copies each document as the server sent it, then continues it. Returns when a document cannot be copied.
    pub(super) async fn copy_documents(&self, visit: &PageTask<'_>) -> Error {
        loop {
            self.watcher
                .wait_until(|state, _| match &state.paused {
                    Some(paused) if !paused.file => WaitStep::Done(()),
                    _ => WaitStep::Event,
                })
                .await;
            let Some(paused) = self.watcher.take_paused() else { continue };
            let left = visit.deadline.saturating_duration_since(Instant::now());
            match self.copy_document(&paused, visit, left).await {
                Ok(body) => {
                    self.check_sent_document(&paused, visit, &body);
                    self.watcher.store_raw_body(&paused.loader_id, body);
                }
                Err(error) => return error,
            }
            let resume = fetch::ContinueRequestParams::new(paused.request_id);
            self.connection.send_with_guard(Some(&self.session), &resume, Box::new(()));
        }
    }

    /// Lets the caller's request be sent again if a protection service answered it with a challenge. The server has not
    /// acted on it then.
    fn check_sent_document(&self, paused: &PausedResponse, visit: &PageTask<'_>, body: &Bytes) {
        if !self.watcher.with_state(|state| state.is_sent_document(&paused.loader_id)) {
            return;
        }
        let document = self.watcher.with_state(|state| state.pending_document.clone()).unwrap_or_default();
        let Ok(head) = ResponseHead::from_paused(paused, &document, visit.limits) else { return };
        if is_challenge(visit, &head, body) == Some(PageVerdict::VendorChallenge) {
            self.watcher.repeat_request();
        }
    }

    async fn copy_document(
        &self,
        paused: &PausedResponse,
        visit: &PageTask<'_>,
        limit: Duration,
    ) -> Result<Bytes> {
        if content_length(paused) > visit.limits.max_body {
            return Err(body_too_large_error(visit.limits));
        }
        let body = self.run(&fetch::GetResponseBodyParams::new(paused.request_id.clone()), limit).await?;
        let body = if body.base64_encoded { decode(body.body)? } else { Bytes::from(body.body) };
        if body.len() as u64 > visit.limits.max_body {
            Err(body_too_large_error(visit.limits))
        } else {
            Ok(body)
        }
    }
}

/// Returns the value of Content-Length; 0 without one.
fn content_length(paused: &PausedResponse) -> u64 {
    paused.field("content-length").and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

/// Bytes per read.
const CHUNK_SIZE: i64 = 256 * 1024;

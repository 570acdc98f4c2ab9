//! Reads a page: its document, screenshot and PDF.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chromiumoxide_cdp::cdp::browser_protocol::{dom, emulation, network, page};

use super::super::page_events::MainDocument;
use super::super::response_head::{self, ResponseHead};
use super::navigate::proxy_refused_error;
use super::wait::{body_too_large_error, find_failure};
use super::{Page, PageTask};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::settings::render::BodySource;
use crate::transport::chromium::error::CdpError;

impl Page {
    /// Reads the document: the DOM if it is HTML, else the body bytes.
    pub(super) async fn read_document(&self, visit: &PageTask<'_>) -> Result<(ResponseHead, Bytes)> {
        for attempt in 0..MAX_REREADS {
            // A page that navigates without end is read without its scripts: a busy machine never finds it still.
            if attempt == REREADS_WITH_SCRIPTS {
                tracing::debug!("the page keeps navigating; stopping its scripts to read it");
                self.disable_scripts(true).await?;
            }
            if let Some(document) = self.try_read_document(visit).await? {
                if attempt >= REREADS_WITH_SCRIPTS {
                    self.disable_scripts(false).await?;
                }
                return Ok(document);
            }
            tokio::time::sleep(REREAD_DELAY).await;
        }
        let message = format!("the page navigated during each of {MAX_REREADS} attempts to read it");
        Err(Error::new(ErrorKind::Browser, message))
    }

    async fn disable_scripts(&self, disabled: bool) -> Result<()> {
        let command = emulation::SetScriptExecutionDisabledParams::new(disabled);
        self.run(&command, SCRIPTS_LIMIT).await?;
        Ok(())
    }

    /// Reads the current document. `None` when the page navigated meanwhile.
    async fn try_read_document(&self, visit: &PageTask<'_>) -> Result<Option<(ResponseHead, Bytes)>> {
        let (document, url, is_only) = self.watcher.with_state(|state| {
            (state.current_document.clone(), state.url.clone(), state.document_count == 1)
        });
        let document: MainDocument = document
            .ok_or_else(|| Error::new(ErrorKind::Browser, "the page shows no document from the network"))?;
        let mut head = ResponseHead::from_document(&document, url.as_deref(), visit.limits)?;
        head.output.document_bytes = is_only.then_some(document.received);
        if head.status == http::StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(proxy_refused_error());
        }
        let markup = document.response().is_some_and(response_head::is_markup);
        let content = tokio::select! {
            biased;
            end = self.watcher.wait_until(|state, _| find_failure(state, visit.limits)) => return Err(end),
            content = self.read_content(&document, markup, visit) => content,
        };
        let body = match content {
            Ok(DocumentBody::Bytes(bytes)) => bytes,
            Ok(DocumentBody::Base64(text)) => decode(text)?,
            Ok(DocumentBody::Text(text)) => {
                head.set_utf8();
                text.into()
            }
            Err(CdpError::Protocol(_)) => return Ok(None),
            Err(fault) => return Err(fault.into()),
        };
        check_size(body, visit).map(|body| Some((head, body)))
    }

    async fn read_content(
        &self,
        document: &MainDocument,
        markup: bool,
        visit: &PageTask<'_>,
    ) -> Result<DocumentBody, CdpError> {
        let left = || visit.deadline.saturating_duration_since(Instant::now());
        let raw = visit.render.body == Some(BodySource::Raw);
        let stored = self
            .watcher
            .with_state(|state| state.raw_body.clone().filter(|(loader, _)| *loader == document.loader_id));
        if raw && let Some((_, bytes)) = stored {
            return Ok(DocumentBody::Bytes(bytes));
        }
        if markup && !raw {
            let root = dom::GetDocumentParams { depth: Some(0), pierce: None };
            let root = self.run(&root, left()).await?.root;
            let outer = dom::GetOuterHtmlParams {
                node_id: Some(root.node_id),
                include_shadow_dom: Some(true),
                ..dom::GetOuterHtmlParams::default()
            };
            return Ok(DocumentBody::Text(self.run(&outer, left()).await?.outer_html));
        }
        let body = network::GetResponseBodyParams::new(document.loader_id.clone());
        let body = self.run(&body, left()).await?;
        Ok(if body.base64_encoded { DocumentBody::Base64(body.body) } else { DocumentBody::Text(body.body) })
    }

    /// Returns the screenshot and the PDF, each if requested.
    pub(super) async fn take_captures(&self, visit: &PageTask<'_>) -> Result<(Option<Bytes>, Option<Bytes>)> {
        let left = || visit.deadline.saturating_duration_since(Instant::now());
        let screenshot = if visit.render.screenshot {
            Some(check_size(self.capture_screenshot(left()).await?, visit)?)
        } else {
            None
        };
        let pdf =
            if visit.render.pdf { Some(check_size(self.print_to_pdf(left()).await?, visit)?) } else { None };
        Ok((screenshot, pdf))
    }

    /// Returns the whole page as PNG, up to [`MAX_WIDTH`] and [`MAX_HEIGHT`].
    async fn capture_screenshot(&self, limit: Duration) -> Result<Bytes> {
        let metrics = self.run(&page::GetLayoutMetricsParams::default(), limit).await?;
        let size = metrics.css_content_size;
        let clip = page::Viewport {
            x: 0.0,
            y: 0.0,
            width: size.width.clamp(1.0, MAX_WIDTH),
            height: size.height.clamp(1.0, MAX_HEIGHT),
            scale: 1.0,
        };
        let capture = page::CaptureScreenshotParams {
            format: Some(page::CaptureScreenshotFormat::Png),
            clip: Some(clip),
            capture_beyond_viewport: Some(true),
            ..Default::default()
        };
        decode(String::from(self.run(&capture, limit).await?.data))
    }

    /// Returns the page as PDF, with backgrounds.
    async fn print_to_pdf(&self, limit: Duration) -> Result<Bytes> {
        let print = page::PrintToPdfParams { print_background: Some(true), ..Default::default() };
        let printed = self.run(&print, limit).await.map_err(|fault| match fault {
            CdpError::Protocol(_) => Error::new(ErrorKind::Browser, "the browser could not print the page")
                .with_hint("leave out `--headful`: Chromium prints PDFs only when it is headless")
                .with_source(fault),
            fault => fault.into(),
        })?;
        decode(String::from(printed.data))
    }
}

/// A document's body in the form that the browser returns.
enum DocumentBody {
    Bytes(Bytes),
    /// Base64.
    Base64(String),
    /// Text that the browser has decoded.
    Text(String),
}

fn check_size(bytes: Bytes, visit: &PageTask<'_>) -> Result<Bytes> {
    if bytes.len() as u64 > visit.limits.max_body {
        Err(body_too_large_error(visit.limits))
    } else {
        Ok(bytes)
    }
}

pub(super) fn decode(text: impl AsRef<[u8]>) -> Result<Bytes> {
    let bytes = STANDARD.decode(text).map_err(|cause| {
        Error::new(ErrorKind::Browser, "could not decode base64 data from the browser").with_source(cause)
    })?;
    Ok(bytes.into())
}

/// The largest screenshot that Chromium can draw at once, in CSS pixels.
const MAX_WIDTH: f64 = 4096.0;
const MAX_HEIGHT: f64 = 16384.0;
/// How often a page that navigated while it was read is read again.
const MAX_REREADS: usize = 20;
/// How many of them run while the page's scripts do.
const REREADS_WITH_SCRIPTS: usize = 10;
/// Limit for the command that stops or starts scripts.
const SCRIPTS_LIMIT: Duration = Duration::from_secs(10);
const REREAD_DELAY: Duration = Duration::from_millis(50);

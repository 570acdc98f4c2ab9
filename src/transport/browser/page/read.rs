//! Reading a page: its document, its pictures.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chromiumoxide::cdp::browser_protocol::{dom, network, page};

use super::super::answer::{self, Head};
use super::super::faults::Fault;
use super::super::watch::Document;
use super::arrive::refused_by_proxy;
use super::wait::{too_large, trouble};
use super::{Page, Visit};
use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::view::BodyForm;

impl Page {
    /// Reads the document: its DOM when it is markup, else its bytes.
    pub(super) async fn collect(&self, visit: &Visit<'_>) -> Result<(Head, Bytes)> {
        for _ in 0..MOVES {
            if let Some(read) = self.look(visit).await? {
                return Ok(read);
            }
            tokio::time::sleep(MOVE).await;
        }
        Err(Error::new(ErrorKind::Browser, "the page moves on faster than it can be read"))
    }

    /// What is there now; `None` when it moved on while it was read.
    async fn look(&self, visit: &Visit<'_>) -> Result<Option<(Head, Bytes)>> {
        let (document, url) = self.watch.read(|state| (state.current.clone(), state.url.clone()));
        let document: Document = document
            .ok_or_else(|| Error::new(ErrorKind::Browser, "the page shows nothing from the network"))?;
        let mut head = Head::read(&document, url.as_deref(), visit.bounds)?;
        if head.status == http::StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(refused_by_proxy());
        }
        let markup = document.response.as_ref().is_some_and(answer::is_markup);
        let content = tokio::select! {
            biased;
            end = self.watch.until(|state, _| trouble(state, visit.bounds)) => return Err(end),
            content = self.content(&document, markup, visit) => content,
        };
        let body = match content {
            Ok(Content::Bytes(bytes)) => bytes,
            Ok(Content::Coded(text)) => decode(text)?,
            Ok(Content::Text(text)) => {
                head.says_utf8();
                text.into()
            }
            Err(Fault::Refused(_)) => return Ok(None),
            Err(fault) => return Err(fault.into()),
        };
        within(body, visit).map(|body| Some((head, body)))
    }

    async fn content(&self, document: &Document, markup: bool, visit: &Visit<'_>) -> Result<Content, Fault> {
        let left = || visit.deadline.saturating_duration_since(Instant::now());
        let raw = visit.view.body == Some(BodyForm::Raw);
        let kept =
            self.watch.read(|state| state.raw.clone().filter(|(loader, _)| *loader == document.loader));
        if raw && let Some((_, bytes)) = kept {
            return Ok(Content::Bytes(bytes));
        }
        if markup && !raw {
            let root = dom::GetDocumentParams { depth: Some(0), pierce: None };
            let root = self.run(&root, left()).await?.root;
            let outer =
                dom::GetOuterHtmlParams { node_id: Some(root.node_id), ..dom::GetOuterHtmlParams::default() };
            return Ok(Content::Text(self.run(&outer, left()).await?.outer_html));
        }
        let body = network::GetResponseBodyParams::new(document.loader.clone());
        let body = self.run(&body, left()).await?;
        Ok(if body.base64_encoded { Content::Coded(body.body) } else { Content::Text(body.body) })
    }

    /// The screenshot and the PDF that are wanted.
    pub(super) async fn pictures(&self, visit: &Visit<'_>) -> Result<(Option<Bytes>, Option<Bytes>)> {
        let left = || visit.deadline.saturating_duration_since(Instant::now());
        let screenshot =
            if visit.view.screenshot { Some(within(self.screenshot(left()).await?, visit)?) } else { None };
        let pdf = if visit.view.pdf { Some(within(self.pdf(left()).await?, visit)?) } else { None };
        Ok((screenshot, pdf))
    }

    /// The whole page as PNG, as far down as is bearable.
    async fn screenshot(&self, limit: Duration) -> Result<Bytes> {
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

    /// The page as it would be printed, backgrounds included.
    async fn pdf(&self, limit: Duration) -> Result<Bytes> {
        let print = page::PrintToPdfParams { print_background: Some(true), ..Default::default() };
        let printed = self.run(&print, limit).await.map_err(|fault| match fault {
            Fault::Refused(_) => Error::new(ErrorKind::Browser, "the browser did not print the page")
                .with_hint("a browser with a window prints nothing; a PDF needs it headless")
                .with_source(fault),
            fault => fault.into(),
        })?;
        decode(String::from(printed.data))
    }
}

/// A document's body, as the browser hands it out.
enum Content {
    Bytes(Bytes),
    /// Base64.
    Coded(String),
    /// The browser has decoded its characters.
    Text(String),
}

fn within(bytes: Bytes, visit: &Visit<'_>) -> Result<Bytes> {
    if bytes.len() as u64 > visit.bounds.max_body { Err(too_large(visit.bounds)) } else { Ok(bytes) }
}

pub(super) fn decode(text: impl AsRef<[u8]>) -> Result<Bytes> {
    let bytes = STANDARD.decode(text).map_err(|cause| {
        Error::new(ErrorKind::Browser, "the browser's answer was not understood").with_source(cause)
    })?;
    Ok(bytes.into())
}

/// The largest screenshot, in CSS pixels: what Chromium can draw at once.
const MAX_WIDTH: f64 = 4096.0;
const MAX_HEIGHT: f64 = 16384.0;
/// How often a page that has moved on is read again.
const MOVES: usize = 20;
const MOVE: Duration = Duration::from_millis(50);

//! Reads the documents of a page's frames, those of other sites included.

use std::time::Instant;

use chromiumoxide_cdp::cdp::browser_protocol::dom;
use serde::{Deserialize, Serialize};
use url::Url;

use super::command::command;
use super::{Page, PageTask};
use crate::exchange::error::Result;
use crate::exchange::response::FrameDocument;
use crate::text::redact;
use crate::transport::chromium::error::CdpError;

impl Page {
    /// Returns the documents of the frames, those of the page's process first. A frame that navigates meanwhile is left
    /// out.
    pub(super) async fn read_frames(&self, visit: &PageTask<'_>) -> Result<Vec<FrameDocument>> {
        let mut sessions = vec![self.session.clone()];
        sessions.extend(self.targets.frame_sessions(&self.session));
        let (mut found, mut size) = (Vec::new(), 0);
        for session in &sessions {
            let frames = match self.list_frames(session, visit).await {
                Ok(frames) => frames,
                Err(fault @ (CdpError::BrowserClosed | CdpError::PageClosed)) => return Err(fault.into()),
                Err(_) => continue,
            };
            for (id, url) in frames {
                if found.len() == MAX_FRAMES || Instant::now() >= visit.deadline {
                    tracing::warn!(limit = MAX_FRAMES, "not all frames of the page were read");
                    return Ok(found);
                }
                let Ok(frame) = self.read_frame((session, &id), url, visit).await else { continue };
                size += frame.html.len() as u64;
                if size > visit.limits.max_body {
                    tracing::warn!(
                        limit = visit.limits.max_body,
                        "the frames exceed the size limit of a body"
                    );
                    return Ok(found);
                }
                if frame.html != EMPTY_DOCUMENT {
                    found.push(frame);
                }
            }
        }
        Ok(found)
    }

    /// Returns id and URL of the frames of a session, without the page itself.
    async fn list_frames(
        &self,
        session: &str,
        visit: &PageTask<'_>,
    ) -> Result<Vec<(String, String)>, CdpError> {
        let left = visit.deadline.saturating_duration_since(Instant::now());
        let tree = self.run_in(session, &GetFrameTree {}, left).await?.frame_tree;
        let (mut waiting, mut frames) = (vec![tree], Vec::new());
        while let Some(FrameTree { frame, child_frames }) = waiting.pop() {
            waiting.extend(child_frames.into_iter().rev());
            if frame.id != self.target && frames.len() <= MAX_FRAMES {
                frames.push((frame.id, frame.url + frame.url_fragment.as_deref().unwrap_or_default()));
            }
        }
        Ok(frames)
    }

    async fn read_frame(
        &self,
        at: (&str, &str),
        url: String,
        visit: &PageTask<'_>,
    ) -> Result<FrameDocument, CdpError> {
        let left = || visit.deadline.saturating_duration_since(Instant::now());
        let base: String = self.evaluate(at, "document.baseURI", left()).await?;
        let object_id = Some(self.evaluate_object(at, "document", left()).await?);
        let outer =
            dom::GetOuterHtmlParams { object_id, include_shadow_dom: Some(true), ..Default::default() };
        let html = self.run_in(at.0, &outer, left()).await?.outer_html;
        Ok(FrameDocument { base: Url::parse(&base).ok(), url: redact::url_text(&url), html })
    }
}

/// A frame that shows nothing.
const EMPTY_DOCUMENT: &str = "<html><head></head><body></body></html>";
/// Maximum of frames that are read.
const MAX_FRAMES: usize = 100;

#[derive(Debug, Serialize)]
struct GetFrameTree {}

// Only the fields that are used, so that changes to others do not break parsing.

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FrameTreeReply {
    frame_tree: FrameTree,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FrameTree {
    frame: FrameInfo,
    #[serde(default)]
    child_frames: Vec<FrameTree>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FrameInfo {
    id: String,
    url: String,
    url_fragment: Option<String>,
}

command!(GetFrameTree, "Page.getFrameTree", FrameTreeReply);

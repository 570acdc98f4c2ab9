//! Reads the text that a page shows.

use std::time::Instant;

use super::{Page, PageTask};
use crate::exchange::error::Result;
use crate::settings::render::BodySource;
use crate::text::html;
use crate::transport::chromium::error::CdpError;

impl Page {
    /// Returns the `innerText` of the page's body, or its beginning. `None` if it is not requested, or the page navigates
    /// meanwhile.
    pub(super) async fn read_shown_text(&self, visit: &PageTask<'_>) -> Result<Option<String>> {
        if !visit.render.shown_text || visit.render.body == Some(BodySource::Raw) {
            return Ok(None);
        }
        let left = visit.deadline.saturating_duration_since(Instant::now());
        let expression = format!("({INNER_TEXT})({MAX_TEXT_BYTES})");
        match self.evaluate::<String>((&self.session, &self.target), &expression, left).await {
            Ok(mut text) => {
                text.truncate(html::floor_char_boundary(&text, MAX_TEXT_BYTES));
                Ok(Some(text))
            }
            Err(fault @ (CdpError::BrowserClosed | CdpError::PageClosed)) => Err(fault.into()),
            Err(fault) => {
                tracing::debug!(%fault, "could not read the text of the page");
                Ok(None)
            }
        }
    }
}

/// Returns the text, up to a number of UTF-16 units. The getters of the prototypes are not hidden by elements that are
/// called `body`.
const INNER_TEXT: &str = "limit => {
    const read = (type, name, of) => Object.getOwnPropertyDescriptor(type.prototype, name).get.call(of);
    const body = read(Document, 'body', document);
    return body ? read(HTMLElement, 'innerText', body).slice(0, limit) : '';
}";
/// Maximum bytes of the text, as on the other tiers.
const MAX_TEXT_BYTES: usize = 1 << 20;

//! Scrolls to a page's end with the mouse wheel, as a user does.

use std::time::{Duration, Instant};

use chromiumoxide::cdp::browser_protocol::{input, page};

use super::wait::Deadlines;
use super::{Page, PageTask};
use crate::error::Result;

impl Page {
    /// Scrolls until the page's end no longer moves. Returns whether the end was reached.
    pub(super) async fn scroll(&self, visit: &PageTask<'_>, deadlines: &Deadlines) -> Result<bool> {
        let until = deadlines.work.min(Instant::now() + SCROLL_LIMIT);
        let (mut before, mut still) = (None, 0);
        for _ in 0..MAX_STEPS {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let metrics = self.run(&page::GetLayoutMetricsParams::default(), left).await?;
            let (view, content) = (metrics.css_visual_viewport, metrics.css_content_size);
            let at_end = view.page_y + view.client_height + ROUNDING_TOLERANCE >= content.height;
            if at_end {
                // Content loaded last may have made the page longer.
                self.settle(visit, deadlines).await?;
                let height =
                    self.run(&page::GetLayoutMetricsParams::default(), left).await?.css_content_size.height;
                if height <= content.height + ROUNDING_TOLERANCE {
                    return Ok(true);
                }
                continue;
            }
            if before == Some(view.page_y) {
                still += 1;
                if still == MAX_IDLE_STEPS {
                    // The wheel does not move this page, which scrolls in a way of its own.
                    return Ok(false);
                }
                // A busy page scrolls late.
                tokio::time::sleep(STEP_DELAY.min(left)).await;
                continue;
            }
            (before, still) = (Some(view.page_y), 0);
            let mut wheel = input::DispatchMouseEventParams::new(
                input::DispatchMouseEventType::MouseWheel,
                (view.client_width / 2.0).floor(),
                (view.client_height / 2.0).floor(),
            );
            (wheel.delta_x, wheel.delta_y) = (Some(0.0), Some((view.client_height * 0.8).floor()));
            self.run(&wheel, left).await?;
            tokio::time::sleep(STEP_DELAY.min(left)).await;
        }
        Ok(false)
    }
}

/// Maximum of wheel events.
const MAX_STEPS: usize = 200;
/// How often the position of a page that does not move is checked.
const MAX_IDLE_STEPS: usize = 10;
/// Maximum time for scrolling.
const SCROLL_LIMIT: Duration = Duration::from_secs(20);
/// Time for the page to scroll and to request more content.
const STEP_DELAY: Duration = Duration::from_millis(200);
/// Tolerance for rounding, in CSS pixels.
const ROUNDING_TOLERANCE: f64 = 2.0;

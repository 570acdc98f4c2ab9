//! Scrolls to the end of a page, or of the list in its middle, with the mouse wheel, as a user does.

use std::time::{Duration, Instant};

use chromiumoxide_cdp::cdp::browser_protocol::{input, page};
use serde::Deserialize;

use super::wait::Deadlines;
use super::{Page, PageTask};
use crate::exchange::error::Result;
use crate::transport::chromium::error::CdpError;

/// The place of the mouse, and the boxes that a wheel scrolls there, the innermost first.
#[derive(Debug, Deserialize)]
struct ScrollPlace {
    x: f64,
    y: f64,
    /// Position, height of the content, height of the box. In CSS pixels.
    boxes: Vec<(f64, f64, f64)>,
}

impl ScrollPlace {
    /// Whether no box can scroll further.
    fn is_at_end(&self) -> bool {
        self.boxes.iter().all(|(top, content, height)| top + height + ROUNDING_TOLERANCE >= *content)
    }

    /// The sum of the positions.
    fn position(&self) -> f64 {
        self.boxes.iter().map(|(top, _, _)| top).sum()
    }

    /// The sum of the heights of the contents.
    fn content_height(&self) -> f64 {
        self.boxes.iter().map(|(_, content, _)| content).sum()
    }

    /// How far one turn of the wheel scrolls: most of the box that moves.
    fn wheel_delta(&self) -> f64 {
        let moving = |(top, content, height): &&(f64, f64, f64)| top + height + ROUNDING_TOLERANCE < *content;
        let height = self.boxes.iter().find(moving).map_or(MIN_DELTA, |(_, _, height)| *height);
        (height * 0.8).floor().max(MIN_DELTA)
    }
}

impl Page {
    /// Scrolls until the end no longer moves. Returns whether the end was reached.
    pub(super) async fn scroll(&self, visit: &PageTask<'_>, deadlines: &Deadlines) -> Result<bool> {
        let until = deadlines.work.min(Instant::now() + SCROLL_LIMIT);
        let (mut before, mut still) = (None, 0);
        let (mut end_height, mut ends) = (None, 0);
        for _ in 0..MAX_STEPS {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let Some(place) = self.measure_scroll(left).await? else { return Ok(false) };
            if place.is_at_end() {
                // Content loaded last may make the page longer. A busy page notices late that it was scrolled.
                ends = if end_height == Some(place.content_height()) { ends + 1 } else { 1 };
                if ends == MIN_ENDS {
                    return Ok(true);
                }
                end_height = Some(place.content_height());
                tokio::time::sleep(STEP_DELAY.min(left)).await;
                self.settle(visit, deadlines).await?;
                continue;
            }
            if before == Some(place.position()) {
                still += 1;
                if still == MAX_IDLE_STEPS {
                    // The wheel does not move this page, which scrolls in a way of its own.
                    return Ok(false);
                }
                if still % IDLE_STEPS_PER_TURN == 0 {
                    self.draw(left).await?;
                }
            } else {
                (before, still) = (Some(place.position()), 0);
            }
            // A busy page scrolls late. A list that grows at its end may lose a turn of the wheel.
            if still % IDLE_STEPS_PER_TURN == 0 {
                self.turn_wheel(&place, left).await?;
            }
            tokio::time::sleep(STEP_DELAY.min(left)).await;
        }
        Ok(false)
    }

    async fn turn_wheel(&self, place: &ScrollPlace, limit: Duration) -> Result<()> {
        let kind = input::DispatchMouseEventType::MouseWheel;
        let mut wheel = input::DispatchMouseEventParams::new(kind, place.x, place.y);
        (wheel.delta_x, wheel.delta_y) = (Some(0.0), Some(place.wheel_delta()));
        self.run(&wheel, limit).await?;
        Ok(())
    }

    /// Draws the page. Chromium knows how far a list scrolls only after it has drawn it, and does not draw elements without
    /// content.
    async fn draw(&self, limit: Duration) -> Result<()> {
        let clip = page::Viewport { x: 0.0, y: 0.0, width: 1.0, height: 1.0, scale: 1.0 };
        let capture = page::CaptureScreenshotParams { clip: Some(clip), ..Default::default() };
        self.run(&capture, limit).await?;
        Ok(())
    }

    /// Measures what a wheel scrolls. `None` if the page navigates.
    async fn measure_scroll(&self, limit: Duration) -> Result<Option<ScrollPlace>> {
        match self.evaluate((&self.session, &self.target), MEASURE, limit).await {
            Ok(place) => Ok(Some(place)),
            Err(CdpError::Protocol(_) | CdpError::Unreadable(_)) => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }
}

const MEASURE: &str = include_str!("scroll.js");
/// Maximum of wheel events.
const MAX_STEPS: usize = 200;
/// How often the position of a page that does not move is checked.
const MAX_IDLE_STEPS: usize = 12;
/// How often it is checked after each turn of the wheel. Chromium takes turns within half a second as one gesture.
const IDLE_STEPS_PER_TURN: usize = 4;
/// How often in a row the end must be found.
const MIN_ENDS: usize = 3;
/// Maximum time for scrolling.
const SCROLL_LIMIT: Duration = Duration::from_secs(20);
/// Time for the page to scroll and to request more content.
const STEP_DELAY: Duration = Duration::from_millis(200);
/// Tolerance for rounding, in CSS pixels.
const ROUNDING_TOLERANCE: f64 = 2.0;
/// The least turn of the wheel, in CSS pixels.
const MIN_DELTA: f64 = 40.0;

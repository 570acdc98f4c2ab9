//! A navigation that the page has scheduled: a refresh, or a script that has assigned a location.

use std::time::{Duration, Instant};

use super::document::{DocumentExchange, MainDocument};
use super::events::ScheduledNavigation;
use super::state::{PageState, PendingNavigation};

impl PageState {
    pub(super) fn on_scheduled(&mut self, event: &ScheduledNavigation, now: Instant) {
        if event.frame_id != self.frame {
            return;
        }
        let delay = Duration::try_from_secs_f64(event.delay).unwrap_or(Duration::MAX);
        let is_awaited = delay <= MAX_REFRESH_DELAY
            && (!is_refresh(&event.reason) || self.rules.follows_refresh && !self.is_repeated(&event.url));
        let until = now.checked_add(delay.saturating_add(START_TOLERANCE));
        self.scheduled = until.filter(|_| is_awaited).map(|until| PendingNavigation { until });
    }

    pub(super) fn on_unscheduled(&mut self, frame: &str, now: Instant) {
        if frame == self.frame && self.scheduled.take().is_some() {
            // The event precedes that of the request.
            self.traffic.touch(now);
        }
    }

    pub(super) fn on_requested_navigation(&mut self, event: &ScheduledNavigation) {
        if event.frame_id == self.frame {
            self.is_refreshing = is_refresh(&event.reason) && !self.is_repeated(&event.url);
        }
    }

    /// Whether a refresh would only repeat a document: a page that loads itself again is the page. One that has set a
    /// cookie may change.
    fn is_repeated(&self, url: &str) -> bool {
        let url = without_fragment(url);
        let earlier = self.current_document.iter().flat_map(|document| &document.redirects);
        let mut earlier = earlier.into_iter().filter_map(DocumentExchange::response_url);
        if earlier.any(|earlier| without_fragment(earlier) == url) {
            return true;
        }
        let is_same = self.url.as_deref().is_some_and(|own| without_fragment(own) == url);
        is_same && !self.current_document.as_ref().is_some_and(MainDocument::sets_cookies)
    }
}

fn is_refresh(reason: &str) -> bool {
    matches!(reason, "metaTagRefresh" | "httpHeaderRefresh")
}

/// Returns the URL up to its fragment.
pub(super) fn without_fragment(url: &str) -> &str {
    url.split('#').next().unwrap_or(url)
}

/// The longest delay of a refresh that is followed, as on the HTTP tiers.
const MAX_REFRESH_DELAY: Duration = Duration::from_secs(5);
/// How late a scheduled navigation may begin.
const START_TOLERANCE: Duration = Duration::from_secs(2);

//! Notices when the structural detector was wrong: the browser received the page that a lower tier refused, and shows it.
//!
//! The host memory learns it for the section of the site. The detector is silent there from then on, so that a false alarm
//! costs one browser visit.

use bytes::Bytes;

use super::alarm::{AlarmOutcome, AlarmedPage};
use super::response::ClassifiedResponse;
use super::services::Router;
use super::state::FetchState;
use crate::detect::ResponseView;
use crate::exchange::response::BrowserOutput;
use crate::exchange::tier::Tier;
use crate::exchange::verdict::Verdict;

/// Returns what `view`, whose body is `body`, says about the structural detector. `is_page`: the detector judged a whole page
/// of the requested section.
pub(super) fn alarm_outcome(
    fetch: &FetchState<'_>,
    view: &ResponseView<'_>,
    body: &Bytes,
    verdict: &Verdict,
    is_page: bool,
    browser: Option<&BrowserOutput>,
) -> AlarmOutcome {
    let Some(browser) = browser else {
        let is_raised = is_page && !verdict.is_genuine() && fetch.tier() < Tier::Browser;
        return if is_raised { AlarmOutcome::Raised(body.clone()) } else { AlarmOutcome::Nothing };
    };
    let is_shown =
        |page: &AlarmedPage| browser.document_bytes.is_some_and(|bytes| page.is_shown(bytes, view.body));
    let is_disproved =
        verdict.is_genuine() && view.status == 200 && fetch.current.alarms.iter().any(is_shown);
    if is_disproved { AlarmOutcome::Disproved } else { AlarmOutcome::Nothing }
}

impl Router {
    /// Records an alarm, or that the earlier ones of this fetch were false.
    pub(super) fn record_alarm(&self, fetch: &mut FetchState<'_>, response: &ClassifiedResponse) {
        match &response.alarm {
            AlarmOutcome::Nothing => {}
            AlarmOutcome::Raised(body) => {
                if let Some(attempt) = fetch.current.sample.clone() {
                    let (kind, body) = (response.verdict.kind, body.clone());
                    fetch.current.alarms.push(AlarmedPage { attempt, kind, body });
                }
            }
            AlarmOutcome::Disproved => {
                fetch.current.has_false_alarm = true;
                for AlarmedPage { attempt, kind, body } in fetch.current.alarms.drain(..) {
                    let section = &attempt.section;
                    tracing::info!(%section, verdict = %kind, "false alarm: the browser gets the same page");
                    self.memory.record_false_alarm(section, kind, body.len() as u64);
                    self.memory.record_attempt(attempt, true);
                }
            }
        }
    }
}

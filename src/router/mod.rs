//! The fetch loop: attempt, classify, decide, until there is a genuine response or no action is left.

mod alarm;
mod attempt;
mod body;
mod classify;
mod clearance;
mod decision;
mod ephemeral;
mod false_alarm;
mod feedback;
pub(crate) mod host_limiter;
mod identities;
mod identity_source;
mod learning;
mod page_size;
mod permits;
mod plan;
pub(crate) mod policy;
mod redirect_guard;
mod response;
mod resume;
pub mod robots;
mod services;
mod size_check;
mod span;
mod state;
mod trace_builder;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep};

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::phase::FetchPhase;
use crate::exchange::response::RawResponse;
use crate::exchange::tier::Tier;
use crate::exchange::trace::Trace;
use crate::exchange::verdict::VerdictKind;

pub(crate) use body::{BodySink, StoredBody};
pub(crate) use identities::{FirstIdentities, IdentityPair};
pub(crate) use identity_source::IdentitySource;
pub(crate) use plan::FetchPlan;
pub(crate) use policy::{Alternatives, EscalationPolicy};
pub(crate) use services::Router;

use clearance::VisitFailure;
use decision::Decision;
use ephemeral::EphemeralIdentityGuard;
use policy::Action;
use response::{ClassifiedResponse, blocked_error, visit_error, visit_failure};
use state::FetchState;

impl Router {
    /// Runs a fetch to its end. Returns the trace on success and on failure.
    pub(crate) async fn run(
        &self,
        plan: &FetchPlan<'_>,
        first: FirstIdentities,
    ) -> (Result<RawResponse<StoredBody>>, Trace) {
        let clearance = self.clearances.for_host(first.identities.browser.key(), plan.host());
        let guard = EphemeralIdentityGuard::new(self, &first.identities);
        let mut fetch = FetchState::new(plan, first, clearance, guard);
        let total = plan.limits.fetch_total;
        let result = {
            let mut timer = pin!(total.map(sleep));
            // Polled in one place: a second await point would double the size of the future.
            let mut run = pin!(self.drive(&mut fetch));
            poll_fn(|cx| match (run.as_mut().poll(cx), timer.as_mut().as_pin_mut()) {
                (Poll::Ready(result), _) => Poll::Ready(Some(result)),
                // Unconstrained: the timer must fire even if the fetch has used up the task's coop budget.
                (Poll::Pending, Some(timer)) => pin!(unconstrained(timer)).poll(cx).map(|()| None),
                (Poll::Pending, None) => Poll::Pending,
            })
            .await
        };
        let result = result.unwrap_or_else(|| {
            let message = format!("the fetch exceeded its total timeout of {:?}", total.unwrap_or_default());
            let error = Error::new(ErrorKind::Timeout, message);
            fetch.trace.fail_attempt(plan, &error);
            Err(error)
        });
        (result.map_err(|error| error.with_url(&plan.request.url)), fetch.trace.trace)
    }

    /// Makes attempts until one finishes the fetch.
    async fn drive<'r>(&'r self, fetch: &mut FetchState<'r>) -> Result<RawResponse<StoredBody>> {
        loop {
            let Some(permits) = self.acquire(fetch).await? else { continue };
            let outcome = self.attempt(fetch, &permits).await;
            self.report_outcome(fetch, permits, &outcome);
            let decision = decision::decide(fetch, &outcome);
            self.report_action(fetch, &decision.action, &outcome);
            if let Some(response) = self.act(fetch, decision, outcome).await? {
                return Ok(response);
            }
        }
    }

    /// Takes the action that was decided. Returns the response if it ends the fetch.
    async fn act<'r>(
        &'r self,
        fetch: &mut FetchState<'r>,
        decision: Decision,
        outcome: Result<ClassifiedResponse>,
    ) -> Result<Option<RawResponse<StoredBody>>> {
        if let Some(identities) = decision.identities {
            fetch.report_visit_failure(&visit_failure(&outcome));
            self.switch_identities(fetch, identities);
            return Ok(None);
        }
        match (decision.action, outcome) {
            (Action::Retry { after, .. } | Action::RetryAfter { after, .. }, _) => {
                fetch.current.is_retry = true;
                let until = (Instant::now() + after).into_std();
                fetch.plan.wait_in_phase(FetchPhase::Backoff { until }, Box::pin(sleep(after))).await;
                Ok(None)
            }
            (Action::Escalate { to, .. }, outcome) => {
                self.escalate(fetch, to, &outcome);
                Ok(None)
            }
            (Action::Accept, Ok(response)) => {
                self.record_success(fetch, &response);
                response.accept().map(Some)
            }
            (Action::OutOfBudget { hint }, Ok(_)) => {
                let message = "blocked, and the budget of the fetch is exhausted";
                Err(Error::new(ErrorKind::Blocked, message).with_hint(hint))
            }
            (Action::Blocked { hint }, Ok(response)) => {
                let failure = VisitFailure::Refused { verdict: response.verdict, hint };
                fetch.report_visit_failure(&failure);
                Err(visit_error(failure))
            }
            (_, Err(error)) => {
                fetch.report_visit_failure(&VisitFailure::Failed(error.kind()));
                Err(error)
            }
            (_, Ok(response)) => Err(blocked_error(None, &response.verdict)),
        }
    }

    /// Continues on the tier `to`. The turn for the browser tier is acquired with the permits of the next attempt.
    fn escalate(&self, fetch: &mut FetchState<'_>, to: Tier, outcome: &Result<ClassifiedResponse>) {
        fetch.current.is_retry = false;
        if to < Tier::Browser {
            fetch.current.tier = to;
            return;
        }
        if fetch.current.clearance.clearances() == fetch.current.clearances_before {
            self.record_clearance_refusal(fetch);
        }
        let why = outcome.as_ref().map_or(VerdictKind::Challenge, |response| response.verdict.kind);
        fetch.current.browser_reason = Some(why);
    }
}

#[cfg(test)]
mod tests;

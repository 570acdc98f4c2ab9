//! Classifies a response. A page that must be parsed is classified on a blocking thread.

use bytes::Bytes;

use crate::detect::{Expectation, ResponseView, Rules};
use crate::exchange::verdict::Verdict;

/// Classifies `view`, whose body is `body`.
pub(super) async fn classify(
    rules: &Rules,
    view: &ResponseView<'_>,
    body: &Bytes,
    expect: Option<&Expectation>,
) -> Verdict {
    let classify_full = |rules: &Rules, view: &ResponseView<'_>, expect: Option<&Expectation>| match expect {
        Some(expect) => rules.classify_with_expectation(view, expect),
        None => rules.classify(view),
    };
    if expect.is_none()
        && let Some(verdict) = rules.classify_cheap(view)
    {
        return verdict;
    }
    let (rules_too, expect_too, body) = (rules.clone(), expect.cloned(), body.clone());
    let (headers, url, requested) = (view.headers.clone(), view.url.clone(), view.requested.clone());
    let (tier, status, complete, via_proxy) = (view.tier, view.status, view.complete, view.via_proxy);
    let parsing = tokio::task::spawn_blocking(move || {
        let view = ResponseView {
            tier,
            status,
            headers: &headers,
            url: &url,
            requested: &requested,
            body: &body,
            complete,
            via_proxy,
        };
        classify_full(&rules_too, &view, expect_too.as_ref())
    });
    // Joining fails only while the runtime shuts down.
    parsing.await.unwrap_or_else(|_| classify_full(rules, view, expect))
}

//! The verdict on an answer, off the async threads where a page must be parsed for it.

use bytes::Bytes;

use crate::detect::{Expectation, ResponseView, Rules};
use crate::verdict::Verdict;

/// Judges `seen`, whose body is `body`.
pub(super) async fn classify(
    rules: &Rules,
    seen: &ResponseView<'_>,
    body: &Bytes,
    expect: Option<&Expectation>,
) -> Verdict {
    let judged = |rules: &Rules, seen: &ResponseView<'_>, expect: Option<&Expectation>| match expect {
        Some(expect) => rules.classify_with_expectation(seen, expect),
        None => rules.classify(seen),
    };
    if expect.is_none()
        && let Some(verdict) = rules.classify_cheap(seen)
    {
        return verdict;
    }
    let (rules_too, expect_too, body) = (rules.clone(), expect.cloned(), body.clone());
    let (headers, url, requested) = (seen.headers.clone(), seen.url.clone(), seen.requested.clone());
    let (tier, status, complete, via_proxy) = (seen.tier, seen.status, seen.complete, seen.via_proxy);
    let parsing = tokio::task::spawn_blocking(move || {
        let seen = ResponseView {
            tier,
            status,
            headers: &headers,
            url: &url,
            requested: &requested,
            body: &body,
            complete,
            via_proxy,
        };
        judged(&rules_too, &seen, expect_too.as_ref())
    });
    // The pool is gone only when the whole runtime is going.
    parsing.await.unwrap_or_else(|_| judged(rules, seen, expect))
}

//! Clearance cookies: how one browser visit gets one, which fetches share it, when it expires, and what happens without
//! one. Uses the lab's challenged site and the installed Chromium.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use rungs::lab::{CLEARANCE_COOKIE, ChallengeMode, ChallengeOutcome, DemoOrigin, SITES};
use rungs::{Error, Fetcher, Response, Tier, Trace, VerdictKind};
use tempfile::NamedTempFile;

use crate::support::until_async;

const CHALLENGED: &str = SITES[2];

/// The lab's origin, and a fetcher that resolves its sites to it.
struct Lab {
    origin: DemoOrigin,
    fetcher: Fetcher,
    _ca: NamedTempFile,
}

impl Lab {
    async fn start(manner: ChallengeMode) -> Self {
        let origin = DemoOrigin::start(None).await.expect("the lab starts");
        origin.set_challenge_mode(manner);
        let ca = NamedTempFile::new().expect("a temporary file");
        std::fs::write(ca.path(), origin.ca_pem()).expect("the CA is written");
        let fetcher = Fetcher::builder()
            .ca_file(ca.path())
            .resolve("*", origin.addr().port(), origin.addr().ip())
            .build()
            .expect("the settings are good");
        Self { origin, fetcher, _ca: ca }
    }

    /// `pages` different pages of the challenged site, `at_once` at a time.
    async fn fetch(&self, pages: usize, at_once: usize) -> Vec<Result<Response, Error>> {
        let site = self.origin.url(CHALLENGED);
        let all = (0..pages).map(|number| self.fetcher.get(format!("{site}{number}")).send());
        futures_util::stream::iter(all).buffer_unordered(at_once).collect().await
    }

    /// The tiers tried for one page.
    async fn tiers(&self) -> Vec<Tier> {
        let page = self.fetcher.get(self.origin.url(CHALLENGED)).send().await.expect("the page is got");
        page.trace().attempts().iter().map(|attempt| attempt.tier).collect()
    }
}

/// The number of attempts of the browser tier.
fn visits<'a>(traces: impl IntoIterator<Item = &'a Trace>) -> u64 {
    let attempts = traces.into_iter().flat_map(Trace::attempts);
    attempts.filter(|attempt| attempt.tier == Tier::Browser).count() as u64
}

fn pages(fetched: Vec<Result<Response, Error>>) -> Vec<Response> {
    fetched.into_iter().map(|page| page.expect("the page is got")).collect()
}

/// Fetches 200 pages, 32 at once, and expects one browser visit for each of `clearances`.
async fn two_hundred(manner: ChallengeMode, clearances: u64) {
    let lab = Lab::start(manner).await;
    let pages = pages(lab.fetch(200, 32).await);
    assert!(pages.iter().all(|page| page.status().as_u16() == 200));
    assert!(pages.iter().all(|page| page.text().expect("text").contains("A challenged page")));
    let urls: HashSet<&str> = pages.iter().map(|page| page.url().as_str()).collect();
    assert_eq!(urls.len(), 200);
    let counts = lab.origin.counts();
    let seen = visits(pages.iter().map(Response::trace));
    eprintln!(
        "200 pages at 32 at once: {seen} browser visits in the traces, {} at the server, {} clearances, {} pages \
         given, {} challenged requests",
        counts.verifies, counts.clearances, counts.challenged_passed, counts.challenges
    );
    assert_eq!((seen, counts.verifies, counts.clearances), (clearances, clearances, clearances));
    assert_eq!(counts.challenged_passed, 200);
    // At most the 32 fetches in progress lack each clearance; on two tiers when nothing is known yet.
    assert!(counts.challenges <= 32 * 2 + clearances + 32 * (clearances - 1), "{counts:?}");
    lab.fetcher.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_pages_cost_one_browser_visit() {
    two_hundred(ChallengeMode::default(), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clearance_that_expires_every_fifty_pages_costs_one_visit_each_time() {
    two_hundred(ChallengeMode::default().pages(50), 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_challenge_ends_with_its_verdict_and_one_visit_serves_all_waiters() {
    for (ending, kind, words) in [
        (ChallengeOutcome::Captcha, VerdictKind::Captcha, "CAPTCHA"),
        (ChallengeOutcome::Refused, VerdictKind::Block, ""),
        (ChallengeOutcome::Endless, VerdictKind::Challenge, ""),
    ] {
        let lab = Lab::start(ChallengeMode::default().outcome(ending)).await;
        let fetched = lab.fetch(20, 20).await;
        let errors: Vec<Error> = fetched.into_iter().map(|page| page.expect_err("it is blocked")).collect();
        for error in &errors {
            assert!(error.is_blocked(), "{ending:?}: {error:?}");
            assert!(error.hint().unwrap_or_default().contains(words), "{ending:?}: {error:?}");
        }
        let traces = errors.iter().map(|error| error.trace().expect("a trace"));
        let judged: Vec<VerdictKind> = traces
            .clone()
            .flat_map(Trace::attempts)
            .filter(|attempt| attempt.tier == Tier::Browser)
            .map(|attempt| attempt.verdict.as_ref().expect("an answer").kind)
            .collect();
        assert_eq!(judged, [kind], "{ending:?}");
        assert_eq!(lab.origin.counts().verifies, 1, "{ending:?}");
        lab.fetcher.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clearance_that_works_only_in_the_browser_is_detected_once() {
    let lab = Lab::start(ChallengeMode::default().pages(1)).await;
    assert_eq!(lab.tiers().await, Tier::ALL);
    assert_eq!(lab.tiers().await, [Tier::Impersonate, Tier::Browser]);
    assert_eq!(lab.tiers().await, [Tier::Browser]);
    let more = pages(lab.fetch(6, 6).await);
    assert_eq!(visits(more.iter().map(Response::trace)), 6);
    assert!(more.iter().all(|page| page.trace().attempts().len() == 1));
    lab.fetcher.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_clearance_is_renewed_without_trying_lower_tiers() {
    let lab = Lab::start(ChallengeMode::default().lifetime(Duration::from_secs(3))).await;
    assert_eq!(lab.tiers().await, Tier::ALL);
    until_async("the end of the clearance cookie", || {
        lab.fetcher.identity().jar().list().iter().all(|cookie| cookie.name != CLEARANCE_COOKIE)
    })
    .await;
    // The jar counts in whole seconds: in the browser and at the site the cookie may last one more, and neither can
    // be asked without a request that counts.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let before = lab.origin.counts().challenges;
    assert_eq!(lab.tiers().await, [Tier::Browser]);
    let counts = lab.origin.counts();
    assert_eq!((counts.challenges - before, counts.clearances), (1, 2), "the browser's own challenge only");
    lab.fetcher.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_visit_passes_to_the_next_waiter_and_other_sessions_do_not_wait() {
    let lab = Lab::start(ChallengeMode::default().outcome(ChallengeOutcome::Endless)).await;
    let url = lab.origin.url(CHALLENGED);
    let first = tokio::spawn(lab.fetcher.get(&url).send());
    until_async("the browser's answer to the challenge", || lab.origin.counts().verifies > 0).await;
    lab.origin.set_challenge_mode(ChallengeMode::default());
    let other = lab.fetcher.session("another");
    let page = other.get(&url).send().await.expect("the page is got");
    assert_eq!(page.tier(), Tier::Browser);
    first.abort();
    assert!(first.await.expect_err("given up").is_cancelled());
    let page = lab.fetcher.get(&url).send().await.expect("the page is got");
    assert_eq!(page.tier(), Tier::Browser);
    assert_eq!(lab.origin.counts().clearances, 2);
    lab.fetcher.close().await;
}

//! The browser tier against detection suites: BotD, and our own checks on every kind of target. It must not raise a
//! flag that the same browser does not raise when started manually under Xvfb without a driver. Stock chromiumoxide
//! visits the same pages and must be detected.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chromiumoxide::{Browser, BrowserConfig, Page};
use futures_util::StreamExt as _;
use rungs::{Fetcher, FetcherBuilder, Limits, Tier};
use serde_json::Value;

use crate::support::{BROWSER_LOCK, ManualChromium, SuiteServer};

/// A fetcher that uses only the browser tier.
fn fetcher(change: impl FnOnce(FetcherBuilder) -> FetcherBuilder) -> Fetcher {
    let mut bounds = Limits::default();
    bounds.browser_total = Duration::from_secs(150);
    let builder = Fetcher::builder().min_tier(Tier::Browser).max_tier(Tier::Browser).limits(bounds);
    change(builder).build().expect("the settings are good")
}

/// Runs the suites in a fetcher's browser, once for each of `runs`, with one identity.
async fn ours(suites: &SuiteServer, runs: &[&str], change: impl FnOnce(FetcherBuilder) -> FetcherBuilder) {
    let fetcher = fetcher(change);
    for run in runs {
        let page = fetcher.get(suites.url(run)).wait_for("#done").send().await.expect("the page is got");
        assert!(page.text().expect("text").contains("id=\"done\""));
    }
    fetcher.close().await;
}

/// The flags raised by a manually started browser.
fn by_hand(suites: &SuiteServer) -> BTreeSet<String> {
    let _hand = ManualChromium::open(&suites.url("hand"));
    suites.raised("hand")
}

/// Runs the suites in stock chromiumoxide, and reads the page as its users do.
async fn stock(suites: &SuiteServer, run: &str, stealth_mode: bool) -> BTreeSet<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let chromium = rungs::lab::Chromium::find().expect("Chromium is installed: `make deps`");
    let config =
        BrowserConfig::builder().chrome_executable(chromium).user_data_dir(folder.path()).no_sandbox();
    let (mut browser, mut handler) =
        Browser::launch(config.build().expect("a configuration")).await.expect("it starts");
    let events = tokio::spawn(async move { while handler.next().await.is_some() {} });
    let page = browser.new_page("about:blank").await.expect("a page");
    if stealth_mode {
        page.enable_stealth_mode().await.expect("it is enabled");
    }
    let visit = async |page: &Page| {
        // It waits until every frame is loaded, or for 30 seconds. Only the report counts.
        let _ = tokio::time::timeout(Duration::from_secs(10), page.goto(suites.url(run))).await;
        tokio::task::block_in_place(|| suites.report(run));
        // The page shows the end after its report has arrived.
        let deadline = Instant::now() + Duration::from_secs(60);
        while page.content().await.is_err() || page.find_element("#done").await.is_err() {
            assert!(Instant::now() < deadline, "stock chromiumoxide does not read the page");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    visit(&page).await;
    browser.close().await.expect("it closes");
    browser.wait().await.expect("it ends");
    events.abort();
    suites.raised(run)
}

#[tokio::test(flavor = "multi_thread")]
async fn detection_suites_flag_nothing_in_the_browser_tier_that_a_manual_browser_lacks() {
    let _turn = BROWSER_LOCK.lock().await;
    let suites = SuiteServer::start();
    let hand = tokio::task::block_in_place(|| by_hand(&suites));
    let excess = |run: &str| suites.raised(run).difference(&hand).cloned().collect::<Vec<_>>();
    for (run, headful) in [("headless", false), ("headful", true)] {
        ours(&suites, &[run], |builder| builder.headful(headful)).await;
        assert_eq!(excess(run), [""; 0], "{run}");
        assert_eq!(suites.flags(run), suites.flags("hand"), "{run} went through all checks");
    }
    ours(&suites, &["elsewhere"], |builder| builder.timezone("Asia/Tokyo").language("de-DE")).await;
    assert_eq!(excess("elsewhere"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn detection_suites_flag_stock_chromiumoxide_and_its_stealth_mode() {
    let _turn = BROWSER_LOCK.lock().await;
    let suites = SuiteServer::start();
    let hand = tokio::task::block_in_place(|| by_hand(&suites));
    let plain = stock(&suites, "stock", false).await;
    let stealth = stock(&suites, "stealth", true).await;
    for (raised, signs) in [
        (&plain, &["webdriver", "agent.headless", "page.console.prepareStackTrace", "botd"][..]),
        (&stealth, &["worker.differs", "frame.differs", "page.console.prepareStackTrace"]),
    ] {
        for sign in signs {
            assert!(raised.contains(*sign) && !hand.contains(*sign), "{sign} of {raised:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn zone_language_and_facts_are_the_same_in_every_kind_of_target() {
    let _turn = BROWSER_LOCK.lock().await;
    let suites = SuiteServer::start();
    for (runs, headful) in [(["headless", "again"], false), (["headful", "once-more"], true)] {
        // Twice: a service worker of the first visit may live on in a process other than that of the second page.
        let elsewhere = |builder: FetcherBuilder| builder.timezone("Asia/Kolkata").language("fr-FR");
        ours(&suites, &runs, |builder| elsewhere(builder).headful(headful)).await;
        for run in runs {
            let there = suites.report(run)["there"].clone();
            let facts = &there["page"]["facts"];
            assert_eq!(facts["timezone"], "Asia/Calcutta", "ICU's name of it");
            assert_eq!(facts["offsets"], serde_json::json!([-330, -330]));
            assert_eq!(facts["languages"], serde_json::json!(["fr-FR", "fr", "en-US", "en"]));
            assert_eq!(facts["locale"], "fr");
            for place in ["frame", "worker", "shared", "service"] {
                assert_eq!(&there[place]["facts"], facts, "{place}, {run}");
            }
            assert_eq!(there.get("popup"), None::<&Value>, "no page opens another without a click");
        }
    }
}

use super::*;
use crate::fetcher::Fetcher;
use crate::identity::cookies::Cookie;
use crate::proxy::Dialect;
use crate::proxy::session::{FaultSource, ProxyAccount, UseOutcome};
use crate::text::redact::Secret;

const SITE: &str = "https://www.shop.example/p/1";

fn fetcher(mode: RotationMode) -> Fetcher {
    let dialect = Dialect::find("decodo", None).unwrap();
    let account = ProxyAccount::new(dialect, "jane", Secret::new("hunter2"));
    let pool = ProxyPool::new().account(account.lifetime(Duration::from_secs(1200))).mode(mode);
    Fetcher::builder().proxies(pool).build().unwrap()
}

fn user(fetcher: &Fetcher) -> String {
    let url = SITE.parse().unwrap();
    let proxy = fetcher.identity().proxy_rules().proxy(&url).expect("it uses the pool");
    proxy.credentials().unwrap().0.to_owned()
}

async fn use_session(fetcher: &Fetcher, site: &str, outcome: UseOutcome) {
    let session = fetcher.identities.proxy_session.as_ref().expect("it has one");
    session.acquire(site).await.unwrap().expect("the gateway works").finish(outcome);
}

/// Calls `call` with the identity source of `fetcher` for `url`.
fn with_identity_source<T>(
    fetcher: &Fetcher,
    url: &str,
    call: impl FnOnce(&ProxyIdentitySource<'_>) -> T,
) -> T {
    let url = url.parse().unwrap();
    let plan = fetcher.inner.plan_for(&url).unwrap();
    let spec = fetcher.client_spec(&plan);
    let base = fetcher.identities_for(&spec);
    call(&fetcher.proxy_identity_source(&spec, &url, &base).expect("there is a pool"))
}

#[tokio::test(start_paused = true)]
async fn a_renewed_session_is_a_new_identity_with_the_callers_own_cookies() {
    let fetcher = fetcher(RotationMode::Sticky);
    let first = fetcher.for_url(SITE).unwrap();
    assert_eq!(first.identity().key(), fetcher.for_url("https://other.example/").unwrap().identity().key());
    first.identity().jar().insert(&Cookie::session("mine", "given", "shop.example"));
    first.identity().jar().insert_from_site(&Cookie::session("theirs", "earned", "shop.example"));
    tokio::time::advance(Duration::from_secs(1080)).await;
    let next = fetcher.for_url(SITE).unwrap();
    assert!(user(&next) != user(&first) && next.identity().key() != first.identity().key());
    let names: Vec<String> = next.identity().jar().list().into_iter().map(|cookie| cookie.name).collect();
    assert_eq!(names, ["mine"], "cookies of the site do not move to a new address");
    assert_eq!(user(&fetcher.for_url(SITE).unwrap()), user(&next), "and stays");
    assert_ne!(user(&fetcher.session("shop").for_url(SITE).unwrap()), user(&next));
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_a_site_refused_is_replaced_there_once_and_stays_for_other_sites() {
    let fetcher = fetcher(RotationMode::Sticky);
    let first = fetcher.for_url(SITE).unwrap();
    use_session(&first, "shop.example", UseOutcome::Blocked).await;
    let other_proxy = || {
        with_identity_source(&fetcher, SITE, |source| source.other_proxy(&first.identities, false).unwrap())
    };
    let (one, two) = (other_proxy(), other_proxy());
    assert_eq!(one.browser.key(), two.browser.key(), "two fetches refused concurrently");
    assert_eq!(one.browser.key(), fetcher.for_url(SITE).unwrap().identity().key());
    assert_eq!(user(&fetcher.for_url("https://other.example/").unwrap()), user(&first));
    let alternatives = with_identity_source(&fetcher, SITE, |source| source.alternatives(&one));
    assert!(alternatives.proxy && !alternatives.session && !alternatives.direct, "{alternatives:?}");
    let fresh = fetcher.for_url(SITE).unwrap();
    use_session(&fresh, "shop.example", UseOutcome::Page(None)).await;
    assert!(with_identity_source(&fetcher, SITE, |source| source.alternatives(&fresh.identities)).session);
    let renewed =
        with_identity_source(&fetcher, SITE, |source| source.fresh_session(&fresh.identities).unwrap());
    assert_eq!(renewed.browser.proxy_rules(), fresh.identity().proxy_rules(), "the same address");
    assert_ne!(renewed.browser.key(), fresh.identity().key());
    assert_eq!(fetcher.for_url(SITE).unwrap().identity().key(), renewed.browser.key());
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_down_is_not_used_until_a_probe_succeeds() {
    let fetcher = fetcher(RotationMode::PerHost);
    let first = fetcher.for_url(SITE).unwrap();
    assert_ne!(user(&first), user(&fetcher.for_url("https://other.example/").unwrap()));
    for _ in 0..2 {
        use_session(&first, "shop.example", UseOutcome::Fault(FaultSource::Proxy)).await;
    }
    let refused = |url: &str| fetcher.for_url(url).map(|_| ()).unwrap_err().kind();
    assert_eq!(refused(SITE), ErrorKind::Proxy);
    assert_eq!(refused("https://third.example/"), ErrorKind::Proxy);
    let none = with_identity_source(&fetcher, SITE, |source| {
        source.other_proxy(&first.identities, true).map(|_| ())
    });
    assert_eq!(none.unwrap_err().kind(), ErrorKind::Proxy);
    tokio::time::advance(Duration::from_secs(10)).await;
    let probe = fetcher.for_url(SITE).unwrap();
    assert_eq!(refused("https://third.example/"), ErrorKind::Proxy, "one fetch probes it");
    use_session(&probe, "shop.example", UseOutcome::Page(None)).await;
    fetcher.for_url("https://third.example/").unwrap();
}

#[tokio::test(start_paused = true)]
async fn identities_for_single_sites_are_bounded_and_named_sessions_stay() {
    let fetcher = fetcher(RotationMode::PerHost);
    for site in 0..MAX_ENTRIES + 10 {
        fetcher.for_url(&format!("https://site{site}.example/")).unwrap();
    }
    assert!(lock_unpoisoned(&fetcher.inner.identity_pool.0).len() <= MAX_ENTRIES);
    tokio::time::advance(IDLE_TIMEOUT).await;
    let mut pool = lock_unpoisoned(&fetcher.inner.identity_pool.0);
    let entries = pool.len();
    assert!(entries > MAX_ENTRIES / 2 - 1);
    // Entries that were idle for long are evicted first.
    let free = MAX_ENTRIES - entries;
    drop(pool);
    for site in 0..=free {
        fetcher.for_url(&format!("https://more{site}.example/")).unwrap();
    }
    pool = lock_unpoisoned(&fetcher.inner.identity_pool.0);
    assert!(pool.len() <= free + 1, "{} {free}", pool.len());
}

#[tokio::test(start_paused = true)]
async fn idle_names_are_evicted_and_names_in_use_stay() {
    let fetcher = fetcher(RotationMode::Sticky);
    let held = fetcher.session("held").for_url(SITE).unwrap();
    let first = fetcher.session("first").for_url(SITE).unwrap().identity().key();
    for name in 0..MAX_ENTRIES * 4 {
        tokio::time::advance(Duration::from_millis(1)).await;
        fetcher.session(&format!("line {name}")).for_url(SITE).unwrap();
        assert!(lock_unpoisoned(&fetcher.inner.identity_pool.0).len() <= MAX_ENTRIES);
    }
    let again = |name: &str| fetcher.session(name).for_url(SITE).unwrap().identity().key();
    assert_eq!(again("held"), held.identity().key());
    assert_ne!(again("first"), first);
}

use super::*;
use crate::cookies::Cookie;
use crate::fetcher::Fetcher;
use crate::proxy::Dialect;
use crate::proxy_session::{FaultSource, ProxyAccount, UseOutcome};
use crate::redact::Secret;

const SITE: &str = "https://www.shop.example/p/1";

fn fetcher(mode: RotationMode) -> Fetcher {
    let dialect = Dialect::find("decodo", None).unwrap();
    let account = ProxyAccount::new(dialect, "jane", Secret::new("hunter2"));
    let pool = ProxyPool::new().account(account.lifetime(Duration::from_secs(1200))).mode(mode);
    Fetcher::builder().proxies(pool).build().unwrap()
}

fn user(fetcher: &Fetcher) -> String {
    let url = SITE.parse().unwrap();
    let proxy = fetcher.identity().proxy_rules().proxy(&url).expect("it goes by the pool");
    proxy.credentials().unwrap().0.to_owned()
}

async fn use_session(fetcher: &Fetcher, site: &str, ended: UseOutcome) {
    let session = fetcher.identities.proxy_session.as_ref().expect("it has one");
    session.acquire(site).await.unwrap().expect("the gateway works").finish(ended);
}

/// As it asks for `url`, for what another persona is to be found.
fn with_identity_source<T>(
    fetcher: &Fetcher,
    url: &str,
    ask: impl FnOnce(&ProxyIdentitySource<'_>) -> T,
) -> T {
    let url = url.parse().unwrap();
    let terms = fetcher.inner.plan_for(&url).unwrap();
    let look = fetcher.client_spec(&terms);
    let base = fetcher.identities_for(&look);
    ask(&fetcher.proxy_identity_source(&look, &url, &base).expect("there is a pool"))
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
    assert_eq!(names, ["mine"], "what the site gave the other is not brought to a new address");
    assert_eq!(user(&fetcher.for_url(SITE).unwrap()), user(&next), "and stays");
    assert_ne!(user(&fetcher.session("shop").for_url(SITE).unwrap()), user(&next));
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_a_site_refused_is_replaced_there_once_and_kept_for_other_sites() {
    let fetcher = fetcher(RotationMode::Sticky);
    let first = fetcher.for_url(SITE).unwrap();
    use_session(&first, "shop.example", UseOutcome::Blocked).await;
    let exit = || {
        with_identity_source(&fetcher, SITE, |others| others.other_proxy(&first.identities, false).unwrap())
    };
    let (one, two) = (exit(), exit());
    assert_eq!(one.browser.key(), two.browser.key(), "two fetches that were refused at once");
    assert_eq!(one.browser.key(), fetcher.for_url(SITE).unwrap().identity().key());
    assert_eq!(user(&fetcher.for_url("https://other.example/").unwrap()), user(&first));
    let means = with_identity_source(&fetcher, SITE, |others| others.alternatives(&one));
    assert!(means.proxy && !means.session && !means.direct, "{means:?}");
    let fresh = fetcher.for_url(SITE).unwrap();
    use_session(&fresh, "shop.example", UseOutcome::Page(None)).await;
    assert!(with_identity_source(&fetcher, SITE, |others| others.alternatives(&fresh.identities)).session);
    let jar = with_identity_source(&fetcher, SITE, |others| others.fresh_session(&fresh.identities).unwrap());
    assert_eq!(jar.browser.proxy_rules(), fresh.identity().proxy_rules(), "the same address");
    assert_ne!(jar.browser.key(), fresh.identity().key());
    assert_eq!(fetcher.for_url(SITE).unwrap().identity().key(), jar.browser.key());
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
    let none = with_identity_source(&fetcher, SITE, |others| {
        others.other_proxy(&first.identities, true).map(|_| ())
    });
    assert_eq!(none.unwrap_err().kind(), ErrorKind::Proxy);
    tokio::time::advance(Duration::from_secs(10)).await;
    let probe = fetcher.for_url(SITE).unwrap();
    assert_eq!(refused("https://third.example/"), ErrorKind::Proxy, "one tries it");
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
    let mut crew = lock_unpoisoned(&fetcher.inner.identity_pool.0);
    let seats = crew.len();
    assert!(seats > MAX_ENTRIES / 2 - 1);
    // What is not used for long goes first.
    let room = MAX_ENTRIES - seats;
    drop(crew);
    for site in 0..=room {
        fetcher.for_url(&format!("https://more{site}.example/")).unwrap();
    }
    crew = lock_unpoisoned(&fetcher.inner.identity_pool.0);
    assert!(crew.len() <= room + 1, "{} {room}", crew.len());
}

#[tokio::test(start_paused = true)]
async fn names_do_not_pile_up_and_who_is_in_use_stays() {
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

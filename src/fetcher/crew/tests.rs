use super::*;
use crate::cookies::Cookie;
use crate::fetcher::Fetcher;
use crate::proxy::Dialect;
use crate::redact::Secret;
use crate::session::{Blame, Ended, ProxyAccount};

const SITE: &str = "https://www.shop.example/p/1";

fn fetcher(mode: Mode) -> Fetcher {
    let dialect = Dialect::find("decodo", None).unwrap();
    let account = ProxyAccount::new(dialect, "jane", Secret::new("hunter2"));
    let pool = ProxyPool::new().account(account.lifetime(Duration::from_secs(1200))).mode(mode);
    Fetcher::builder().proxies(pool).build().unwrap()
}

fn user(fetcher: &Fetcher) -> String {
    let url = SITE.parse().unwrap();
    let proxy = fetcher.identity().route().proxy(&url).expect("it goes by the pool");
    proxy.credentials().unwrap().0.to_owned()
}

async fn use_of(fetcher: &Fetcher, site: &str, ended: Ended) {
    let session = fetcher.persona.session.as_ref().expect("it has one");
    session.admit(site).await.unwrap().expect("the gateway works").ended(ended);
}

/// As it asks for `url`, for what another persona is to be found.
fn with_others<T>(fetcher: &Fetcher, url: &str, ask: impl FnOnce(&Berth<'_>) -> T) -> T {
    let url = url.parse().unwrap();
    let terms = fetcher.shared.terms(&url).unwrap();
    let look = fetcher.look_on(&terms);
    let base = fetcher.persona_as(&look);
    ask(&fetcher.berth(&look, &url, &base).expect("there is a pool"))
}

#[tokio::test(start_paused = true)]
async fn a_renewed_session_is_somebody_new_with_what_the_caller_gave() {
    let fetcher = fetcher(Mode::Sticky);
    let first = fetcher.toward(SITE).unwrap();
    assert_eq!(first.identity().key(), fetcher.toward("https://other.example/").unwrap().identity().key());
    first.identity().jar().put(&Cookie::session("mine", "given", "shop.example"));
    first.identity().jar().earn(&Cookie::session("theirs", "earned", "shop.example"));
    tokio::time::advance(Duration::from_secs(1080)).await;
    let next = fetcher.toward(SITE).unwrap();
    assert!(user(&next) != user(&first) && next.identity().key() != first.identity().key());
    let names: Vec<String> = next.identity().jar().list().into_iter().map(|cookie| cookie.name).collect();
    assert_eq!(names, ["mine"], "what the site gave the other is not brought to a new address");
    assert_eq!(user(&fetcher.toward(SITE).unwrap()), user(&next), "and stays");
    assert_ne!(user(&fetcher.session("shop").toward(SITE).unwrap()), user(&next));
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_by_a_site_is_replaced_there_once_and_stays_elsewhere() {
    let fetcher = fetcher(Mode::Sticky);
    let first = fetcher.toward(SITE).unwrap();
    use_of(&first, "shop.example", Ended::Blocked).await;
    let exit = || with_others(&fetcher, SITE, |others| others.exit(&first.persona, false).unwrap());
    let (one, two) = (exit(), exit());
    assert_eq!(one.dressed.key(), two.dressed.key(), "two fetches that were refused at once");
    assert_eq!(one.dressed.key(), fetcher.toward(SITE).unwrap().identity().key());
    assert_eq!(user(&fetcher.toward("https://other.example/").unwrap()), user(&first));
    let means = with_others(&fetcher, SITE, |others| others.means(&one));
    assert!(means.exit && !means.session && !means.direct, "{means:?}");
    let fresh = fetcher.toward(SITE).unwrap();
    use_of(&fresh, "shop.example", Ended::Page(None)).await;
    assert!(with_others(&fetcher, SITE, |others| others.means(&fresh.persona)).session);
    let jar = with_others(&fetcher, SITE, |others| others.session(&fresh.persona).unwrap());
    assert_eq!(jar.dressed.route(), fresh.identity().route(), "the same address");
    assert_ne!(jar.dressed.key(), fresh.identity().key());
    assert_eq!(fetcher.toward(SITE).unwrap().identity().key(), jar.dressed.key());
}

#[tokio::test(start_paused = true)]
async fn when_the_gateway_is_down_nobody_goes_until_it_is_tried_again() {
    let fetcher = fetcher(Mode::PerHost);
    let first = fetcher.toward(SITE).unwrap();
    assert_ne!(user(&first), user(&fetcher.toward("https://other.example/").unwrap()));
    for _ in 0..2 {
        use_of(&first, "shop.example", Ended::Fault(Blame::Proxy)).await;
    }
    let refused = |url: &str| fetcher.toward(url).map(|_| ()).unwrap_err().kind();
    assert_eq!(refused(SITE), ErrorKind::Proxy);
    assert_eq!(refused("https://third.example/"), ErrorKind::Proxy);
    let none = with_others(&fetcher, SITE, |others| others.exit(&first.persona, true).map(|_| ()));
    assert_eq!(none.unwrap_err().kind(), ErrorKind::Proxy);
    tokio::time::advance(Duration::from_secs(10)).await;
    let probe = fetcher.toward(SITE).unwrap();
    assert_eq!(refused("https://third.example/"), ErrorKind::Proxy, "one tries it");
    use_of(&probe, "shop.example", Ended::Page(None)).await;
    fetcher.toward("https://third.example/").unwrap();
}

#[tokio::test(start_paused = true)]
async fn seats_at_single_sites_are_bounded_and_named_sessions_stay() {
    let fetcher = fetcher(Mode::PerHost);
    for site in 0..MAX_PLACES + 10 {
        fetcher.toward(&format!("https://site{site}.example/")).unwrap();
    }
    assert!(lock(&fetcher.shared.crew.0).len() <= MAX_PLACES);
    tokio::time::advance(IDLE).await;
    let mut crew = lock(&fetcher.shared.crew.0);
    let seats = crew.len();
    assert!(seats > MAX_PLACES / 2 - 1);
    // What is not used for long goes first.
    let room = MAX_PLACES - seats;
    drop(crew);
    for site in 0..=room {
        fetcher.toward(&format!("https://more{site}.example/")).unwrap();
    }
    crew = lock(&fetcher.shared.crew.0);
    assert!(crew.len() <= room + 1, "{} {room}", crew.len());
}

#[tokio::test(start_paused = true)]
async fn names_do_not_pile_up_and_who_is_in_use_stays() {
    let fetcher = fetcher(Mode::Sticky);
    let held = fetcher.session("held").toward(SITE).unwrap();
    let first = fetcher.session("first").toward(SITE).unwrap().identity().key();
    for name in 0..MAX_PLACES * 4 {
        tokio::time::advance(Duration::from_millis(1)).await;
        fetcher.session(&format!("line {name}")).toward(SITE).unwrap();
        assert!(lock(&fetcher.shared.crew.0).len() <= MAX_PLACES);
    }
    let again = |name: &str| fetcher.session(name).toward(SITE).unwrap().identity().key();
    assert_eq!(again("held"), held.identity().key());
    assert_ne!(again("first"), first);
}

use super::*;

fn pool(mode: Mode) -> ProxyPool {
    ["a", "b", "c"].iter().fold(ProxyPool::new().mode(mode).seed(7), |pool, name| {
        pool.proxy(format!("http://u:p@{name}.example:1").parse().unwrap())
    })
}

fn exits(pool: &ProxyPool) -> Exits {
    Exits::new(pool).unwrap()
}

const ANY: Wanted<'_> = Wanted {
    name: None,
    site: "site.example",
    apart: false,
    anew: false,
    together: false,
    around: false,
    left: None,
};

fn name(session: &Session) -> String {
    session.exit.name.clone()
}

async fn used(session: &Arc<Session>, ended: Ended) {
    let permit = session.admit("site.example").await.unwrap().expect("its exit works");
    permit.ended(ended);
}

#[tokio::test(start_paused = true)]
async fn an_exit_that_fails_is_left_alone_and_then_tried_by_one_session() {
    let exits = exits(&pool(Mode::Rotating));
    let dead = exits.draw(ANY).unwrap();
    let other = loop {
        let other = exits.draw(ANY).unwrap();
        if name(&other) != name(&dead) {
            break other;
        }
    };
    for _ in 0..2 {
        assert!(!dead.is_over(Instant::now()));
        used(&dead, Ended::Fault(Blame::Proxy)).await;
    }
    assert!(dead.is_over(Instant::now()) && !other.is_over(Instant::now()));
    assert!(dead.admit("site.example").await.unwrap().is_none(), "who waited is told");
    for _ in 0..50 {
        assert_ne!(name(&exits.draw(ANY).unwrap()), name(&dead));
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    let probe = exits.draw(ANY).unwrap();
    assert_eq!(name(&probe), name(&dead));
    assert_ne!(name(&exits.draw(ANY).unwrap()), name(&dead), "one at a time");
    drop(probe);
    let probe = exits.draw(ANY).unwrap();
    assert_eq!(name(&probe), name(&dead), "a probe that asked nobody gives its turn back");
    used(&probe, Ended::Page(None)).await;
    assert!(!dead.is_over(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn when_none_works_that_is_told_at_once() {
    let exits = exits(&pool(Mode::Rotating));
    let began = Instant::now();
    let mut faults = 0;
    let error = loop {
        match exits.draw(ANY) {
            Ok(session) => used(&session, Ended::Fault(Blame::Proxy)).await,
            Err(error) => break error,
        }
        faults += 1;
    };
    assert_eq!((error.kind(), faults, began.elapsed()), (ErrorKind::Proxy, 6, Duration::ZERO));
    assert!(error.to_string().contains("none of 3 proxies works (http://***@a.example:1"), "{error}");
    assert!(error.to_string().contains("in 10 s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_site_that_refused_an_exit_is_asked_by_others_and_other_sites_by_it() {
    let exits = exits(&pool(Mode::Rotating));
    let refused = exits.draw(ANY).unwrap();
    assert!(exits.has_other(&refused));
    used(&refused, Ended::Blocked).await;
    for _ in 0..50 {
        assert_ne!(name(&exits.draw(ANY).unwrap()), name(&refused));
    }
    let elsewhere = Wanted { site: "other.example", ..ANY };
    let found = (0..200).any(|_| name(&exits.draw(elsewhere).unwrap()) == name(&refused));
    assert!(found, "another site has not refused it");
}

#[tokio::test(start_paused = true)]
async fn the_exit_that_is_left_is_not_taken_again_while_there_is_another() {
    let exits = exits(&pool(Mode::Rotating));
    let left = exits.draw(ANY).unwrap();
    for _ in 0..50 {
        let next = exits.draw(Wanted { left: Some(&left), ..ANY }).unwrap();
        assert_ne!(name(&next), name(&left));
    }
    let alone = Exits::new(&ProxyPool::new().proxy("http://a.example:1".parse().unwrap())).unwrap();
    assert!(!alone.has_other(&alone.draw(ANY).unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_place_at_an_exit_is_given_back_by_an_end_and_by_a_dropped_wait() {
    let one = ProxyPool::new().proxy("http://a.example:1".parse().unwrap()).concurrency(2);
    let exits = exits(&one);
    let session = exits.draw(ANY).unwrap();
    let held = session.admit("a").await.unwrap();
    let second = session.admit("a").await.unwrap();
    {
        let mut waiting = std::pin::pin!(session.admit("a"));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    }
    drop(held);
    drop(session.admit("a").await.unwrap());
    drop(second);
    let report = &exits.report()[0];
    assert_eq!((report.uses, report.pages, report.faults), (3, 0, 0));
    let busy = [session.admit("a").await.unwrap(), session.admit("a").await.unwrap()];
    let error = session.admit("a").await.map(|_| ()).unwrap_err();
    assert!(error.is_timeout() && error.hint().is_some_and(|hint| hint.contains("--proxy-concurrency")));
    drop(busy);
}

#[tokio::test(start_paused = true)]
async fn a_full_exit_gets_no_more_while_another_has_room() {
    let exits = exits(&pool(Mode::Rotating).concurrency(1));
    let held: Vec<_> = (0..3).map(|_| exits.draw(ANY).unwrap()).collect();
    let mut names: Vec<_> = held.iter().map(|session| name(session)).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3, "one each");
    drop(held);
    let held = exits.draw(ANY).unwrap();
    assert_ne!(name(&exits.draw(ANY).unwrap()), name(&held), "the two others have room again");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_lasts_goes_by_the_same_exit_in_the_next_process() {
    let of = |named| name(&exits(&pool(Mode::Sticky)).draw(Wanted { name: named, ..ANY }).unwrap());
    let names = ["one", "two", "three", "four", "five", "six"].map(Some);
    let first = names.map(of);
    assert_eq!(first, names.map(of));
    assert!(first.iter().any(|name| *name != first[0]), "and they are spread: {first:?}");
}

#[test]
fn the_same_seed_draws_the_same_exits_and_nothing_shows_a_password() {
    let drawn = |seed| {
        let exits = exits(&pool(Mode::Rotating).seed(seed));
        (0..20).map(|_| name(&exits.draw(ANY).unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
    let pool = ProxyPool::new().proxy("http://janedoe:hunter2@a.example:1".parse().unwrap());
    let shown = format!("{pool:?} {:?}", Exits::new(&pool).unwrap().report());
    assert!(!shown.contains("hunter2") && !shown.contains("janedoe"), "{shown}");
}

/// An account whose sessions last for 20 minutes, 18 of them for us.
fn account(password: &str) -> ProxyPool {
    let dialect = crate::proxy::Dialect::find("decodo", None).unwrap();
    let account = ProxyAccount::new(dialect, "jane", crate::redact::Secret::new(password));
    ProxyPool::new().account(account.lifetime(Duration::from_secs(20 * 60)))
}

fn user(session: &Session) -> String {
    let proxy = session.route.proxy(&"https://site.example/".parse().unwrap()).unwrap();
    proxy.credentials().unwrap().0.to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_session_is_the_same_for_the_same_user_and_time_and_nobody_elses() {
    let of = |password: &str, wanted: Wanted<'_>| user(&exits(&account(password)).draw(wanted).unwrap());
    let shop = Wanted { name: Some("shop"), ..ANY };
    let apart = Wanted { apart: true, ..ANY };
    let elsewhere = Wanted { site: "other.example", ..apart };
    let all = [
        of("hunter2", ANY),
        of("hunter3", ANY),
        of("hunter2", shop),
        of("hunter2", apart),
        of("hunter2", elsewhere),
    ];
    for (at, user) in all.iter().enumerate() {
        assert!(user.starts_with("user-jane-session-") && user.ends_with("-sessionduration-20"), "{user}");
        assert!(!all[..at].contains(user), "{all:?}");
    }
    assert_eq!(of("hunter2", ANY), all[0]);
    assert_eq!(of("hunter2", apart), all[3]);
    let anew = Wanted { anew: true, ..ANY };
    assert_ne!(of("hunter2", anew), of("hunter2", anew), "who was refused is somebody nobody was before");
    assert_ne!(of("", ANY), of("", ANY), "without a password anybody could tell it");
}

#[tokio::test(start_paused = true)]
async fn a_session_is_renewed_before_its_time_is_over_for_the_provider() {
    let exits = exits(&account("hunter2"));
    let mut before = String::new();
    for _ in 0..5 {
        let session = exits.draw(ANY).unwrap();
        assert_ne!(user(&session), before, "another one");
        before = user(&session);
        let began = Instant::now();
        while !session.is_over(Instant::now()) {
            used(&session, Ended::Page(None)).await;
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // Of 20 minutes it takes 18; who joins late has 9 of them.
        let lasted = began.elapsed().as_secs();
        assert!((9 * 60..=18 * 60 + 1).contains(&lasted), "{lasted} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_refused_twice_is_burnt_and_one_that_rested_is_forgotten() {
    let exits = exits(&account("hunter2"));
    let session = exits.draw(ANY).unwrap();
    assert!(exits.has_other(&session), "a gateway has other addresses");
    used(&session, Ended::Blocked).await;
    used(&session, Ended::Page(None)).await;
    used(&session, Ended::Blocked).await;
    assert!(!session.is_burnt(), "a page between them");
    used(&session, Ended::Fault(Blame::Unclear)).await;
    assert!(session.is_burnt() && session.is_over(Instant::now()));
    assert!(!exits.draw(ANY).unwrap().is_over(Instant::now()), "the gateway is not blamed");

    let dialect = crate::proxy::Dialect::find("oxylabs", None).unwrap();
    let rests = dialect.idle().expect("it says so");
    let account = ProxyAccount::new(dialect, "jane", crate::redact::Secret::new("x"));
    let session = self::exits(&ProxyPool::new().account(account)).draw(ANY).unwrap();
    used(&session, Ended::Page(None)).await;
    tokio::time::advance(rests.mul_f64(0.5)).await;
    assert!(!session.is_over(Instant::now()));
    used(&session, Ended::Page(None)).await;
    tokio::time::advance(rests.mul_f64(0.95)).await;
    assert!(session.is_over(Instant::now()));
}

#[test]
fn what_rotates_by_itself_needs_no_session_unless_one_address_is_wanted() {
    let rotating = exits(&account("hunter2").mode(Mode::Rotating));
    assert_eq!(user(&rotating.draw(ANY).unwrap()), "user-jane");
    let together = Wanted { together: true, ..ANY };
    let (one, two) = (rotating.draw(together).unwrap(), rotating.draw(together).unwrap());
    assert!(user(&one) != user(&two) && one.label() != two.label(), "{} {}", user(&one), user(&two));
    assert!(one.label().is_some_and(|label| !user(&one).contains(label)));
    let seeded = |seed| user(&exits(&account("x").mode(Mode::Rotating).seed(seed)).draw(together).unwrap());
    assert!(seeded(1) == seeded(1) && seeded(1) != seeded(2));
}

use super::*;

fn pool(mode: RotationMode) -> ProxyPool {
    ["a", "b", "c"].iter().fold(ProxyPool::new().mode(mode).seed(7), |pool, name| {
        pool.proxy(format!("http://u:p@{name}.example:1").parse().unwrap())
    })
}

fn rotator(pool: &ProxyPool) -> ProxyRotator {
    ProxyRotator::new(pool).unwrap()
}

const ANY: SessionQuery<'_> = SessionQuery {
    session_name: None,
    site: "site.example",
    per_site: false,
    is_renewal: false,
    single_address: false,
    bypasses_proxy: false,
    replaces: None,
};

fn name(session: &ProxySession) -> String {
    session.endpoint.name.clone()
}

async fn use_session(session: &Arc<ProxySession>, ended: UseOutcome) {
    let permit = session.acquire("site.example").await.unwrap().expect("its exit works");
    permit.finish(ended);
}

#[tokio::test(start_paused = true)]
async fn an_exit_that_fails_is_left_alone_and_then_tried_by_one_session() {
    let exits = rotator(&pool(RotationMode::Rotating));
    let dead = exits.open_session(ANY).unwrap();
    let other = loop {
        let other = exits.open_session(ANY).unwrap();
        if name(&other) != name(&dead) {
            break other;
        }
    };
    for _ in 0..2 {
        assert!(!dead.should_replace(Instant::now()));
        use_session(&dead, UseOutcome::Fault(FaultSource::Proxy)).await;
    }
    assert!(dead.should_replace(Instant::now()) && !other.should_replace(Instant::now()));
    assert!(dead.acquire("site.example").await.unwrap().is_none(), "who waited is told");
    for _ in 0..50 {
        assert_ne!(name(&exits.open_session(ANY).unwrap()), name(&dead));
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    let probe = exits.open_session(ANY).unwrap();
    assert_eq!(name(&probe), name(&dead));
    assert_ne!(name(&exits.open_session(ANY).unwrap()), name(&dead), "one at a time");
    drop(probe);
    let probe = exits.open_session(ANY).unwrap();
    assert_eq!(name(&probe), name(&dead), "a probe that asked nobody gives its turn back");
    use_session(&probe, UseOutcome::Page(None)).await;
    assert!(!dead.should_replace(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn when_no_proxy_works_the_error_comes_at_once() {
    let exits = rotator(&pool(RotationMode::Rotating));
    let began = Instant::now();
    let mut faults = 0;
    let error = loop {
        match exits.open_session(ANY) {
            Ok(session) => use_session(&session, UseOutcome::Fault(FaultSource::Proxy)).await,
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
    let exits = rotator(&pool(RotationMode::Rotating));
    let refused = exits.open_session(ANY).unwrap();
    assert!(exits.has_alternative(&refused));
    use_session(&refused, UseOutcome::Blocked).await;
    for _ in 0..50 {
        assert_ne!(name(&exits.open_session(ANY).unwrap()), name(&refused));
    }
    let elsewhere = SessionQuery { site: "other.example", ..ANY };
    let found = (0..200).any(|_| name(&exits.open_session(elsewhere).unwrap()) == name(&refused));
    assert!(found, "another site has not refused it");
}

#[tokio::test(start_paused = true)]
async fn the_exit_that_is_left_is_not_taken_again_while_there_is_another() {
    let exits = rotator(&pool(RotationMode::Rotating));
    let left = exits.open_session(ANY).unwrap();
    for _ in 0..50 {
        let next = exits.open_session(SessionQuery { replaces: Some(&left), ..ANY }).unwrap();
        assert_ne!(name(&next), name(&left));
    }
    let alone = ProxyRotator::new(&ProxyPool::new().proxy("http://a.example:1".parse().unwrap())).unwrap();
    assert!(!alone.has_alternative(&alone.open_session(ANY).unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_place_at_an_exit_is_given_back_by_an_end_and_by_a_dropped_wait() {
    let one = ProxyPool::new().proxy("http://a.example:1".parse().unwrap()).concurrency(2);
    let exits = rotator(&one);
    let session = exits.open_session(ANY).unwrap();
    let held = session.acquire("a").await.unwrap();
    let second = session.acquire("a").await.unwrap();
    {
        let mut waiting = std::pin::pin!(session.acquire("a"));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    }
    drop(held);
    drop(session.acquire("a").await.unwrap());
    drop(second);
    let report = &exits.stats()[0];
    assert_eq!((report.uses, report.pages, report.faults), (3, 0, 0));
    let busy = [session.acquire("a").await.unwrap(), session.acquire("a").await.unwrap()];
    let error = session.acquire("a").await.map(|_| ()).unwrap_err();
    assert!(error.is_timeout() && error.hint().is_some_and(|hint| hint.contains("--proxy-concurrency")));
    drop(busy);
}

#[tokio::test(start_paused = true)]
async fn a_full_exit_gets_no_more_while_another_has_room() {
    let exits = rotator(&pool(RotationMode::Rotating).concurrency(1));
    let held: Vec<_> = (0..3).map(|_| exits.open_session(ANY).unwrap()).collect();
    let mut names: Vec<_> = held.iter().map(|session| name(session)).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3, "one each");
    drop(held);
    let held = exits.open_session(ANY).unwrap();
    assert_ne!(name(&exits.open_session(ANY).unwrap()), name(&held), "the two others have room again");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_lasts_goes_by_the_same_exit_in_the_next_process() {
    let of = |named| {
        name(
            &rotator(&pool(RotationMode::Sticky))
                .open_session(SessionQuery { session_name: named, ..ANY })
                .unwrap(),
        )
    };
    let names = ["one", "two", "three", "four", "five", "six"].map(Some);
    let first = names.map(of);
    assert_eq!(first, names.map(of));
    assert!(first.iter().any(|name| *name != first[0]), "and they are spread: {first:?}");
}

#[test]
fn the_same_seed_draws_the_same_exits_and_nothing_shows_a_password() {
    let drawn = |seed| {
        let exits = rotator(&pool(RotationMode::Rotating).seed(seed));
        (0..20).map(|_| name(&exits.open_session(ANY).unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
    let pool = ProxyPool::new().proxy("http://janedoe:hunter2@a.example:1".parse().unwrap());
    let shown = format!("{pool:?} {:?}", ProxyRotator::new(&pool).unwrap().stats());
    assert!(!shown.contains("hunter2") && !shown.contains("janedoe"), "{shown}");
}

/// An account whose sessions last for 20 minutes, 18 of them for us.
fn account(password: &str) -> ProxyPool {
    let dialect = crate::proxy::Dialect::find("decodo", None).unwrap();
    let account = ProxyAccount::new(dialect, "jane", crate::redact::Secret::new(password));
    ProxyPool::new().account(account.lifetime(Duration::from_secs(20 * 60)))
}

fn user(session: &ProxySession) -> String {
    let proxy = session.proxy_rules.proxy(&"https://site.example/".parse().unwrap()).unwrap();
    proxy.credentials().unwrap().0.to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_session_is_the_same_for_the_same_user_and_time_and_differs_for_others() {
    let of = |password: &str, wanted: SessionQuery<'_>| {
        user(&rotator(&account(password)).open_session(wanted).unwrap())
    };
    let shop = SessionQuery { session_name: Some("shop"), ..ANY };
    let apart = SessionQuery { per_site: true, ..ANY };
    let elsewhere = SessionQuery { site: "other.example", ..apart };
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
    let anew = SessionQuery { is_renewal: true, ..ANY };
    assert_ne!(of("hunter2", anew), of("hunter2", anew), "who was refused is somebody nobody was before");
    assert_ne!(of("", ANY), of("", ANY), "without a password anybody could tell it");
}

#[tokio::test(start_paused = true)]
async fn a_session_is_renewed_before_its_time_is_over_for_the_provider() {
    let exits = rotator(&account("hunter2"));
    let mut before = String::new();
    for _ in 0..5 {
        let session = exits.open_session(ANY).unwrap();
        assert_ne!(user(&session), before, "another one");
        before = user(&session);
        let began = Instant::now();
        while !session.should_replace(Instant::now()) {
            use_session(&session, UseOutcome::Page(None)).await;
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // Of 20 minutes it takes 18; who joins late has 9 of them.
        let lasted = began.elapsed().as_secs();
        assert!((9 * 60..=18 * 60 + 1).contains(&lasted), "{lasted} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_refused_twice_is_burnt_and_one_that_rested_is_forgotten() {
    let exits = rotator(&account("hunter2"));
    let session = exits.open_session(ANY).unwrap();
    assert!(exits.has_alternative(&session), "a gateway has other addresses");
    use_session(&session, UseOutcome::Blocked).await;
    use_session(&session, UseOutcome::Page(None)).await;
    use_session(&session, UseOutcome::Blocked).await;
    assert!(!session.is_burned(), "a page between them");
    use_session(&session, UseOutcome::Fault(FaultSource::Unclear)).await;
    assert!(session.is_burned() && session.should_replace(Instant::now()));
    assert!(!exits.open_session(ANY).unwrap().should_replace(Instant::now()), "the gateway is not blamed");

    let dialect = crate::proxy::Dialect::find("oxylabs", None).unwrap();
    let rests = dialect.idle_timeout().expect("it says so");
    let account = ProxyAccount::new(dialect, "jane", crate::redact::Secret::new("x"));
    let session = rotator(&ProxyPool::new().account(account)).open_session(ANY).unwrap();
    use_session(&session, UseOutcome::Page(None)).await;
    tokio::time::advance(rests.mul_f64(0.5)).await;
    assert!(!session.should_replace(Instant::now()));
    use_session(&session, UseOutcome::Page(None)).await;
    tokio::time::advance(rests.mul_f64(0.95)).await;
    assert!(session.should_replace(Instant::now()));
}

#[test]
fn what_rotates_by_itself_needs_no_session_unless_one_address_is_wanted() {
    let rotating = rotator(&account("hunter2").mode(RotationMode::Rotating));
    assert_eq!(user(&rotating.open_session(ANY).unwrap()), "user-jane");
    let together = SessionQuery { single_address: true, ..ANY };
    let (one, two) = (rotating.open_session(together).unwrap(), rotating.open_session(together).unwrap());
    assert!(user(&one) != user(&two) && one.label() != two.label(), "{} {}", user(&one), user(&two));
    assert!(one.label().is_some_and(|label| !user(&one).contains(label)));
    let seeded = |seed| {
        user(&rotator(&account("x").mode(RotationMode::Rotating).seed(seed)).open_session(together).unwrap())
    };
    assert!(seeded(1) == seeded(1) && seeded(1) != seeded(2));
}

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

async fn use_session(session: &Arc<ProxySession>, outcome: UseOutcome) {
    let permit = session.acquire("site.example").await.unwrap().expect("its endpoint works");
    permit.finish(outcome);
}

#[tokio::test(start_paused = true)]
async fn a_failing_endpoint_is_set_aside_and_then_probed_by_one_session() {
    let proxies = rotator(&pool(RotationMode::Rotating));
    let dead = proxies.open_session(ANY).unwrap();
    let other = loop {
        let other = proxies.open_session(ANY).unwrap();
        if name(&other) != name(&dead) {
            break other;
        }
    };
    for _ in 0..2 {
        assert!(!dead.should_replace(Instant::now()));
        use_session(&dead, UseOutcome::Fault(FaultSource::Proxy)).await;
    }
    assert!(dead.should_replace(Instant::now()) && !other.should_replace(Instant::now()));
    assert!(dead.acquire("site.example").await.unwrap().is_none(), "a waiting fetch gets `None`");
    for _ in 0..50 {
        assert_ne!(name(&proxies.open_session(ANY).unwrap()), name(&dead));
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    let probe = proxies.open_session(ANY).unwrap();
    assert_eq!(name(&probe), name(&dead));
    assert_ne!(name(&proxies.open_session(ANY).unwrap()), name(&dead), "one at a time");
    drop(probe);
    let probe = proxies.open_session(ANY).unwrap();
    assert_eq!(name(&probe), name(&dead), "an unused probe allows the next one");
    use_session(&probe, UseOutcome::Page(None)).await;
    assert!(!dead.should_replace(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn opening_a_session_fails_at_once_when_no_proxy_works() {
    let proxies = rotator(&pool(RotationMode::Rotating));
    let began = Instant::now();
    let mut faults = 0;
    let error = loop {
        match proxies.open_session(ANY) {
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
async fn a_refused_endpoint_is_skipped_for_that_site_and_used_for_other_sites() {
    let proxies = rotator(&pool(RotationMode::Rotating));
    let refused = proxies.open_session(ANY).unwrap();
    assert!(proxies.has_alternative(&refused));
    use_session(&refused, UseOutcome::Blocked).await;
    for _ in 0..50 {
        assert_ne!(name(&proxies.open_session(ANY).unwrap()), name(&refused));
    }
    let elsewhere = SessionQuery { site: "other.example", ..ANY };
    let found = (0..200).any(|_| name(&proxies.open_session(elsewhere).unwrap()) == name(&refused));
    assert!(found, "another site has not refused it");
}

#[tokio::test(start_paused = true)]
async fn a_replaced_endpoint_is_not_selected_while_there_is_another() {
    let proxies = rotator(&pool(RotationMode::Rotating));
    let replaced = proxies.open_session(ANY).unwrap();
    for _ in 0..50 {
        let next = proxies.open_session(SessionQuery { replaces: Some(&replaced), ..ANY }).unwrap();
        assert_ne!(name(&next), name(&replaced));
    }
    let alone = ProxyRotator::new(&ProxyPool::new().proxy("http://a.example:1".parse().unwrap())).unwrap();
    assert!(!alone.has_alternative(&alone.open_session(ANY).unwrap()));
}

#[tokio::test(start_paused = true)]
async fn capacity_is_released_when_a_use_ends_and_when_a_wait_is_dropped() {
    let one = ProxyPool::new().proxy("http://a.example:1".parse().unwrap()).concurrency(2);
    let proxies = rotator(&one);
    let session = proxies.open_session(ANY).unwrap();
    let first = session.acquire("a").await.unwrap();
    let second = session.acquire("a").await.unwrap();
    {
        let mut waiting = std::pin::pin!(session.acquire("a"));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    }
    drop(first);
    drop(session.acquire("a").await.unwrap());
    drop(second);
    let stats = &proxies.stats()[0];
    assert_eq!((stats.uses, stats.pages, stats.faults), (3, 0, 0));
    let busy = [session.acquire("a").await.unwrap(), session.acquire("a").await.unwrap()];
    let error = session.acquire("a").await.map(|_| ()).unwrap_err();
    assert!(error.is_timeout() && error.hint().is_some_and(|hint| hint.contains("--proxy-concurrency")));
    drop(busy);
}

#[tokio::test(start_paused = true)]
async fn a_full_endpoint_is_not_selected_while_another_has_capacity() {
    let proxies = rotator(&pool(RotationMode::Rotating).concurrency(1));
    let sessions: Vec<_> = (0..3).map(|_| proxies.open_session(ANY).unwrap()).collect();
    let mut names: Vec<_> = sessions.iter().map(|session| name(session)).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3, "one each");
    drop(sessions);
    let session = proxies.open_session(ANY).unwrap();
    assert_ne!(
        name(&proxies.open_session(ANY).unwrap()),
        name(&session),
        "the two others have capacity again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_sticky_session_uses_the_same_endpoint_in_the_next_process() {
    let endpoint_of = |named| {
        name(
            &rotator(&pool(RotationMode::Sticky))
                .open_session(SessionQuery { session_name: named, ..ANY })
                .unwrap(),
        )
    };
    let names = ["one", "two", "three", "four", "five", "six"].map(Some);
    let first = names.map(endpoint_of);
    assert_eq!(first, names.map(endpoint_of));
    assert!(first.iter().any(|name| *name != first[0]), "sessions are spread over the endpoints: {first:?}");
}

#[test]
fn the_same_seed_selects_the_same_endpoints_and_debug_shows_no_password() {
    let selected = |seed| {
        let proxies = rotator(&pool(RotationMode::Rotating).seed(seed));
        (0..20).map(|_| name(&proxies.open_session(ANY).unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(selected(1), selected(1));
    assert_ne!(selected(1), selected(2));
    let pool = ProxyPool::new().proxy("http://janedoe:hunter2@a.example:1".parse().unwrap());
    let shown = format!("{pool:?} {:?}", ProxyRotator::new(&pool).unwrap().stats());
    assert!(!shown.contains("hunter2") && !shown.contains("janedoe"), "{shown}");
}

/// An account with sessions of 20 minutes, which rungs uses for 18.
fn account(password: &str) -> ProxyPool {
    let dialect = crate::proxy::Dialect::find("decodo", None).unwrap();
    let account = ProxyAccount::new(dialect, "jane", crate::text::redact::Secret::new(password));
    ProxyPool::new().account(account.lifetime(Duration::from_secs(20 * 60)))
}

fn user(session: &ProxySession) -> String {
    let proxy = session.proxy_rules.proxy(&"https://site.example/".parse().unwrap()).unwrap();
    proxy.credentials().unwrap().0.to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_session_id_depends_on_the_password_the_session_name_the_site_and_the_time() {
    let user_of = |password: &str, query: SessionQuery<'_>| {
        user(&rotator(&account(password)).open_session(query).unwrap())
    };
    let shop = SessionQuery { session_name: Some("shop"), ..ANY };
    let per_site_query = SessionQuery { per_site: true, ..ANY };
    let elsewhere = SessionQuery { site: "other.example", ..per_site_query };
    let all = [
        user_of("hunter2", ANY),
        user_of("hunter3", ANY),
        user_of("hunter2", shop),
        user_of("hunter2", per_site_query),
        user_of("hunter2", elsewhere),
    ];
    for (at, user) in all.iter().enumerate() {
        assert!(user.starts_with("user-jane-session-") && user.ends_with("-sessionduration-20"), "{user}");
        assert!(!all[..at].contains(user), "{all:?}");
    }
    assert_eq!(user_of("hunter2", ANY), all[0]);
    assert_eq!(user_of("hunter2", per_site_query), all[3]);
    let renewal = SessionQuery { is_renewal: true, ..ANY };
    assert_ne!(
        user_of("hunter2", renewal),
        user_of("hunter2", renewal),
        "a renewed session is a new one each time"
    );
    assert_ne!(user_of("", ANY), user_of("", ANY), "without a password the id would be predictable");
}

#[tokio::test(start_paused = true)]
async fn a_session_is_replaced_before_it_ends_at_the_provider() {
    let proxies = rotator(&account("hunter2"));
    let mut before = String::new();
    for _ in 0..5 {
        let session = proxies.open_session(ANY).unwrap();
        assert_ne!(user(&session), before, "another one");
        before = user(&session);
        let began = Instant::now();
        while !session.should_replace(Instant::now()) {
            use_session(&session, UseOutcome::Page(None)).await;
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // 18 of 20 minutes are used; a process that joins late has 9 of them.
        let seconds = began.elapsed().as_secs();
        assert!((9 * 60..=18 * 60 + 1).contains(&seconds), "{seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_refused_twice_is_burned_and_an_idle_one_expires() {
    let proxies = rotator(&account("hunter2"));
    let session = proxies.open_session(ANY).unwrap();
    assert!(proxies.has_alternative(&session), "a gateway has other addresses");
    use_session(&session, UseOutcome::Blocked).await;
    use_session(&session, UseOutcome::Page(None)).await;
    use_session(&session, UseOutcome::Blocked).await;
    assert!(!session.is_burned(), "a page between them");
    use_session(&session, UseOutcome::Fault(FaultSource::Unclear)).await;
    assert!(session.is_burned() && session.should_replace(Instant::now()));
    assert!(!proxies.open_session(ANY).unwrap().should_replace(Instant::now()), "the gateway stays healthy");

    let dialect = crate::proxy::Dialect::find("oxylabs", None).unwrap();
    let idle_timeout = dialect.idle_timeout().expect("the dialect states it");
    let account = ProxyAccount::new(dialect, "jane", crate::text::redact::Secret::new("x"));
    let session = rotator(&ProxyPool::new().account(account)).open_session(ANY).unwrap();
    use_session(&session, UseOutcome::Page(None)).await;
    tokio::time::advance(idle_timeout.mul_f64(0.5)).await;
    assert!(!session.should_replace(Instant::now()));
    use_session(&session, UseOutcome::Page(None)).await;
    tokio::time::advance(idle_timeout.mul_f64(0.95)).await;
    assert!(session.should_replace(Instant::now()));
}

#[test]
fn a_rotating_gateway_needs_no_session_unless_one_address_is_required() {
    let rotating = rotator(&account("hunter2").mode(RotationMode::Rotating));
    assert_eq!(user(&rotating.open_session(ANY).unwrap()), "user-jane");
    let query = SessionQuery { single_address: true, ..ANY };
    let (one, two) = (rotating.open_session(query).unwrap(), rotating.open_session(query).unwrap());
    assert!(user(&one) != user(&two) && one.label() != two.label(), "{} {}", user(&one), user(&two));
    assert!(one.label().is_some_and(|label| !user(&one).contains(label)));
    let seeded = |seed| {
        user(&rotator(&account("x").mode(RotationMode::Rotating).seed(seed)).open_session(query).unwrap())
    };
    assert!(seeded(1) == seeded(1) && seeded(1) != seeded(2));
}

//! Waiting in line, on a stopped clock.

use futures_util::future::join_all;
use tokio::time::timeout;

use super::*;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn permit_request(url: &Url, pace: RateLimit) -> PermitRequest<'_> {
    PermitRequest { url, tier: Tier::Plain, rate_limit: pace, crawl_delay: Duration::ZERO, deadline: None }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_host_is_its_name_and_a_port_of_its_own() {
    for (text, expected) in [
        ("http://a.example/x", "a.example"),
        ("https://a.example:443/", "a.example"),
        ("https://A.example./", "a.example."),
        ("http://a.example:8080/", "a.example:8080"),
        ("http://[::1]:81/", "[::1]:81"),
    ] {
        assert_eq!(host_key(&url(text)), expected, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_go_in_order_of_arrival_and_as_far_apart_as_the_pace_says() {
    let (limits, url) = (HostLimiter::default(), url("https://a.example/"));
    let pace = RateLimit::new().interval(SECOND);
    let began = Instant::now();
    let went = join_all((0..5).map(|number| {
        let (limits, url) = (&limits, &url);
        async move {
            limits.acquire(&permit_request(url, pace)).await.unwrap().finish(RequestOutcome::Answered(None));
            (number, began.elapsed().as_secs())
        }
    }))
    .await;
    assert_eq!(went, [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_full_or_slow_holds_up_no_other() {
    let limits = HostLimiter::default();
    let (slow, quick) = (url("https://slow.example/"), url("https://quick.example/"));
    let pace = RateLimit::new().concurrency(1);
    let _held = limits.acquire(&permit_request(&slow, pace)).await.unwrap();
    let stuck = permit_request(&slow, pace);
    let waiting = limits.acquire(&stuck);
    assert!(timeout(SECOND, waiting).await.is_err());
    let began = Instant::now();
    for _ in 0..100 {
        limits.acquire(&permit_request(&quick, pace)).await.unwrap().finish(RequestOutcome::Answered(None));
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn leaving_the_queue_or_dropping_a_permit_lets_the_next_request_go() {
    let (limits, url) = (HostLimiter::default(), url("https://a.example/"));
    let asking = permit_request(&url, RateLimit::new().concurrency(1));
    let held = limits.acquire(&asking).await.unwrap();
    for _ in 0..10 {
        assert!(timeout(SECOND, limits.acquire(&asking)).await.is_err());
    }
    let mut second = pin!(limits.acquire(&asking));
    let mut third = pin!(limits.acquire(&asking));
    assert!(timeout(SECOND, &mut second).await.is_err());
    assert!(timeout(SECOND, &mut third).await.is_err());
    drop(held);
    let second = timeout(SECOND, second).await.unwrap().unwrap();
    assert!(timeout(SECOND, &mut third).await.is_err(), "one at a time");
    drop(second);
    timeout(SECOND, third).await.unwrap().unwrap();
    assert_eq!(limits.entry(&url).waiting.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn rest_is_given_before_the_next_request_and_a_request_that_cannot_wait_fails_at_once() {
    let (limits, url) = (HostLimiter::default(), url("https://a.example/"));
    let patient = permit_request(&url, RateLimit::new());
    let began = Instant::now();
    limits.set_rest(&url, 30 * SECOND);
    let hurried = PermitRequest { deadline: Some(began + 10 * SECOND), ..patient };
    let error = limits.acquire(&hurried).await.err().expect("it may not wait so long");
    assert_eq!((error.kind(), began.elapsed()), (ErrorKind::Blocked, Duration::ZERO));
    assert!(error.to_string().contains("a.example") && error.to_string().contains("30 s"), "{error}");
    let error = limits.wait_for_rest(&url, SECOND, None).await.expect_err("nor may this");
    assert_eq!((error.kind(), began.elapsed()), (ErrorKind::Blocked, Duration::ZERO));
    limits.wait_for_rest(&url, 60 * SECOND, None).await.unwrap();
    assert_eq!(began.elapsed(), 30 * SECOND);
    limits.set_rest(&url, 30 * SECOND);
    limits.acquire(&patient).await.unwrap();
    assert_eq!(began.elapsed(), 60 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn those_in_line_hear_of_a_rest_that_is_too_long_for_them() {
    let (limits, url) = (HostLimiter::default(), url("https://a.example/"));
    let asking = permit_request(&url, RateLimit::new().concurrency(1));
    let held = limits.acquire(&asking).await.unwrap();
    let began = Instant::now();
    let line = join_all((0..3).map(|_| limits.acquire(&asking)));
    let hour = async {
        tokio::time::sleep(SECOND).await;
        limits.set_rest(&url, 3600 * SECOND);
        drop(held);
    };
    let (left, ()) = tokio::join!(line, hour);
    assert!(left.iter().all(|left| left.as_ref().is_err_and(|error| error.kind() == ErrorKind::Blocked)));
    assert_eq!(began.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_keeps_failing_is_refused_by_the_kind_of_its_faults_until_a_probe_works() {
    let (limits, url) = (HostLimiter::default(), url("https://a.example/"));
    let asking = permit_request(&url, RateLimit::new());
    for _ in 0..5 {
        limits.acquire(&asking).await.unwrap().finish(RequestOutcome::Fault(ErrorKind::Tls));
    }
    let error = limits.acquire(&asking).await.err().expect("it is left alone");
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.to_string().contains("a.example failed 5 times in a row on the plain tier"), "{error}");
    tokio::time::advance(10 * SECOND).await;
    drop(limits.acquire(&asking).await.expect("a probe"));
    limits.acquire(&asking).await.expect("the next probe").finish(RequestOutcome::Answered(None));
    join_all((0..6).map(|_| limits.acquire(&asking)))
        .await
        .into_iter()
        .for_each(|permit| drop(permit.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn no_more_hosts_are_kept_than_allowed_and_those_that_rest_come_last() {
    let limits = HostLimiter::default();
    let resting = url("https://resting.example/");
    limits.set_rest(&resting, 3600 * SECOND);
    for number in 0..MAX_HOSTS + 10 {
        limits.entry(&url(&format!("https://h{number}.example/")));
    }
    assert!(limits.0.lock().unwrap().len() <= MAX_HOSTS);
    assert!(!limits.entry(&resting).state().rest_remaining(Instant::now()).is_zero());
}

//! The host limiter's queue, with a paused clock.

use futures_util::future::join_all;
use tokio::time::timeout;

use super::*;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn permit_request(url: &Url, rate_limit: RateLimit) -> PermitRequest<'_> {
    PermitRequest { url, tier: Tier::Plain, rate_limit, crawl_delay: Duration::ZERO, deadline: None }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_host_key_is_the_name_and_a_non_default_port() {
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
async fn requests_are_sent_in_order_of_arrival_at_the_configured_interval() {
    let (limiter, url) = (HostLimiter::default(), url("https://a.example/"));
    let rate_limit = RateLimit::new().interval(SECOND);
    let began = Instant::now();
    let starts = join_all((0..5).map(|number| {
        let (limiter, url) = (&limiter, &url);
        async move {
            limiter
                .acquire(&permit_request(url, rate_limit))
                .await
                .unwrap()
                .finish(RequestOutcome::Answered(None));
            (number, began.elapsed().as_secs())
        }
    }))
    .await;
    assert_eq!(starts, [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]);
}

#[tokio::test(start_paused = true)]
async fn a_host_at_capacity_does_not_delay_other_hosts() {
    let limiter = HostLimiter::default();
    let (slow, quick) = (url("https://slow.example/"), url("https://quick.example/"));
    let rate_limit = RateLimit::new().concurrency(1);
    let _permit = limiter.acquire(&permit_request(&slow, rate_limit)).await.unwrap();
    let stuck = permit_request(&slow, rate_limit);
    let waiting = limiter.acquire(&stuck);
    assert!(timeout(SECOND, waiting).await.is_err());
    let began = Instant::now();
    for _ in 0..100 {
        limiter
            .acquire(&permit_request(&quick, rate_limit))
            .await
            .unwrap()
            .finish(RequestOutcome::Answered(None));
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn leaving_the_queue_or_dropping_a_permit_admits_the_next_request() {
    let (limiter, url) = (HostLimiter::default(), url("https://a.example/"));
    let request = permit_request(&url, RateLimit::new().concurrency(1));
    let permit = limiter.acquire(&request).await.unwrap();
    for _ in 0..10 {
        assert!(timeout(SECOND, limiter.acquire(&request)).await.is_err());
    }
    let mut second = pin!(limiter.acquire(&request));
    let mut third = pin!(limiter.acquire(&request));
    assert!(timeout(SECOND, &mut second).await.is_err());
    assert!(timeout(SECOND, &mut third).await.is_err());
    drop(permit);
    let second = timeout(SECOND, second).await.unwrap().unwrap();
    assert!(timeout(SECOND, &mut third).await.is_err(), "one at a time");
    drop(second);
    timeout(SECOND, third).await.unwrap().unwrap();
    assert_eq!(limiter.entry(&url).waiting.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_requested_delay_is_kept_and_a_request_that_cannot_wait_fails_at_once() {
    let (limiter, url) = (HostLimiter::default(), url("https://a.example/"));
    let patient = permit_request(&url, RateLimit::new());
    let began = Instant::now();
    limiter.set_retry_after(&url, 30 * SECOND);
    let hurried = PermitRequest { deadline: Some(began + 10 * SECOND), ..patient };
    let error = limiter.acquire(&hurried).await.err().expect("it may not wait so long");
    assert_eq!((error.kind(), began.elapsed()), (ErrorKind::Blocked, Duration::ZERO));
    assert!(error.to_string().contains("a.example") && error.to_string().contains("30 s"), "{error}");
    let error = limiter.wait_for_retry_after(&url, SECOND, None).await.expect_err("this one may not either");
    assert_eq!((error.kind(), began.elapsed()), (ErrorKind::Blocked, Duration::ZERO));
    limiter.wait_for_retry_after(&url, 60 * SECOND, None).await.unwrap();
    assert_eq!(began.elapsed(), 30 * SECOND);
    limiter.set_retry_after(&url, 30 * SECOND);
    limiter.acquire(&patient).await.unwrap();
    assert_eq!(began.elapsed(), 60 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn queued_requests_fail_when_the_host_requests_a_delay_that_is_too_long() {
    let (limiter, url) = (HostLimiter::default(), url("https://a.example/"));
    let request = permit_request(&url, RateLimit::new().concurrency(1));
    let permit = limiter.acquire(&request).await.unwrap();
    let began = Instant::now();
    let queue = join_all((0..3).map(|_| limiter.acquire(&request)));
    let delay = async {
        tokio::time::sleep(SECOND).await;
        limiter.set_retry_after(&url, 3600 * SECOND);
        drop(permit);
    };
    let (results, ()) = tokio::join!(queue, delay);
    assert!(
        results.iter().all(|result| result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Blocked))
    );
    assert_eq!(began.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_failing_host_is_rejected_with_its_last_error_kind_until_a_probe_succeeds() {
    let (limiter, url) = (HostLimiter::default(), url("https://a.example/"));
    let request = permit_request(&url, RateLimit::new());
    for _ in 0..5 {
        limiter.acquire(&request).await.unwrap().finish(RequestOutcome::Fault(ErrorKind::Tls));
    }
    let error = limiter.acquire(&request).await.err().expect("the circuit is open");
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.to_string().contains("a.example failed 5 times in a row on the plain tier"), "{error}");
    tokio::time::advance(10 * SECOND).await;
    drop(limiter.acquire(&request).await.expect("a probe"));
    limiter.acquire(&request).await.expect("the next probe").finish(RequestOutcome::Answered(None));
    join_all((0..6).map(|_| limiter.acquire(&request)))
        .await
        .into_iter()
        .for_each(|permit| drop(permit.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn the_number_of_hosts_is_limited_and_delayed_hosts_are_kept() {
    let limiter = HostLimiter::default();
    let resting = url("https://resting.example/");
    limiter.set_retry_after(&resting, 3600 * SECOND);
    for number in 0..MAX_HOSTS + 10 {
        limiter.entry(&url(&format!("https://h{number}.example/")));
    }
    assert!(limiter.0.lock().unwrap().len() <= MAX_HOSTS);
    assert!(!limiter.entry(&resting).state().retry_after_remaining(Instant::now()).is_zero());
}

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode};

use super::*;
use crate::detect::Rules;
use crate::exchange::request::Request;
use crate::exchange::response::{Body, HttpVersion, ReceivedHead};
use crate::exchange::robots_policy::RobotsPolicy;
use crate::exchange::trace::Timings;
use crate::fingerprint::Profile;
use crate::identity::Identity;
use crate::memory::{HostMemory, SavedIdentityKey, SiteSection};
use crate::net::AttemptRequest;
use crate::net::{HttpClient, TrustConfig};
use crate::proxy::ProxyRules;
use crate::router::robots;
use crate::settings::budget::Budget;
use crate::settings::limits::Limits;
use crate::settings::rate_limit::RateLimit;
use crate::settings::render::RenderOptions;
use crate::settings::retry::RetryPolicy;
use crate::transport::Transport;

/// The site's response to an identity, by its index and tier: status, `cf-mitigated`, body.
type SiteScript = fn(usize, Tier) -> Result<(u16, Option<&'static str>, &'static [u8])>;

const PAGE: &[u8] = b"<!doctype html><title>a page</title><p>A page with some words in it.</p>";
const BLOCKED: Result<(u16, Option<&'static str>, &'static [u8])> =
    Ok((403, Some("block"), b"<title>no</title>"));

/// A transport without a network. It records the identity and the tier of each request.
struct ScriptedTransport {
    tier: Tier,
    site: SiteScript,
    requests: Arc<Mutex<Vec<(u64, Tier)>>>,
}

impl Transport for ScriptedTransport {
    fn tier(&self) -> Tier {
        self.tier
    }

    fn execute<'a>(&'a self, attempt: AttemptRequest<'a>) -> BoxFuture<'a, Result<RawResponse>> {
        let mut requests = self.requests.lock().unwrap();
        let key = attempt.identity.key();
        requests.push((key, self.tier));
        let mut identities: Vec<u64> = Vec::new();
        for (key, _) in requests.iter() {
            if !identities.contains(key) {
                identities.push(*key);
            }
        }
        let index = identities.iter().position(|other| *other == key).unwrap();
        let response = (self.site)(index, self.tier).map(|(status, mitigated, body)| {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", "text/html".parse().unwrap());
            if let Some(value) = mitigated {
                headers.insert("cf-mitigated", value.parse().unwrap());
            }
            RawResponse {
                status: StatusCode::from_u16(status).unwrap(),
                version: HttpVersion::Http2,
                headers,
                received: ReceivedHead::default(),
                url: attempt.request.url.clone(),
                redirects: Vec::new(),
                body: Body::Buffered(Bytes::from_static(body)),
                timings: Timings::default(),
                browser: None,
            }
        });
        async move { response }.boxed()
    }
}

fn identity_pair(profile: &Arc<Profile>) -> Arc<IdentityPair> {
    let identity = || Identity::new("x", Arc::clone(profile), None).with_proxy_rules(ProxyRules::default());
    let (plain, browser) = (identity(), identity());
    let memory_key = Some(SavedIdentityKey::new(None, &browser));
    Arc::new(IdentityPair { plain, browser, memory_key, proxy_session: None, is_direct_fallback: false })
}

/// A pool with `left` proxies. It records the reason for each switch.
struct ScriptedPool {
    profile: Arc<Profile>,
    left: Mutex<u32>,
    faults: Mutex<Vec<bool>>,
}

impl IdentitySource for ScriptedPool {
    fn alternatives(&self, _: &IdentityPair) -> Alternatives {
        Alternatives { proxy: *self.left.lock().unwrap() > 0, ..Alternatives::default() }
    }

    fn fresh_session(&self, _: &IdentityPair) -> Result<Arc<IdentityPair>> {
        Err(Error::new(ErrorKind::Proxy, "no fresh session"))
    }

    fn other_proxy(&self, _: &IdentityPair, is_faulty: bool) -> Result<Arc<IdentityPair>> {
        *self.left.lock().unwrap() -= 1;
        self.faults.lock().unwrap().push(is_faulty);
        Ok(identity_pair(&self.profile))
    }
}

struct RunResult {
    result: Result<RawResponse<StoredBody>>,
    trace: Trace,
    /// The requests in order: index of the identity from 0, and tier.
    requests: Vec<(usize, Tier)>,
    faults: Vec<bool>,
    future_size: usize,
}

async fn run(site: SiteScript, proxies: u32, budget: Budget) -> RunResult {
    let profile = Profile::named("chrome-156-linux").unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let transports = Tier::ALL.map(|tier| -> Arc<dyn Transport> {
        Arc::new(ScriptedTransport { tier, site, requests: Arc::clone(&requests) })
    });
    let client = HttpClient::new(Arc::default(), TrustConfig::default()).unwrap();
    let robots_cache = robots::RobotsCache::new(Arc::new(client), Profile::named("plain").unwrap());
    let router = Router::new(transports.into(), Rules::shipped(), robots_cache, HostMemory::new());
    let pool =
        ScriptedPool { profile: Arc::clone(&profile), left: Mutex::new(proxies), faults: Mutex::default() };
    let request = Request::get("https://a.example/".parse().unwrap());
    let section = Arc::new(SiteSection::from_url(&request.url));
    let plan = FetchPlan {
        request: &request,
        site_section: &section,
        limits: &Limits::default(),
        policy: EscalationPolicy {
            min: Tier::Impersonate,
            start: Tier::Impersonate,
            max: Tier::Browser,
            retry_policy: RetryPolicy::default(),
            budget,
        },
        render: &RenderOptions::default(),
        body_sink: &BodySink::Memory,
        expectation: None,
        rules: None,
        robots: RobotsPolicy::Ignore,
        rate_limit: RateLimit::default(),
        identity_source: Some(&pool),
        observer: None,
        capture: None,
    };
    let first = FirstIdentities { identities: identity_pair(&profile), probe_fallback: None };
    let running = router.run(&plan, first);
    let future_size = size_of_val(&running);
    let (result, trace) = running.await;
    let mut numbers: HashMap<u64, usize> = HashMap::new();
    let keys = requests.lock().unwrap().clone();
    let mut number = |key| {
        let next = numbers.len();
        *numbers.entry(key).or_insert(next)
    };
    let requests = keys.into_iter().map(|(key, tier)| (number(key), tier)).collect();
    let faults = pool.faults.lock().unwrap().clone();
    RunResult { result, trace, requests, faults, future_size }
}

#[tokio::test(start_paused = true)]
async fn a_hard_block_continues_with_another_proxy_on_the_same_tier() {
    let site: SiteScript = |index, _| if index == 0 { BLOCKED } else { Ok((200, None, PAGE)) };
    let ran = run(site, 3, Budget::default()).await;
    assert!(ran.result.is_ok());
    assert_eq!(ran.requests, [(0, Tier::Impersonate), (1, Tier::Impersonate)]);
    assert_eq!(ran.trace.attempts()[0].next.as_deref(), Some("new exit: cloudflare block"));
    assert_eq!(ran.faults, [false]);
}

#[tokio::test(start_paused = true)]
async fn one_other_proxy_is_tried_and_then_its_identity_escalates() {
    let ran = run(|_, _| BLOCKED, 3, Budget::default()).await;
    assert!(ran.result.is_err_and(|error| error.is_blocked()));
    assert_eq!(ran.requests, [(0, Tier::Impersonate), (1, Tier::Impersonate), (1, Tier::Browser)]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_proxy_is_replaced_and_without_another_the_fetch_fails_with_its_error() {
    let site: SiteScript = |index, _| match index {
        0 | 1 => Err(Error::new(ErrorKind::Proxy, "dead")),
        _ => Ok((200, None, PAGE)),
    };
    let ran = run(site, 2, Budget::default()).await;
    assert!(ran.result.is_ok());
    assert_eq!((ran.requests.len(), ran.faults), (3, vec![true, true]));
    let ran = run(site, 0, Budget::default()).await;
    assert_eq!(ran.result.err().unwrap().kind(), ErrorKind::Proxy);
    assert_eq!(ran.requests, [(0, Tier::Impersonate)]);
}

#[tokio::test(start_paused = true)]
async fn a_new_identity_in_the_browser_earns_the_clearance_for_the_tier_below() {
    let site: SiteScript = |index, tier| match (index, tier) {
        (_, Tier::Impersonate) => Ok((403, Some("challenge"), b"<title>Just a moment...</title>")),
        (0, _) => BLOCKED,
        _ => Ok((200, None, PAGE)),
    };
    let ran = run(site, 1, Budget::default()).await;
    assert!(ran.result.is_ok());
    assert_eq!(ran.requests, [(0, Tier::Impersonate), (0, Tier::Browser), (1, Tier::Browser)]);
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_budget_ends_the_fetch_with_a_hint() {
    let attempts = Budget { attempts: 1, ..Budget::default() };
    let visits = Budget { visits: 0, ..Budget::default() };
    let bytes = Budget { bytes: Some(10), ..Budget::default() };
    for (budget, flag) in [(attempts, "--max-attempts"), (visits, "--max-visits"), (bytes, "--max-bytes")] {
        let ran = run(|_, _| BLOCKED, 0, budget).await;
        let error = ran.result.err().unwrap();
        assert!(error.is_blocked() && error.hint().is_some_and(|hint| hint.contains(flag)), "{error:?}");
        assert_eq!(ran.requests.len(), 1, "{flag}");
    }
    let elapsed = Budget { elapsed: Some(Duration::from_secs(3)), ..Budget::default() };
    let ran = run(|_, _| Ok((429, None, b"<title>slow down</title>")), 0, elapsed).await;
    let error = ran.result.err().unwrap();
    assert!(error.hint().is_some_and(|hint| hint.contains("budget.elapsed")), "{error:?}");
    assert_eq!(ran.requests.len(), 2, "a delay of 2 s fits into the budget, one of 4 s does not");
}

#[tokio::test]
async fn the_future_of_a_fetch_is_small() {
    let ran = run(|_, _| Ok((200, None, PAGE)), 0, Budget::default()).await;
    println!("{} bytes", ran.future_size);
    // Callers hold thousands of fetches. The waits that most fetches do not need are boxed.
    assert!(ran.future_size < 8 * 1024, "{} bytes", ran.future_size);
}

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::*;
use crate::budget::Budget;
use crate::fingerprint::Profile;
use crate::net::{HttpClient, TrustConfig};
use crate::proxy::ProxyRules;
use crate::retry::RetryPolicy;

/// What the site answers to whom: status, `cf-mitigated`, body, for the persona's number on a tier.
type SiteScript = fn(usize, Tier) -> Result<(u16, Option<&'static str>, &'static [u8])>;

const PAGE: &[u8] = b"<!doctype html><title>a page</title><p>A page with some words in it.</p>";
const BLOCKED: Result<(u16, Option<&'static str>, &'static [u8])> =
    Ok((403, Some("block"), b"<title>no</title>"));

/// A tier that asks no network, and notes who asked.
struct ScriptedTransport {
    tier: Tier,
    site: SiteScript,
    asked: Arc<Mutex<Vec<(u64, Tier)>>>,
}

impl Transport for ScriptedTransport {
    fn tier(&self) -> Tier {
        self.tier
    }

    fn execute<'a>(&'a self, job: AttemptRequest<'a>) -> BoxFuture<'a, Result<RawResponse>> {
        let mut asked = self.asked.lock().unwrap();
        let key = job.identity.key();
        asked.push((key, self.tier));
        let mut known: Vec<u64> = Vec::new();
        for (key, _) in asked.iter() {
            if !known.contains(key) {
                known.push(*key);
            }
        }
        let who = known.iter().position(|other| *other == key).unwrap();
        let answer = (self.site)(who, self.tier).map(|(status, mitigated, body)| {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", "text/html".parse().unwrap());
            if let Some(value) = mitigated {
                headers.insert("cf-mitigated", value.parse().unwrap());
            }
            RawResponse {
                status: StatusCode::from_u16(status).unwrap(),
                version: HttpVersion::Http2,
                headers,
                url: job.request.url.clone(),
                redirects: Vec::new(),
                body: Body::Buffered(Bytes::from_static(body)),
                timings: Timings::default(),
                browser: None,
            }
        });
        async move { answer }.boxed()
    }
}

fn identity_pair(profile: &Arc<Profile>) -> Arc<IdentityPair> {
    let identity = || Identity::new("x", Arc::clone(profile), None).with_proxy_rules(ProxyRules::default());
    let (plain, dressed) = (identity(), identity());
    let who = Some(SavedIdentityKey::new(None, &dressed));
    Arc::new(IdentityPair {
        plain,
        browser: dressed,
        memory_key: who,
        proxy_session: None,
        is_direct_fallback: false,
    })
}

/// So many exits, and a note of why each was asked for.
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
        Err(Error::new(ErrorKind::Proxy, "there is none"))
    }

    fn other_proxy(&self, _: &IdentityPair, faulty: bool) -> Result<Arc<IdentityPair>> {
        *self.left.lock().unwrap() -= 1;
        self.faults.lock().unwrap().push(faulty);
        Ok(identity_pair(&self.profile))
    }
}

struct RunResult {
    found: Result<FetchedResponse>,
    trace: Trace,
    /// Who asked, counted from 0 as they came, on which tier.
    asked: Vec<(usize, Tier)>,
    faults: Vec<bool>,
}

async fn run(site: SiteScript, exits: u32, budget: Budget) -> RunResult {
    let profile = Profile::named("chrome-156-linux").unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let transports = Tier::ALL.map(|tier| -> Arc<dyn Transport> {
        Arc::new(ScriptedTransport { tier, site, asked: Arc::clone(&asked) })
    });
    let engine = HttpClient::new(Arc::default(), TrustConfig::default()).unwrap();
    let files = robots::RobotsCache::new(Arc::new(engine), Profile::named("plain").unwrap());
    let router = Router::new(transports.into(), Rules::shipped(), files, HostMemory::new(None));
    let pool =
        ScriptedPool { profile: Arc::clone(&profile), left: Mutex::new(exits), faults: Mutex::default() };
    let request = Request::get("https://a.example/".parse().unwrap());
    let area = Arc::new(SiteSection::from_url(&request.url));
    let errand = FetchPlan {
        request: &request,
        site_section: &area,
        identities: &identity_pair(&profile),
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
        sent_request: None,
        probe_fallback: None,
    };
    let (found, trace) = router.run(&errand).await;
    let mut numbers: HashMap<u64, usize> = HashMap::new();
    let keys = asked.lock().unwrap().clone();
    let mut number = |key| {
        let next = numbers.len();
        *numbers.entry(key).or_insert(next)
    };
    let asked = keys.into_iter().map(|(key, tier)| (number(key), tier)).collect();
    let faults = pool.faults.lock().unwrap().clone();
    RunResult { found, trace, asked, faults }
}

#[tokio::test(start_paused = true)]
async fn a_hard_block_goes_on_out_of_another_exit_on_the_same_tier() {
    let site: SiteScript = |who, _| if who == 0 { BLOCKED } else { Ok((200, None, PAGE)) };
    let ran = run(site, 3, Budget::default()).await;
    assert!(ran.found.is_ok());
    assert_eq!(ran.asked, [(0, Tier::Impersonate), (1, Tier::Impersonate)]);
    assert_eq!(ran.trace.attempts()[0].next.as_deref(), Some("new exit: cloudflare block"));
    assert_eq!(ran.faults, [false]);
}

#[tokio::test(start_paused = true)]
async fn one_exit_is_tried_and_then_the_new_one_climbs() {
    let ran = run(|_, _| BLOCKED, 3, Budget::default()).await;
    assert!(ran.found.is_err_and(|error| error.is_blocked()));
    assert_eq!(ran.asked, [(0, Tier::Impersonate), (1, Tier::Impersonate), (1, Tier::Browser)]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_proxy_is_replaced_and_without_another_the_fetch_fails_with_its_error() {
    let site: SiteScript = |who, _| match who {
        0 | 1 => Err(Error::new(ErrorKind::Proxy, "dead")),
        _ => Ok((200, None, PAGE)),
    };
    let ran = run(site, 2, Budget::default()).await;
    assert!(ran.found.is_ok());
    assert_eq!((ran.asked.len(), ran.faults), (3, vec![true, true]));
    let ran = run(site, 0, Budget::default()).await;
    assert_eq!(ran.found.err().unwrap().kind(), ErrorKind::Proxy);
    assert_eq!(ran.asked, [(0, Tier::Impersonate)]);
}

#[tokio::test(start_paused = true)]
async fn a_new_identity_in_the_browser_earns_the_clearance_for_the_tier_below() {
    let site: SiteScript = |who, tier| match (who, tier) {
        (_, Tier::Impersonate) => Ok((403, Some("challenge"), b"<title>Just a moment...</title>")),
        (0, _) => BLOCKED,
        _ => Ok((200, None, PAGE)),
    };
    let ran = run(site, 1, Budget::default()).await;
    assert!(ran.found.is_ok());
    assert_eq!(ran.asked, [(0, Tier::Impersonate), (0, Tier::Browser), (1, Tier::Browser)]);
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_ends_a_fetch_with_what_it_has() {
    let attempts = Budget { attempts: 1, ..Budget::default() };
    let visits = Budget { visits: 0, ..Budget::default() };
    let bytes = Budget { bytes: Some(10), ..Budget::default() };
    for (budget, flag) in [(attempts, "--max-attempts"), (visits, "--max-visits"), (bytes, "--max-bytes")] {
        let ran = run(|_, _| BLOCKED, 0, budget).await;
        let error = ran.found.err().unwrap();
        assert!(error.is_blocked() && error.hint().is_some_and(|hint| hint.contains(flag)), "{error:?}");
        assert_eq!(ran.asked.len(), 1, "{flag}");
    }
    let late = Budget { elapsed: Some(Duration::from_secs(3)), ..Budget::default() };
    let ran = run(|_, _| Ok((429, None, b"<title>slow down</title>")), 0, late).await;
    let error = ran.found.err().unwrap();
    assert!(error.hint().is_some_and(|hint| hint.contains("budget.elapsed")), "{error:?}");
    assert_eq!(ran.asked.len(), 2, "a wait of 2 s fits, one of 4 s does not");
}

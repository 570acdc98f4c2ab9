//! The demo origin: four sites on one loopback port, selected by host name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::authority::Authority;
use super::challenge::ChallengeMode;
use super::chromium::{Chromium, LaunchOptions};
use super::recorder::Recorder;
use super::reference::Reference;
use super::sites::{DemoSites, REFERENCE_END, REFERENCE_PATH, SiteCounters};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

/// The host names of the sites: open, gated by fingerprint, challenged by script, closed.
pub const SITES: [&str; 4] = ["open.test", "gated.test", "challenged.test", "closed.test"];

const RECORDING_TIMEOUT: Duration = Duration::from_secs(30);

/// A running demo origin. Dropping it stops the server.
pub struct DemoOrigin {
    recorder: Recorder,
    authority: Arc<Authority>,
    sites: Arc<DemoSites>,
}

impl DemoOrigin {
    /// Starts the origin on a free port. gated.test accepts requests that match `reference`. Default: the
    /// installed Chromium is started once and recorded.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] or [`ErrorKind::Tls`] when the server cannot start, [`ErrorKind::Browser`] when
    /// no reference is given and Chromium cannot be recorded.
    pub async fn start(reference: Option<Reference>) -> Result<Self> {
        let authority = Arc::new(Authority::new(&[SITES.as_slice(), &["localhost", "127.0.0.1"]].concat())?);
        let sites = Arc::new(DemoSites::default());
        let recorder = {
            let sites = Arc::clone(&sites);
            Recorder::builder()
                .tls(Arc::clone(&authority), &["h2", "http/1.1"])
                .start(move |exchange| sites.respond(exchange))
                .await?
        };
        let origin = Self { recorder, authority, sites };
        let reference = match reference {
            Some(reference) => reference,
            None => origin.record().await?,
        };
        origin.sites.reference.get_or_init(|| reference);
        Ok(origin)
    }

    /// The listening address, always on 127.0.0.1.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.recorder.addr()
    }

    /// The CA certificate, for `--cacert`.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.authority.ca_pem()
    }

    /// The recording with which gated.test compares requests.
    #[must_use]
    pub fn reference(&self) -> Option<&Reference> {
        self.sites.reference.get()
    }

    /// The URL of one of [`SITES`], with the port. The client must resolve its name to 127.0.0.1.
    #[must_use]
    pub fn url(&self, site: &str) -> String {
        format!("https://{site}:{}/", self.addr().port())
    }

    /// The underlying recorder: its address and recorded connections.
    #[must_use]
    pub const fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The authority that signed the certificate.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The counters of all sites.
    #[must_use]
    pub fn counts(&self) -> SiteCounters {
        *self.sites.counts()
    }

    /// Sets the behaviour of challenged.test from now on. Default: [`ChallengeMode::default`].
    pub fn set_challenge_mode(&self, mode: ChallengeMode) {
        self.sites.set_challenge_mode(mode);
    }

    /// The reason for the last rejection: the parts in which a request to gated.test differs from the
    /// reference, or the reason that challenged.test rejected an answer.
    #[must_use]
    pub fn last_refusal(&self) -> Vec<&'static str> {
        self.sites.last_refusal()
    }

    /// Starts Chromium against this origin and records it.
    async fn record(&self) -> Result<Reference> {
        let chromium = Chromium::start(LaunchOptions {
            pin: Some(self.authority.pin()?),
            rules: Some("MAP *.test 127.0.0.1".to_owned()),
            ..LaunchOptions::default()
        })
        .await?;
        let start = format!("https://open.test:{}{REFERENCE_PATH}", self.addr().port());
        // Two visits: the first sets a cookie, so that the second shows the position of the cookie header.
        for visit in 1..=2 {
            chromium.open(&start).await?;
            let complete = self.recorder.wait_until(RECORDING_TIMEOUT, |all| {
                all.iter().flat_map(|c| &c.requests).filter(|r| r.path == REFERENCE_END).count() >= visit
            });
            if !complete.await {
                let message = format!(
                    "timed out after {RECORDING_TIMEOUT:?} waiting for Chromium to complete the recording"
                );
                return Err(Error::new(ErrorKind::Browser, message));
            }
        }
        chromium.stop().await?;
        let clients = self.recorder.clients();
        let reference = Reference::from_clients(&clients);
        self.recorder.clear();
        reference.ok_or_else(|| Error::new(ErrorKind::Browser, "Chromium did not use HTTP/2 with the lab"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::challenge;
    use super::super::recording::RecordedConnection;
    use super::super::sites::CLEARANCE_COOKIE;
    use super::super::test_client::{TestClient, TestResponse};
    use super::*;

    const AGENT: (&str, &str) = ("user-agent", "Test/1.0");

    /// The recorded reference of Chromium 156.
    fn chrome() -> Reference {
        let text = include_str!("../../fixtures/references/chrome-156-linux.json");
        serde_json::from_str(text).unwrap()
    }

    fn client(origin: &DemoOrigin) -> TestClient<'_> {
        TestClient { addr: origin.addr(), authority: origin.authority(), ciphers: None }
    }

    fn clearance(response: &TestResponse) -> Option<String> {
        let cookie = response.headers.get("set-cookie")?.to_str().ok()?;
        cookie.split(';').next()?.strip_prefix(&format!("{CLEARANCE_COOKIE}=")).map(str::to_owned)
    }

    /// Passes the challenge as the page's script does.
    async fn pass_challenge(caller: &TestClient<'_>) -> String {
        let page = caller.get("challenged.test", "/", &[AGENT]).await;
        let (_, rest) = page.text.split_once("cN: \"").unwrap();
        let body = challenge::solve(rest.split('"').next().unwrap(), AGENT.1);
        let response = caller.send("POST", "challenged.test", "/__lab/verify", &[AGENT], &body).await;
        assert_eq!(response.status, 200, "{}", response.text);
        clearance(&response).unwrap()
    }

    #[tokio::test]
    async fn open_answers_every_client_and_closed_refuses_every_client() {
        let origin = DemoOrigin::start(Some(chrome())).await.unwrap();
        let caller = client(&origin);
        let open = caller.get("open.test", "/", &[]).await;
        assert_eq!(open.status, 200);
        assert!(open.text.len() > 3000);
        let closed = caller.get("closed.test", "/", &[]).await;
        assert_eq!((closed.status, closed.headers["cf-mitigated"].as_bytes()), (403, b"block".as_slice()));
        assert_eq!((origin.counts().open, origin.counts().closed), (1, 1));
    }

    #[tokio::test]
    async fn gated_refuses_a_plain_client_and_says_why() {
        let origin = DemoOrigin::start(Some(chrome())).await.unwrap();
        let response = client(&origin).get("gated.test", "/", &[AGENT]).await;
        assert_eq!(response.status, 403);
        assert!(response.text.contains("Access Denied"));
        assert_eq!((origin.counts().gated_refused, origin.counts().gated_passed), (1, 0));
        for part in ["ciphers", "extensions", "ja4", "akamai", "headers"] {
            assert!(origin.last_refusal().contains(&part), "{part}");
        }
    }

    #[tokio::test]
    async fn gated_accepts_a_client_that_equals_the_recording() {
        let headers = [AGENT, ("accept", "*/*"), ("cookie", "a=b"), ("priority", "u=0, i")];
        let recorded = DemoOrigin::start(Some(chrome())).await.unwrap();
        client(&recorded).get("open.test", "/", &headers).await;
        let reference = Reference::from_clients(&recorded.recorder().clients()).unwrap();

        let origin = DemoOrigin::start(Some(reference)).await.unwrap();
        let caller = client(&origin);
        assert_eq!(caller.get("gated.test", "/", &headers).await.status, 200);
        let without_cookie = [headers[0], headers[1], headers[3]];
        assert_eq!(caller.get("gated.test", "/", &without_cookie).await.status, 200);

        let other_order = [headers[1], headers[0], headers[3]];
        assert_eq!(caller.get("gated.test", "/", &other_order).await.status, 403);
        assert_eq!(origin.last_refusal(), ["headers"]);
        let other_hello = TestClient { ciphers: Some("ECDHE-ECDSA-AES128-GCM-SHA256"), ..caller };
        assert_eq!(other_hello.get("gated.test", "/", &headers).await.status, 403);
        assert!(!origin.last_refusal().contains(&"headers"));
    }

    #[tokio::test]
    async fn a_clearance_is_valid_only_with_its_fingerprint_and_user_agent() {
        let origin = DemoOrigin::start(Some(chrome())).await.unwrap();
        let caller = client(&origin);
        let cookie = format!("{CLEARANCE_COOKIE}={}", pass_challenge(&caller).await);
        let again = caller.get("challenged.test", "/", &[AGENT, ("cookie", &cookie)]).await;
        assert_eq!(again.status, 200);

        let other_agent = [("user-agent", "Other/1.0"), ("cookie", &cookie)];
        let refused = caller.get("challenged.test", "/", &other_agent).await;
        assert_eq!(
            (refused.status, refused.headers["cf-mitigated"].as_bytes()),
            (403, b"challenge".as_slice())
        );

        let other_hello = TestClient { ciphers: Some("ECDHE-ECDSA-AES128-GCM-SHA256"), ..caller };
        let refused = other_hello.get("challenged.test", "/", &[AGENT, ("cookie", &cookie)]).await;
        assert_eq!(refused.status, 403);

        let counts = origin.counts();
        assert_eq!((counts.verifies, counts.clearances, counts.challenged_passed), (1, 1, 1));
        assert_eq!(counts.challenges, 3);
    }

    #[tokio::test]
    async fn a_client_can_read_its_own_recording() {
        let origin = DemoOrigin::start(Some(chrome())).await.unwrap();
        let response = client(&origin).get("open.test", "/__lab/me", &[AGENT]).await;
        let me: serde_json::Value = serde_json::from_str(&response.text).unwrap();
        assert_eq!(me["over"], "h2");
        assert_eq!(me["requests"][0]["headers"][0], serde_json::json!(["user-agent", "Test/1.0"]));
        assert!(me["ja4"].as_str().unwrap().starts_with("t13d"));
    }

    /// An installed Chromium passes both the gate and the challenge.
    #[tokio::test]
    async fn the_machines_chromium_passes_gate_and_challenge() {
        if Chromium::find().is_none() {
            eprintln!("skipped: no Chromium on this machine");
            return;
        }
        let origin = DemoOrigin::start(None).await.unwrap();
        let reference = origin.reference().unwrap();
        assert!(reference.requests.len() >= 4, "{reference:#?}");
        let chromium = Chromium::start(LaunchOptions {
            pin: Some(origin.authority().pin().unwrap()),
            rules: Some("MAP *.test 127.0.0.1".to_owned()),
            ..LaunchOptions::default()
        })
        .await
        .unwrap();
        chromium.open(&origin.url("gated.test")).await.unwrap();
        chromium.open(&origin.url("challenged.test")).await.unwrap();
        let pages = |all: &[RecordedConnection], host: &str| {
            let requests = all.iter().flat_map(|c| &c.requests);
            requests.filter(|r| r.host() == host && r.path == "/").count()
        };
        let done =
            |all: &[RecordedConnection]| pages(all, "gated.test") >= 1 && pages(all, "challenged.test") >= 2;
        let reached = origin.recorder().wait_until(RECORDING_TIMEOUT, done).await;
        assert!(reached, "{:?} {:?}", origin.counts(), origin.last_refusal());
        // A request is recorded before its response is sent. A further response comes after both.
        chromium.open(&origin.url("open.test")).await.unwrap();
        let open = |all: &[RecordedConnection]| pages(all, "open.test") >= 1;
        assert!(origin.recorder().wait_until(RECORDING_TIMEOUT, open).await);
        chromium.stop().await.unwrap();
        let counts = origin.counts();
        assert_eq!((counts.gated_passed, counts.gated_refused), (1, 0), "{:?}", origin.last_refusal());
        assert_eq!((counts.challenges, counts.verifies, counts.clearances), (1, 1, 1));
        assert_eq!(counts.challenged_passed, 1);
    }
}

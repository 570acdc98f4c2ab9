//! `rungs lab` reports to a client its fingerprints.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use rungs::fingerprint::{Fingerprints, Profile};
use rungs::{Fetcher, Tier};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::rungs;

/// A running lab. Dropping it kills the process.
struct Lab {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    url: String,
    ca: String,
}

impl Lab {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rungs"))
            .arg("lab")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program was built with the tests");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut line = |mark: &str| {
            let mut line = String::new();
            stdout.read_line(&mut line).expect("the lab prints lines");
            line.strip_prefix(mark).unwrap_or_else(|| panic!("no {mark}: {line}")).trim().to_owned()
        };
        let (url, ca) = (line("url "), line("ca "));
        Self { child, _stdout: stdout, url, ca }
    }

    fn fetcher(&self, tier: Tier) -> Fetcher {
        Fetcher::builder()
            .min_tier(tier)
            .max_tier(tier)
            .ca_file(&self.ca)
            .build()
            .expect("the settings are good")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lab_reports_to_each_tier_the_fingerprints_of_its_profile() {
    let lab = Lab::start(&[]);
    for (tier, name) in [(Tier::Impersonate, "chrome-156-linux"), (Tier::Plain, "plain")] {
        let promised = Fingerprints::for_profile(&Profile::named(name).expect("it is shipped"));
        let page = lab.fetcher(tier).get(format!("{}json?x", lab.url)).send().await.expect("the lab answers");
        let seen: Value =
            serde_json::from_str(&page.text().expect("text")).expect("the lab answers with JSON");
        assert_eq!(seen["ja4"], promised.ja4.as_str(), "{name}");
        assert_eq!(seen["ja4_r"], promised.ja4_r.as_str(), "{name}");
        assert_eq!(seen["akamai"], promised.akamai.as_str(), "{name}");
        assert_eq!(seen["akamai_hash"], promised.akamai_hash.as_str(), "{name}");
        assert_eq!(seen["request"]["path"], "/json?x");
        let hpack = seen["request"]["hpack"].as_array().expect("fields");
        assert!(hpack.iter().any(|field| field["form"] == "incremental"), "{name}");
    }
    let page = lab.fetcher(Tier::Impersonate).get(&lab.url).send().await.expect("the lab answers");
    let text = page.text().expect("text");
    assert!(text.contains("t13d1517h2_8daaf6152771_cb7bf5808d99"), "{text}");
    // The escaped quotes of client hints.
    assert!(text.contains("<td>sec-ch-ua-platform<td>&quot;Linux&quot;"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_derived_profile_is_used_on_the_wire() {
    let lab = Lab::start(&[]);
    let chrome = Fingerprints::for_profile(&Profile::named("chrome-156-linux").expect("it is shipped"));
    for name in ["edge-156-windows", "google-chrome-156-android"] {
        let profile = Profile::named(name).expect("it is shipped");
        let browser = profile.browser.clone().expect("it is a browser's");
        let fetcher = Fetcher::builder()
            .min_tier(Tier::Impersonate)
            .max_tier(Tier::Impersonate)
            .browser_profile(profile)
            .ca_file(&lab.ca)
            .build()
            .expect("the settings are good");
        let page = fetcher.get(format!("{}json", lab.url)).send().await.expect("the lab answers");
        let seen: Value =
            serde_json::from_str(&page.text().expect("text")).expect("the lab answers with JSON");
        assert_eq!(seen["ja4"], chrome.ja4.as_str());
        let headers = seen["request"]["headers"].as_array().expect("headers");
        let value =
            |name: &str| headers.iter().find(|field| field[0] == name).expect("it is sent")[1].clone();
        assert_eq!(value("user-agent"), browser.user_agent.as_str());
        assert_eq!(value("sec-ch-ua"), rungs::fingerprint::brands::header(&browser.brands).as_str());
        assert_eq!(value("sec-ch-ua-mobile"), if browser.mobile { "?1" } else { "?0" });
        assert_eq!(value("sec-ch-ua-platform"), format!("\"{}\"", browser.platform).as_str());
    }
}

#[test]
fn ctrl_c_ends_the_lab_and_its_temporary_certificate() {
    let mut lab = Lab::start(&["--listen", "127.0.0.1:0"]);
    assert!(std::fs::read_to_string(&lab.ca).is_ok_and(|pem| pem.starts_with("-----BEGIN CERTIFICATE")));
    let id = i32::try_from(lab.child.id()).ok().and_then(Pid::from_raw).expect("a child has an id");
    kill_process(id, Signal::INT).expect("the lab runs");
    assert_eq!(lab.child.wait().expect("the lab ends").code(), Some(0));
    assert!(!std::path::Path::new(&lab.ca).exists());
}

#[test]
fn the_lab_certificate_is_written_to_the_given_path() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("ca.pem");
    let lab = Lab::start(&["--cert-out", file.to_str().expect("a plain name")]);
    assert_eq!(lab.ca, file.to_str().expect("a plain name"));
    drop(lab);
    assert!(file.exists());
}

#[test]
fn the_lab_listens_on_loopback_only() {
    for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0", "nonsense"] {
        let run = rungs(["lab", "--listen", address]);
        assert_eq!(run.code, 2, "{run}");
    }
}

//! Certificates of every kind on all tiers. The installed Chromium is the measure of the two HTTP tiers.

mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use boring::hash::MessageDigest;

use self::table::Expected::{Accepted, Refused, Stricter};
use self::table::{Case, Table};
use crate::support::{CertFolder, Draft, Program, RawServer, answer, rsa_key, rungs};

/// The servers of all cases, and their trust store.
struct Servers {
    cases: Vec<(Case, RawServer)>,
    cacert: String,
    _folder: CertFolder,
}

impl Servers {
    fn start() -> Self {
        let folder = CertFolder::new();
        let table = Table::new();
        let cacert = folder.trusted(&table.trusted);
        let cases = table.cases.into_iter().enumerate().map(|(index, case)| {
            let leaf = folder.leaf(&index.to_string(), &case.made);
            (case, RawServer::start_tls(&leaf, b"", answer("<p>a page that is long enough to be read</p>")))
        });
        Self { cases: cases.collect(), cacert, _folder: folder }
    }

    /// Fetches all cases on a tier. Returns the message of each title's error, or `None`.
    fn fetch(&self, tier: &str, trust: &[&str]) -> BTreeMap<&'static str, Option<String>> {
        let mut titles = BTreeMap::new();
        let mut resolve = Vec::new();
        for (case, server) in &self.cases {
            let url = format!("https://{}:{}/", case.host, server.port());
            if case.host != "127.0.0.1" {
                resolve.push("--resolve".to_owned());
                resolve.push(format!("{}:{}:127.0.0.1", case.host, server.port()));
            }
            titles.insert(url, case.title);
        }
        let list: Vec<&str> = titles.keys().map(String::as_str).collect();
        // Chromium takes 3 s for each wrong name: it looks for a similar name that is right.
        let fixed = [
            "batch",
            "-",
            "--tier",
            tier,
            "--retry",
            "0",
            "--robots",
            "ignore",
            "--concurrency",
            "8",
            "--no-progress",
        ];
        let arguments = fixed.iter().chain(trust).copied().chain(resolve.iter().map(String::as_str));
        let program = Program::new().input(list.join("\n")).limit(Duration::from_secs(400));
        let run = program.run(arguments);
        let text = run.text();
        let records = text.lines().map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let title = record["url"].as_str().and_then(|url| titles.get(url));
            (*title.expect("a listed URL"), record["error"]["message"].as_str().map(str::to_owned))
        });
        let found: BTreeMap<_, _> = records.collect();
        assert_eq!(found.len(), self.cases.len(), "each title is there once\n{run}");
        found
    }
}

#[test]
fn every_tier_accepts_and_refuses_the_same_certificates() {
    let servers = Servers::start();
    let trust = ["--cacert", servers.cacert.as_str()];
    let mut wrong = Vec::new();
    for tier in ["plain", "impersonate", "browser"] {
        let found = servers.fetch(tier, &trust);
        for (case, _) in &servers.cases {
            let error = found[case.title].as_deref();
            let as_expected = match (case.expected, error) {
                (Accepted, None) => true,
                (Stricter(_), None) => tier == "browser",
                (Refused(_), Some(message)) if tier == "browser" => message.contains("ERR_CERT_"),
                (Refused(words) | Stricter(words), Some(message)) => {
                    tier != "browser" && message.contains(words)
                }
                _ => false,
            };
            if !as_expected {
                wrong.push(format!("{tier}: {}: {:?}, but {error:?}", case.title, case.expected));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} x 3:\n{}", wrong.len(), servers.cases.len(), wrong.join("\n"));
}

#[test]
fn insecure_accepts_what_the_rules_refuse() {
    let servers = Servers::start();
    for tier in ["plain", "impersonate"] {
        for (title, error) in servers.fetch(tier, &["-k"]) {
            assert_eq!(error, None, "{tier}: {title}");
        }
    }
}

#[test]
fn a_refusal_says_what_the_certificate_needs() {
    let folder = CertFolder::new();
    let root = Draft::authority("a root").self_signed();
    let cacert = folder.trusted(std::slice::from_ref(&root));
    for (draft, needed) in [
        (Draft::server("127.0.0.1"), "the host in `subjectAltName`"),
        (address().key(rsa_key(768)), "an RSA key of 2048 bits or more"),
        (address().signed_with(MessageDigest::sha1()), "SHA-256, SHA-384 or SHA-512"),
    ] {
        let leaf = folder.leaf("leaf", &draft.signed_by(&root));
        let server = RawServer::start_tls(&leaf, b"", answer("a page"));
        let run = rungs(["fetch", "--max-tier", "impersonate", "--cacert", &cacert, &server.url("/")]);
        assert_eq!(run.code, 1, "{run}");
        let hint = run.stderr.lines().find(|line| line.starts_with("hint: ")).unwrap_or_default();
        assert!(hint.contains(needed) && hint.contains("`-k`"), "{run}");
        assert!(server.heads().is_empty(), "nothing is requested\n{run}");
    }
}

#[test]
fn an_https_proxy_is_held_to_the_same_rules() {
    let folder = CertFolder::new();
    let root = Draft::authority("a root").self_signed();
    let cacert = folder.trusted(std::slice::from_ref(&root));
    let leaf = folder.leaf("leaf", &address().signed_with(MessageDigest::sha1()).signed_by(&root));
    let proxy = RawServer::start_tls(&leaf, b"", answer("a page"));
    let fetch = |trust: &[&str]| {
        let url = ["--retry", "0", "-x", &proxy.url(""), "http://site.test/"];
        rungs(["fetch", "--tier", "plain"].iter().chain(trust).chain(&url))
    };
    let run = fetch(&["--proxy-cacert", &cacert]);
    assert_eq!(run.code, 1, "{run}");
    assert!(run.stderr.contains("is signed with ecdsa-with-SHA1"), "{run}");
    assert!(proxy.heads().is_empty(), "nothing is requested\n{run}");
    let run = fetch(&["--proxy-insecure"]);
    assert_eq!((run.code, run.text().as_str()), (0, "a page"), "{run}");
}

fn address() -> Draft {
    Draft::server("a site").with("subjectAltName", "IP:127.0.0.1")
}

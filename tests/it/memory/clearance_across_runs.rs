//! A clearance from one run of the program that the next run uses. Uses the lab's challenged site and the installed
//! Chromium.

use std::fs;

use rungs::lab::{CLEARANCE_COOKIE, DemoOrigin, SITES};

use crate::support::{FinishedRun, Program, Squid, SquidOptions};

const CHALLENGED: &str = SITES[2];

/// The lab's origin, and the arguments with which the program resolves its sites to it.
struct Lab {
    origin: DemoOrigin,
    resolve: String,
}

impl Lab {
    async fn start(program: &Program) -> Self {
        let origin = DemoOrigin::start(None).await.expect("the lab starts");
        fs::write(program.home().join("ca.pem"), origin.ca_pem()).expect("the CA is written");
        let resolve = format!("*:{}:{}", origin.addr().port(), origin.addr().ip());
        Self { origin, resolve }
    }

    fn fetch(&self, program: &Program, more: &[&str]) -> (Vec<String>, FinishedRun) {
        let url = self.origin.url(CHALLENGED);
        let base = ["fetch", "--format", "json", "--cacert", "ca.pem", "--resolve", &self.resolve];
        let run = program.run(base.iter().chain(more).copied().chain([url.as_str()]));
        assert_eq!(run.code, 0, "{run}");
        let json = run.json();
        let attempts = json["attempts"].as_array().expect("attempts").iter();
        (attempts.map(|attempt| attempt["tier"].as_str().expect("a tier").to_owned()).collect(), run)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_run_of_a_cleared_host_needs_no_browser_and_another_session_does() {
    let program = Program::new();
    let lab = Lab::start(&program).await;
    assert_eq!(lab.fetch(&program, &[]).0, ["plain", "impersonate", "browser"]);
    assert_eq!(lab.fetch(&program, &[]).0, ["impersonate"]);
    assert_eq!((lab.origin.counts().clearances, lab.origin.counts().verifies), (1, 1));

    // It is not used in another session or with memory switched off.
    assert_eq!(lab.fetch(&program, &["--session", "default"]).0, ["browser"]);
    assert_eq!(lab.origin.counts().clearances, 2);
    assert_eq!(lab.fetch(&program, &["--session", "default"]).0, ["impersonate"]);
    assert_eq!(lab.fetch(&program, &["--no-memory"]).0, ["plain", "impersonate", "browser"]);

    // Nor with another location or language.
    for more in [["--lang", "de-DE"], ["--timezone", "Asia/Tokyo"], ["--geolocation", "52.52,13.40"]] {
        assert_eq!(lab.fetch(&program, &more).0, ["browser"], "{more:?}");
        assert_eq!(lab.fetch(&program, &more).0, ["impersonate"], "{more:?}");
    }
    let shown = program.run(["memory", "show", CHALLENGED]).text();
    assert!(["(de-DE)", "(Asia/Tokyo)", "(52.52,13.4)"].iter().all(|place| shown.contains(place)), "{shown}");

    let shown = program.run(["memory", "show", CHALLENGED]);
    assert!(shown.text().contains(CLEARANCE_COOKIE), "{shown}");
    let exported = program.run(["memory", "export", "-"]).text();
    let value =
        exported.split(&format!("\"name\":\"{CLEARANCE_COOKIE}\",\"value\":\"")).nth(1).expect("a cookie");
    let value = value.split('"').next().expect("its value");
    assert!(value.len() > 8 && !shown.text().contains(value), "no value is shown");
    let json = program.run(["memory", "show", "--format", "json"]);
    assert!(
        !json.text().contains(value) && json.json()["identities"].as_array().expect("a list").len() == 5,
        "{json}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clearance_of_a_proxy_session_is_reused_by_the_next_run_from_the_same_exit() {
    let program = Program::new();
    let lab = Lab::start(&program).await;
    let squid = Squid::start_with(&SquidOptions { any_credentials: true, ..SquidOptions::default() });
    let gateway = squid.url_without_user();
    let account =
        ["--dialect", "decodo", "--gateway", &gateway, "-U", "jane:hunter2", "--session-ttl", "24h"];
    assert_eq!(lab.fetch(&program, &account).0, ["plain", "impersonate", "browser"]);
    let first = squid.requests(3).len();
    assert_eq!(lab.fetch(&program, &account).0, ["impersonate"]);
    let requests = squid.requests(first + 1);
    let users: Vec<_> = requests.iter().map(|request| request.user.clone()).collect();
    assert!(users.iter().all(|user| *user == users[0]), "{users:?}");
    let other = [&account[..], &["--session", "other"]].concat();
    assert_eq!(lab.fetch(&program, &other).0, ["browser"], "another exit has no clearance");
    let exported = program.run(["memory", "export", "-"]).text();
    assert!(!exported.contains("jane") && !exported.contains("hunter2"), "{exported}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_given_by_the_user_are_never_written_down() {
    let program = Program::new();
    let lab = Lab::start(&program).await;
    fs::write(
        program.home().join("cookies.txt"),
        format!("{CHALLENGED}\tFALSE\t/\tTRUE\t0\tlogin\tfromthefile\n"),
    )
    .expect("it is written");
    lab.fetch(&program, &["-b", "cookies.txt"]);
    lab.fetch(&program, &["-b", "typed=fromtheflag"]);
    let exported = program.run(["memory", "export", "-"]).text();
    assert!(exported.contains(CLEARANCE_COOKIE), "{exported}");
    assert!(!exported.contains("fromthefile") && !exported.contains("fromtheflag"), "{exported}");
    for entry in fs::read_dir(program.home().join("data/rungs")).expect("the folder") {
        let bytes = fs::read(entry.expect("an entry").path()).expect("a file");
        for secret in [b"fromthefile", b"fromtheflag"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
    }
}

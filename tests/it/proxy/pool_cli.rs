//! Pools and accounts on the command line and in targets.

use std::fs;

use crate::support::{Certs, FinishedRun, Nginx, Program, RawServer, Site, Squid, SquidOptions, rungs};

const ANY_CREDENTIALS: SquidOptions<'_> =
    SquidOptions { certificate: None, no_auth: false, any_credentials: true, outgoing_address: None };

fn fetch<'a>(certs: &'a Certs, arguments: &[&'a str]) -> FinishedRun {
    let fixed = ["fetch", "--tier", "impersonate", "--cacert", certs.ca(), "--format", "json"];
    rungs(fixed.into_iter().chain(arguments.iter().copied()))
}

#[test]
fn an_account_uses_its_dialect_and_reads_its_password_from_env_file_or_command() {
    let certs = Certs::new();
    let (nginx, squid) = (Nginx::start(&certs), Squid::start_with(&ANY_CREDENTIALS));
    let url = nginx.url_by(Site::H2, "site.test", "/page/hello");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    fs::write(&file, "hunter2\n").expect("it is written");
    let gateway = squid.url_without_user();
    let account = ["--dialect", "decodo", "--gateway", &gateway, "-U", "janedoe", "--country", "us"];
    let by_file = ["--password-file", file.to_str().expect("UTF-8")];
    for (seen, (wishes, user)) in [
        (vec!["--proxy-mode", "rotating"], "user-janedoe-country-us"),
        (vec![], "user-janedoe-country-us-session-"),
        (vec!["--session", "shop", "--session-ttl", "30m"], "user-janedoe-country-us-session-"),
        (vec!["--proxy-mode", "rotating", "--city", "New York"], "user-janedoe-country-us-city-new_york"),
    ]
    .into_iter()
    .enumerate()
    {
        let run = fetch(&certs, &[&account[..], &by_file, &wishes, &["-vvv", &url]].concat());
        assert_eq!(run.code, 0, "{run}");
        let request = squid.requests(seen + 1).remove(seen);
        let passed = request.user.expect("a user");
        assert!(passed.starts_with(user), "{passed}");
        assert_eq!(passed.ends_with("-sessionduration-30"), wishes.contains(&"30m"), "{passed}");
        let got = run.json();
        let attempt = &got["attempts"][0];
        assert_eq!(attempt["proxy"], format!("http://***@127.0.0.1:{}", squid.port()), "{run}");
        assert_eq!(attempt["session"].is_string(), passed.contains("-session-"), "{run}");
        assert_eq!(attempt["fallback"], false);
        for secret in ["janedoe", "hunter2"] {
            assert!(!run.to_string().contains(secret), "{secret} in {run}");
        }
    }
    let by_command = ["--password-command", "echo hunter2"];
    assert_eq!(fetch(&certs, &[&account[..], &by_command, &[&url]].concat()).code, 0);
    let run = fetch(&certs, &[&account[..], &["--password-command", "exit 3", &url]].concat());
    assert!(run.code == 3 && run.stderr.contains("--password-command"), "{run}");
}

#[test]
fn unsupported_dialect_options_and_invalid_lists_are_reported_before_any_request() {
    let certs = Certs::new();
    let squid = Squid::start_with(&ANY_CREDENTIALS);
    let gateway = squid.url_without_user();
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("list");
    fs::write(&list, "# ours\nftp://janedoe:hunter2@gate.example\n").expect("it is written");
    let list = list.to_str().expect("UTF-8");
    let account = ["--dialect", "decodo", "--gateway", &gateway, "-U", "jane:hunter2"];
    for (arguments, code, words) in [
        (
            [&account[..], &["--country", "de", "--state", "Berlin"]].concat(),
            3,
            "only in these countries: us",
        ),
        ([&account[..], &["--session-ttl", "25h"]].concat(), 3, "from 1m to 1day"),
        ([&account[..], &["--session-ttl", "soon"]].concat(), 2, "--session-ttl"),
        ([&account[..], &["--isp", "Acme"]].concat(), 3, "does not support `isp`"),
        (vec!["--dialect", "esperanto", "-U", "jane:x"], 3, "esperanto"),
        (vec!["-x", &gateway, "--country", "us"], 3, "requires an account at a proxy provider"),
        (vec!["--proxies", list], 3, "list:2"),
        (vec!["--proxies", "nowhere.txt"], 3, "nowhere.txt"),
        (vec!["--proxies", list, "-x", &gateway], 2, "cannot be used with"),
        (vec!["--proxy-concurrency", "0", "-x", &gateway], 2, "--proxy-concurrency"),
    ] {
        let run = fetch(&certs, &[&arguments[..], &["https://site.test:1/"]].concat());
        assert!(run.code == code && run.stderr.contains(words), "{arguments:?} {words}\n{run}");
        assert!(!run.to_string().contains("hunter2"), "{run}");
    }
}

#[test]
fn a_list_comes_from_a_file_from_an_address_or_from_repeated_flags() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let squids = [Squid::start_with(&ANY_CREDENTIALS), Squid::start_with(&ANY_CREDENTIALS)];
    let urls: Vec<String> = squids.iter().map(|squid| squid.url_as("u", "p")).collect();
    let text = format!("# two\n{}\n{} # the second\n", urls[0], urls[1]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("list");
    fs::write(&file, &text).expect("it is written");
    let list = text.clone();
    let server = RawServer::start(move |conn| {
        conn.read_head()?;
        let length = list.len();
        conn.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{list}"
        ))
    });
    let page = nginx.url_by(Site::H1, "site.test", "/page/hello");
    let address = server.url("/list.txt");
    for (at, flags) in [
        vec!["--proxies", file.to_str().expect("UTF-8")],
        vec!["--proxies", &address],
        vec!["-x", &urls[0], "-x", &urls[1]],
    ]
    .into_iter()
    .enumerate()
    {
        let pages = [page.as_str(); 8];
        let mode = ["--proxy-mode", "rotating", "--format", "jsonl"];
        let fixed = ["fetch", "--tier", "plain", "--cacert", certs.ca()];
        let run = rungs([&fixed[..], &flags, &mode, &pages].concat());
        assert_eq!(run.code, 0, "{flags:?} {run}");
        let together: usize = squids.iter().map(|squid| squid.requests(0).len()).sum();
        assert_eq!(together, 8 * (at + 1), "a connection each: {flags:?}");
    }
    assert!(squids.iter().all(|squid| !squid.requests(1).is_empty()), "both are used");
    assert_eq!(server.connections(), 1, "the list is asked for once");
}

#[test]
fn a_target_names_a_pool_and_shows_it_without_its_secrets() {
    let certs = Certs::new();
    let (nginx, squid) = (Nginx::start(&certs), Squid::start_with(&ANY_CREDENTIALS));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shop.toml");
    let target = format!(
        "schema = 1\n[match]\nhosts = [\"site.test\"]\n[proxy]\ndialect = \"decodo\"\ngateway = \"{}\"\nuser = \"janedoe\"\npassword = \"hunter2\"\n\
         country = \"us\"\nmode = \"per-host\"\nsession_ttl = \"30m\"\nfallback = \"none\"\nconcurrency = 4\n",
        squid.url_without_user()
    );
    fs::write(&file, target).expect("it is written");
    let program = Program::new().variable("RUNGS_TARGETS", folder.path().to_str().expect("UTF-8"));
    let url = nginx.url_by(Site::H2, "site.test", "/page/hello");
    let run = program.run(["target", "show", &url]);
    assert_eq!(run.code, 0, "{run}");
    for words in [
        "proxy.dialect",
        "\"decodo\"",
        "proxy.mode",
        "\"per-host\"",
        "proxy.session_ttl",
        "proxy.password",
        "\"***\"",
    ] {
        assert!(run.text().contains(words), "{words}\n{run}");
    }
    let fetched = program.run(["fetch", "--tier", "impersonate", "--cacert", certs.ca(), &url]);
    assert_eq!(fetched.code, 0, "{fetched}");
    let user = squid.requests(1).remove(0).user.expect("a user");
    assert!(
        user.starts_with("user-janedoe-country-us-session-") && user.ends_with("-sessionduration-30"),
        "{user}"
    );
    let other = program.run([
        "fetch",
        "--tier",
        "impersonate",
        "--cacert",
        certs.ca(),
        "--proxy-mode",
        "rotating",
        &url,
    ]);
    assert_eq!(other.code, 0, "flags come before: {other}");
    assert_eq!(squid.requests(2).remove(1).user.as_deref(), Some("user-janedoe-country-us"));
    for run in [run, fetched, other] {
        assert!(!run.to_string().contains("janedoe") && !run.to_string().contains("hunter2"), "{run}");
    }
}

//! The program against a real nginx: versions, redirects, codings, charsets, cookies, statuses, connections.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Certs, FinishedRun, Nginx, Program, RunningProgram, Site, rungs};

const HTTP_TIERS: [&str; 2] = ["plain", "impersonate"];

/// A fetch that trusts the test's authority, on the HTTP tiers only.
fn fetch(certs: &Certs, arguments: &[&str]) -> FinishedRun {
    let fixed = ["fetch", "--cacert", certs.ca(), "--max-tier", "impersonate"];
    rungs(fixed.into_iter().chain(arguments.iter().copied()))
}

/// The same on one tier.
fn fetch_on(tier: &str, certs: &Certs, arguments: &[&str]) -> FinishedRun {
    let fixed = ["fetch", "--cacert", certs.ca(), "--tier", tier];
    rungs(fixed.into_iter().chain(arguments.iter().copied()))
}

/// A field in the response of `/echo`.
fn heard<'a>(echo: &'a str, field: &str) -> &'a str {
    let line = echo.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {field} in {echo}"))
}

/// The records of a `--format jsonl` run.
fn lines(run: &FinishedRun) -> Vec<Value> {
    run.text().lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

#[test]
fn both_http_tiers_speak_what_the_server_offers() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let mut count = 0;
    for tier in HTTP_TIERS {
        for (site, version, protocol, tls) in [
            (Site::H2, "2", "HTTP/2.0", "TLSv1.3"),
            (Site::H1, "1.1", "HTTP/1.1", "TLSv1.3"),
            (Site::Tls12, "2", "HTTP/2.0", "TLSv1.2"),
            (Site::Clear, "1.1", "HTTP/1.1", ""),
        ] {
            let run = fetch_on(tier, &certs, &["--format", "json", &nginx.url(site, "/page/700k")]);
            assert_eq!(run.code, 0, "{tier} {site:?}\n{run}");
            let got = run.json();
            assert_eq!(got["http_version"], version, "{tier} {site:?}");
            assert_eq!(got["body"].as_str().map(str::as_bytes), Some(&*nginx.page("700k")));
            count += 1;
            let visits = nginx.visits(count);
            let last = visits.last().expect("one a fetch");
            assert_eq!(
                (last.protocol.as_str(), last.tls.trim_matches('-')),
                (protocol, tls),
                "{tier} {site:?}"
            );
            assert_eq!(last.user_agent.starts_with("rungs/"), tier == "plain", "{}", last.user_agent);
        }
    }
}

#[test]
fn redirects_keep_or_drop_the_body_according_to_their_status() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    for site in [Site::H2, Site::H1] {
        for status in [301, 302, 303, 307, 308] {
            let url = nginx.url(site, &format!("/redirect/{status}"));
            let run = fetch(&certs, &[&url]);
            assert_eq!(heard(&run.text(), "method"), "GET", "{status}\n{run}");
            let run = fetch(&certs, &["-d", "a=1&b=2", &url]);
            let keeps = status >= 307;
            let text = run.text();
            let expected =
                if keeps { ("POST", "7", "application/x-www-form-urlencoded") } else { ("GET", "", "") };
            let got = (heard(&text, "method"), heard(&text, "content-length"), heard(&text, "content-type"));
            assert_eq!(got, expected, "{site:?} {status}");
        }
    }
    let run = fetch(&certs, &["-I", &nginx.url(Site::H1, "/redirect/303")]);
    assert!(run.text().starts_with("HTTP/1.1 200 OK\r\n"), "{run}");
    assert_eq!(nginx.visits(1).last().expect("a visit").method, "HEAD", "a HEAD stays one");
}

#[test]
fn redirects_end_after_twenty_with_exit_6() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let run = fetch(&certs, &["--format", "json", &nginx.url(Site::H2, "/redirect/chain/20#part")]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(run.json()["final_url"], nginx.url(Site::H2, "/echo#part"), "{run}");
    for (path, words) in [
        ("/redirect/chain/21", "more than 20 redirects"),
        ("/redirect/loop", "more than 20 redirects"),
        ("/redirect/ping", "more than 20 redirects"),
        ("/redirect/bad", "malformed URL"),
        ("/redirect/scheme", "`ftp`"),
    ] {
        let run = fetch(&certs, &[&nginx.url(Site::H2, path)]);
        assert_eq!(run.code, 6, "{path}\n{run}");
        assert!(run.stderr.contains(words), "{path}\n{run}");
        assert!(run.stdout.is_empty(), "{path}\n{run}");
    }
}

#[test]
fn credentials_do_not_cross_origins() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let secrets = [
        "-b",
        "mine=1",
        "-H",
        "authorization: Bearer t0ken",
        "-H",
        "x-test: t0ken",
        "-H",
        "accept-language: fy",
    ];
    let ask = |path: &str| {
        let url = nginx.url(Site::H2, path);
        fetch(&certs, &[&secrets[..], &[&url]].concat()).text()
    };
    let same = ask("/redirect/302");
    assert_eq!((heard(&same, "authorization"), heard(&same, "cookie")), ("Bearer t0ken", "mine=1"));
    let other = ask("/redirect/out");
    assert_eq!((heard(&other, "authorization"), heard(&other, "cookie")), ("", ""), "{other}");
    assert_eq!((heard(&other, "x-test"), heard(&other, "accept-language")), ("", "fy"));

    let with_user = |path: &str| nginx.url(Site::H2, path).replace("https://", "https://jane:hunter2@");
    let same = fetch(&certs, &[&with_user("/redirect/302")]).text();
    assert_eq!(heard(&same, "authorization"), "Basic amFuZTpodW50ZXIy");
    let other = fetch(&certs, &[&with_user("/redirect/out")]).text();
    assert_eq!(heard(&other, "authorization"), "");
}

#[test]
fn compressed_pages_come_out_as_they_were() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    for tier in HTTP_TIERS {
        for (folder, coding) in [("gzip", "gzip"), ("br", "br")] {
            if coding == "br" && !nginx.has_brotli() {
                continue;
            }
            let url = nginx.url(Site::H2, &format!("/{folder}/700k"));
            let run = fetch_on(tier, &certs, &["--format", "json", &url]);
            let got = run.json();
            assert_eq!(
                got["body"].as_str().map(str::as_bytes),
                Some(&*nginx.page("700k")),
                "{tier} {coding}"
            );
            assert_eq!(got["body_bytes"], Nginx::LARGE);
            assert_eq!(header(&got, "content-encoding"), Some(coding), "{tier}");
        }
    }
}

/// A header in a JSON record.
fn header<'a>(answer: &'a Value, name: &str) -> Option<&'a str> {
    let fields = answer["headers"].as_array().expect("headers are a list");
    fields.iter().find(|field| field[0] == name).and_then(|field| field[1].as_str())
}

#[test]
fn text_is_decoded_by_header_mark_and_meta_while_the_body_stays_bytes() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    for (name, expected) in [("latin1", "café"), ("meta", "Привет"), ("bom", "café")] {
        let url = nginx.url(Site::H1, &format!("/page/{name}"));
        let json = fetch(&certs, &["--format", "json", &url]).json();
        assert!(json["body"].as_str().is_some_and(|body| body.contains(expected)), "{name} {json}");
        assert_eq!(fetch(&certs, &[&url]).stdout, nginx.page(name), "{name}");
    }
}

#[test]
fn cookies_return_to_their_own_site_within_one_call() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    for (tier, site) in [("plain", Site::H2), ("impersonate", Site::H2), ("plain", Site::H1)] {
        let urls = [
            nginx.url_by(site, "site.test", "/cookies/set"),
            nginx.url_by(site, "site.test", "/echo"),
            nginx.url_by(site, "www.site.test", "/echo"),
            nginx.url_by(site, "other.test", "/echo"),
            nginx.url_by(site, "site.test", "/cookies/clear"),
            nginx.url_by(site, "site.test", "/echo"),
        ];
        let resolve = nginx.resolve(site, "*");
        let mut arguments = vec!["--resolve", &resolve, "--format", "jsonl"];
        arguments.extend(urls.iter().map(String::as_str));
        let run = fetch_on(tier, &certs, &arguments);
        assert_eq!(run.code, 0, "{run}");
        let got: Vec<String> = lines(&run)
            .iter()
            .filter_map(|line| {
                line["body"].as_str().filter(|body| body.contains("cookie: ")).map(str::to_owned)
            })
            .map(|body| heard(&body, "cookie").to_owned())
            .collect();
        let expected = [
            "session=s1; lasting=l1; domain=d1; secure=x1",
            "domain=d1",
            "",
            "session=s1; domain=d1; secure=x1",
        ];
        assert_eq!(got, expected, "{tier} {site:?}");
    }
    // A cookie for https only is not taken from a site without it.
    let urls = ["/cookies/set", "/echo"].map(|path| nginx.url_by(Site::Clear, "site.test", path));
    let run = fetch(&certs, &["--resolve", &nginx.resolve(Site::Clear, "*"), &urls[0], &urls[1]]);
    assert_eq!(heard(&run.text(), "cookie"), "session=s1; lasting=l1; domain=d1");
}

#[test]
fn head_post_and_the_users_own_headers_arrive_as_typed() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    for site in [Site::H2, Site::H1, Site::Clear] {
        let run = fetch(&certs, &["-I", &nginx.url(site, "/page/10k")]);
        assert_eq!(run.code, 0, "{run}");
        let text = run.text();
        assert!(text.starts_with("HTTP/") && text.ends_with("\r\n\r\n"), "{run}");
        // Names are shown as received: HTTP/2 has none in upper case.
        let name = if site == Site::H2 { "content-length" } else { "Content-Length" };
        assert!(text.contains(&format!("\r\n{name}: 10240\r\n")), "{run}");

        let run = fetch(&certs, &["-d", "name=J%C3%BCrgen", "-d", "x=1", &nginx.url(site, "/body")]);
        assert_eq!(run.text(), "name=J%C3%BCrgen&x=1", "{site:?}\n{run}");

        let echo = nginx.url(site, "/echo?q=a%20b&r=%22#part");
        let run = fetch(
            &certs,
            &[
                "-X",
                "PUT",
                "-d",
                "abc",
                "-A",
                "me/1.0",
                "-H",
                "X-Test: one",
                "-H",
                "Accept:",
                "-H",
                "content-type: text/plain",
                &echo,
            ],
        );
        let text = run.text();
        for (field, expected) in [
            ("method", "PUT"),
            ("uri", "/echo?q=a%20b&r=%22"),
            ("content-length", "3"),
            ("content-type", "text/plain"),
            ("user-agent", "me/1.0"),
            ("x-test", "one"),
            ("accept", ""),
        ] {
            assert_eq!(heard(&text, field), expected, "{site:?} {field}");
        }
    }
}

#[test]
fn headers_of_a_connection_are_not_sent_over_http_2() {
    // Each of them makes the request malformed there (RFC 9113, section 8.2.2).
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    for tier in HTTP_TIERS {
        for line in [
            "Connection: keep-alive",
            "Connection: close",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive",
            "Upgrade: websocket",
            "TE: gzip",
        ] {
            let run = fetch_on(tier, &certs, &["-H", line, "-H", "X-Test: 1", &nginx.url(Site::H2, "/echo")]);
            assert_eq!(run.code, 0, "{tier} {line}\n{run}");
            assert_eq!(heard(&run.text(), "x-test"), "1", "{tier} {line}");
        }
    }
}

#[test]
fn a_password_in_the_url_is_sent_as_basic_authentication() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let with = |credentials: &str| nginx.url(Site::H2, "/auth").replace("//", &format!("//{credentials}@"));
    let run = fetch(&certs, &[&with("reader:open%20sesame")]);
    assert_eq!((run.code, run.stdout.clone()), (0, nginx.page("hello")), "{run}");
    // A site that asks for a password has answered: no climb, no failure unless -f.
    for url in [with("reader:wrong"), nginx.url(Site::H2, "/auth")] {
        let got = fetch(&certs, &["--format", "json", &url]).json();
        assert_eq!(got["status"], 401, "{got}");
        assert_eq!(got["attempts"].as_array().map(Vec::len), Some(1), "{got}");
        assert_eq!(got["attempts"][0]["verdict"]["kind"], "genuine", "{got}");
        assert_eq!(fetch(&certs, &["-f", &url]).code, 4);
    }
}

#[test]
fn each_status_leads_to_its_next_step() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    for (status, code, attempts, verdict) in [
        (204, 0, &["plain"][..], "genuine"),
        (404, 0, &["plain"], "genuine"),
        (410, 0, &["plain"], "genuine"),
        (500, 0, &["plain"], "genuine"),
        (403, 7, &["plain", "impersonate"], "block"),
        (429, 7, &["plain", "plain"], "rate_limit"),
        (503, 0, &["plain", "plain"], "origin_error"),
    ] {
        let url = nginx.url(Site::H2, &format!("/status/{status}"));
        let run = fetch(&certs, &["--retry", "1", "--format", "json", &url]);
        assert_eq!(run.code, code, "{status}\n{run}");
        let got = run.json();
        assert_eq!(got["status"], status);
        let tried: Vec<&str> =
            got["attempts"].as_array().expect("a list").iter().filter_map(|a| a["tier"].as_str()).collect();
        assert_eq!(tried, attempts, "{status}");
        assert_eq!(got["attempts"][0]["verdict"]["kind"], verdict, "{status}");
        if code == 7 {
            assert_eq!(got["error"]["kind"], "blocked", "{status}");
        }
    }
}

#[test]
fn several_urls_in_one_call_share_one_connection() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let mut seen = 0;
    for tier in HTTP_TIERS {
        for site in [Site::H2, Site::H1, Site::Clear, Site::Tls12] {
            let paths = ["/page/10k", "/redirect/302", "/gzip/10k", "/status/404", "/page/hello"];
            let urls = paths.map(|path| nginx.url(site, path));
            let run = fetch_on(tier, &certs, &urls.each_ref().map(String::as_str));
            assert_eq!(run.code, 0, "{run}");
            let visits = nginx.visits(seen + 6).split_off(seen);
            seen += visits.len();
            assert_eq!(visits.len(), 6);
            let connections: HashSet<u64> = visits.iter().map(|visit| visit.connection).collect();
            assert_eq!(connections.len(), 1, "{tier} {site:?} {visits:?}");
        }
    }
}

#[test]
fn a_second_connection_resumes_the_tls_session() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let mut seen = 0;
    for tier in HTTP_TIERS {
        // A session of TLS 1.2 is used again and again, a ticket of TLS 1.3 once, and each connection brings new ones.
        for site in [Site::H1, Site::Old] {
            let url = nginx.url(site, "/page/hello");
            let run = fetch_on(tier, &certs, &["-H", "connection: close", &url, &url, &url, &url]);
            assert_eq!(run.code, 0, "{run}");
            let visits = nginx.visits(seen + 4).split_off(seen);
            seen += visits.len();
            let resumed: Vec<bool> = visits.iter().map(|visit| visit.resumed).collect();
            assert_eq!(resumed, [false, true, true, true], "{tier} {site:?} {visits:?}");
            let connections: HashSet<u64> = visits.iter().map(|visit| visit.connection).collect();
            assert_eq!(connections.len(), 4, "{tier} {site:?}");
        }
    }
}

#[test]
fn a_large_body_streams_to_a_file_without_being_held() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let program = Program::new();
    let peak_of = |page: &str| {
        let url = nginx.url(Site::H2, &format!("/page/{page}"));
        let run =
            program.start(["fetch", "--tier", "plain", "--cacert", certs.ca(), "-o", "out", url.as_str()]);
        let peak = peak_memory(&run);
        let run = run.finish();
        assert_eq!(run.code, 0, "{run}");
        assert!(run.stdout.is_empty(), "{run}");
        assert!(
            fs::read(program.home().join("out")).expect("the file is there") == nginx.page(page),
            "{page}"
        );
        peak
    };
    let (small, huge) = (peak_of("700k"), peak_of("40m"));
    assert!(huge < small + Nginx::HUGE / 2, "{small} bytes for 700 kB, {huge} for 40 MiB");
    let entries = fs::read_dir(program.home()).expect("the home is there");
    let parts =
        entries.filter(|e| e.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().contains("part")));
    assert_eq!(parts.count(), 0, "no half file is left");
}

/// The peak memory of a run until just before its end, in bytes.
fn peak_memory(run: &RunningProgram) -> usize {
    let path = format!("/proc/{}/status", run.id());
    let mut peak = 0;
    // A zombie process has no memory figures.
    while let Some(now) = fs::read_to_string(&path).ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:").map(str::to_owned))?;
        line.trim().strip_suffix(" kB")?.parse::<usize>().ok()
    }) {
        peak = now * 1024;
        std::thread::sleep(Duration::from_millis(1));
    }
    peak
}

#[test]
fn resolve_answers_for_one_name_and_port_only() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let resolve = nginx.resolve(Site::H2, "site.test");
    let url = nginx.url_by(Site::H2, "SITE.test", "/echo");
    let run = fetch(&certs, &["--resolve", &resolve, &url]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(heard(&run.text(), "host"), format!("site.test:{}", nginx.port(Site::H2)));
    // `localhost` is both families; nginx listens on one.
    let run = fetch(&certs, &[&nginx.url_by(Site::Clear, "localhost", "/page/hello")]);
    assert_eq!((run.code, run.stdout.clone()), (0, nginx.page("hello")), "{run}");
    let elsewhere = nginx.url_by(Site::H1, "site.invalid", "/echo");
    let run = fetch(&certs, &["--retry", "0", "--resolve", &resolve, "--format", "json", &elsewhere]);
    assert_eq!((run.code, &run.json()["error"]["kind"]), (1, &Value::from("dns")), "{run}");
}

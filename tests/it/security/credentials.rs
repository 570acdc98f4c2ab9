//! What the caller gives for a URL goes to its origin (scheme, host and port) and to no other: by links, sitemaps,
//! redirects and robots.txt, in records, and by what pages in the browser ask for.

use std::fs;
use std::io;
use std::sync::{Arc, OnceLock};

use crate::support::{Certs, FinishedRun, Program, RawConnection, RawServer};

/// What no other site may read. The values of headers and cookies, and Base64 of `jane:hunter2`.
const SECRETS: [&str; 4] = ["t0ken", "swordfish", "c00kie", "amFuZTpodW50ZXIy"];
const GIVEN: [&str; 8] = [
    "-H",
    "Authorization: Bearer t0ken",
    "-H",
    "X-Api-Key: swordfish",
    "-b",
    "session=c00kie",
    "-H",
    "Accept-Language: fy",
];
const COMMON: [&str; 4] = ["--no-memory", "--no-progress", "--retry", "0"];
const TIERS: [&str; 2] = ["plain", "impersonate"];

/// A site that answers with `page` of the path: a line `-> URL` is a redirect, anything else HTML.
fn site(page: impl Fn(&str) -> String + Send + Sync + 'static) -> RawServer {
    RawServer::start(move |conn| serve(conn, &page))
}

fn serve(conn: &mut RawConnection, page: impl Fn(&str) -> String) -> io::Result<()> {
    loop {
        let head = conn.read_head()?;
        let path = head.split(' ').nth(1).unwrap_or_default();
        let page = if path == "/robots.txt" { "User-agent: *\nAllow: /".to_owned() } else { page(path) };
        let answer = match page.strip_prefix("-> ") {
            Some(url) => format!("HTTP/1.1 307 Away\r\nlocation: {url}\r\ncontent-length: 0\r\n\r\n"),
            None => {
                let kind = if page.starts_with("<?xml") { "application/xml" } else { "text/html" };
                let length = page.len();
                format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{page}")
            }
        };
        conn.send(answer)?;
    }
}

fn links(urls: &[String]) -> String {
    let mut page = "<!doctype html><title>a page</title>".to_owned();
    for url in urls {
        page.extend(["<p><a href=\"", url, "\">a link</a>"]);
    }
    page
}

/// A URL that is known only once its server runs, for the pages of two servers that lead to each other.
fn later() -> (Arc<OnceLock<String>>, Arc<OnceLock<String>>) {
    let url = Arc::new(OnceLock::new());
    (Arc::clone(&url), url)
}

/// The same server by its other name, which makes it another host.
fn elsewhere(server: &RawServer, path: &str) -> String {
    server.url(path).replace("127.0.0.1", "localhost")
}

/// The head of the only request for `path`.
fn head(server: &RawServer, path: &str) -> String {
    let begins = format!("GET {path} ");
    let mut heads: Vec<_> = server.heads().into_iter().filter(|head| head.starts_with(&begins)).collect();
    let head = heads.pop().unwrap_or_else(|| panic!("no request for {path}"));
    assert!(heads.is_empty(), "more than one request for {path}");
    head
}

#[track_caller]
fn assert_has(server: &RawServer, path: &str) {
    let head = head(server, path);
    for secret in &SECRETS[..3] {
        assert!(head.contains(secret), "no {secret} in {head}");
    }
}

#[track_caller]
fn assert_clean(head: &str) {
    for secret in SECRETS {
        assert!(!head.contains(secret), "{secret} in {head}");
    }
}

#[track_caller]
fn assert_has_not(server: &RawServer, path: &str) {
    assert_clean(&head(server, path));
}

fn batch(program: &Program, list: &str, arguments: &[&str]) -> FinishedRun {
    fs::write(program.home().join("list"), list).expect("a list is written");
    let run =
        program.run([&["batch", "list", "--out", "out.jsonl"][..], arguments, &GIVEN, &COMMON].concat());
    assert_eq!(run.code, 0, "{run}");
    run
}

#[test]
fn links_of_a_crawl_to_other_origins_go_without_what_the_caller_gave() {
    for tier in TIERS {
        let other = site(|_| links(&[]));
        let (foreign, port) = (elsewhere(&other, ""), other.url(""));
        let home = site(move |path| match path {
            "/" => links(&[
                "/same".to_owned(),
                "/away".to_owned(),
                "/home".to_owned(),
                format!("{foreign}/by-link"),
                format!("{port}/by-port"),
            ]),
            "/away" => format!("-> {foreign}/by-redirect"),
            "/home" => "-> /redirected".to_owned(),
            _ => links(&[]),
        });
        for scope in [&["--follow-external"][..], &["--allow", "localhost"]] {
            let program = Program::new();
            let flags = [&["--follow", "a", "--tier", tier, "--robots", "obey"][..], scope].concat();
            let before = (home.heads().len(), other.heads().len());
            batch(&program, &home.url("/"), &flags);
            let (own, others) = (&home.heads()[before.0..], &other.heads()[before.1..]);
            let of = |heads: &[String], path: &str| {
                heads
                    .iter()
                    .find(|head| head.starts_with(&format!("GET {path} ")))
                    .cloned()
                    .unwrap_or_else(|| panic!("no request for {path}"))
            };
            for path in ["/", "/same", "/away", "/home", "/redirected"] {
                let head = of(own, path);
                assert!(SECRETS[..3].iter().all(|secret| head.contains(secret)), "{head}");
            }
            // No request for robots.txt is expected.
            assert_clean(&of(own, "/robots.txt"));
            for path in ["/by-link", "/by-redirect", "/by-port", "/robots.txt"] {
                assert_clean(&of(others, path));
            }
            for path in ["/by-link", "/by-redirect", "/by-port"] {
                let head = of(others, path).to_lowercase();
                assert!(head.contains("accept-language: fy"), "what is no secret goes everywhere: {head}");
            }
        }
    }
}

#[test]
fn a_link_to_any_listed_origin_has_what_was_given_and_so_has_one_that_leads_back() {
    let (own, back) = later();
    // It is not in the list.
    let unlisted = site(move |_| links(&[format!("{}/back", back.get().expect("it is known by then"))]));
    let away = unlisted.url("/x");
    let second = site(move |path| if path == "/" { links(std::slice::from_ref(&away)) } else { links(&[]) });
    let across = second.url("/across");
    let first = site(move |path| if path == "/" { links(std::slice::from_ref(&across)) } else { links(&[]) });
    own.set(first.url("")).expect("it is set once");
    let list = format!("{}\n{}\n", first.url("/"), second.url("/"));
    batch(&Program::new(), &list, &["--follow", "a", "--tier", "plain", "--robots", "ignore"]);
    for (server, path) in [(&first, "/"), (&second, "/"), (&second, "/across"), (&first, "/back")] {
        assert_has(server, path);
    }
    assert_has_not(&unlisted, "/x");
}

#[test]
fn a_chain_of_redirects_that_comes_back_has_lost_it() {
    for tier in TIERS {
        let (home, back) = later();
        let other = site(move |_| format!("-> {}/back", back.get().expect("it is known by then")));
        let away = elsewhere(&other, "/hop");
        let server = site(move |path| match path {
            "/start" => "-> /next".to_owned(),
            "/next" => format!("-> {away}"),
            _ => links(&[]),
        });
        home.set(server.url("")).expect("it is set once");
        let url = server.url("/start").replace("//", "//jane:hunter2@");
        let given = GIVEN.into_iter().filter(|line| !line.starts_with("Auth")).skip(1);
        let run = Program::new().run(["fetch", "--tier", tier, "--no-memory", &url].into_iter().chain(given));
        assert_eq!(run.code, 0, "{run}");
        for path in ["/start", "/next"] {
            let head = head(&server, path);
            assert!(SECRETS[1..].iter().all(|secret| head.contains(secret)), "{head}");
        }
        assert_has_not(&other, "/hop");
        assert_has_not(&server, "/back");
    }
}

#[test]
fn http_and_https_of_a_host_are_two_origins() {
    let certs = Certs::new();
    for tier in TIERS {
        let clear = site(|_| links(&[]));
        // By a name: on loopback's address http is as good as https to a cookie.
        let named = |server: &RawServer, path: &str| server.url(path).replace("127.0.0.1", "site.test");
        let away = named(&clear, "");
        let server = RawServer::start_tls(&certs.valid, b"\x08http/1.1", move |conn| {
            serve(conn, |path| match path {
                "/" => links(&[format!("{away}/link"), "/same".to_owned()]),
                "/down" => format!("-> {away}/down"),
                _ => links(&[]),
            })
        });
        let up = named(&server, "/up");
        let listed = site(move |_| format!("-> {up}"));
        let at = |server: &RawServer| format!("site.test:{}:127.0.0.1", server.port());
        let resolved = [at(&clear), at(&server), at(&listed)];
        let program = Program::new();
        let target = "schema = 1\n[match]\nhosts = [\"site.test\"]\npaths = [\"/down\"]\n\
            [request.cookies]\nof_target = \"swordfish\"\n";
        let targets = program.home().join("config/rungs/targets");
        fs::create_dir_all(&targets).expect("a folder of targets");
        fs::write(targets.join("t.toml"), target).expect("a target");
        let flags = ["--tier", tier, "--cacert", certs.ca()].into_iter();
        let flags: Vec<&str> = flags.chain(resolved.iter().flat_map(|entry| ["--resolve", entry])).collect();
        let list = format!("{}\n{}\n", named(&server, "/"), named(&server, "/down"));
        batch(&program, &list, &[&["--follow", "a", "--robots", "ignore"], &flags[..]].concat());
        for path in ["/", "/same", "/down"] {
            assert_has(&server, path);
        }
        assert!(head(&server, "/down").contains("of_target=swordfish"));
        assert_has_not(&clear, "/link");
        // The target is for that URL, but what it gave https is not for http.
        assert_has_not(&clear, "/down");
        // Up is another origin too.
        let run = program.run([&["fetch", &named(&listed, "/")], &flags[..], &GIVEN].concat());
        assert_eq!(run.code, 0, "{run}");
        assert_has(&listed, "/");
        let head = head(&server, "/up");
        assert!(["t0ken", "session=c00kie", "X-Api-Key"].iter().all(|given| !head.contains(given)), "{head}");
    }
}

#[test]
fn pages_of_a_sitemap_have_what_was_given_if_they_are_of_its_origin() {
    let other = site(|_| links(&[]));
    let port = other.url("/other-port");
    let (home, own) = later();
    let server = site(move |path| {
        let own = own.get().expect("it is known by then");
        match path {
            "/map.xml" => format!(
                "<?xml version=\"1.0\"?><urlset><url><loc>{own}/page</loc></url><url><loc>{port}</loc></url></urlset>"
            ),
            "/page" => links(&["/link".to_owned()]),
            _ => links(&[]),
        }
    });
    home.set(server.url("")).expect("it is set once");
    let program = Program::new();
    let map = server.url("/map.xml");
    let flags = [
        "batch",
        "--sitemap",
        &map,
        "--out",
        "o.jsonl",
        "--tier",
        "plain",
        "--robots",
        "ignore",
        "--follow",
        "a",
    ];
    let run = program.run([&flags[..], &GIVEN, &COMMON].concat());
    assert_eq!(run.code, 0, "{run}");
    assert_has(&server, "/page");
    assert_has(&server, "/link");
    assert_has_not(&other, "/other-port");
}

#[test]
fn headers_of_a_line_are_for_its_url_alone() {
    let second = site(|_| links(&[]));
    let across = second.url("/across");
    let first =
        site(move |path| if path == "/" { links(&[across.clone(), "/link".to_owned()]) } else { links(&[]) });
    let line = |url: String, value: &str| {
        format!(
            "{{\"url\": \"{url}\", \"headers\": {{\"x-line\": \"{value}\", \"cookie\": \"line={value}\"}}}}\n"
        )
    };
    let list = line(first.url("/"), "one") + &line(second.url("/"), "two");
    for tier in TIERS {
        let before = (first.heads().len(), second.heads().len());
        batch(&Program::new(), &list, &["--follow", "a", "--tier", tier, "--robots", "ignore"]);
        let (first, second) = (&first.heads()[before.0..], &second.heads()[before.1..]);
        let lines = |heads: &[String], value: &str| {
            let has = |head: &&String| {
                head.contains(&format!("x-line: {value}")) && head.contains(&format!("line={value}"))
            };
            heads.iter().filter(has).count()
        };
        assert_eq!((lines(first, "one"), lines(first, "two")), (1, 0), "{first:?}");
        assert_eq!((lines(second, "one"), lines(second, "two")), (0, 1), "{second:?}");
        assert!(first.iter().chain(second).all(|head| head.contains("swordfish")), "both are listed");
    }
}

#[test]
fn a_target_gives_its_headers_to_what_it_matches_and_settings_for_all_to_what_is_listed() {
    for tier in TIERS {
        let other = site(|_| links(&[]));
        let (matched, unmatched) = (elsewhere(&other, "/matched"), elsewhere(&other, "/unmatched"));
        let home = site(move |path| match path {
            "/" => links(&[matched.clone(), unmatched.clone(), "/same".to_owned()]),
            _ => links(&[]),
        });
        let program = Program::new();
        let config = program.home().join("config/rungs");
        fs::create_dir_all(config.join("targets")).expect("a folder of targets");
        let write = |name: &str, text: &str| fs::write(config.join(name), text).expect("a file is written");
        write(
            "config.toml",
            "schema = 1\n[request.headers]\nx-config = \"swordfish\"\n[request.cookies]\nof_config = \"c00kie\"\n",
        );
        write(
            "targets/named.toml",
            "schema = 1\n[match]\nhosts = [\"named.test\"]\n[request.headers]\nx-named = \"t0ken\"\n[request.cookies]\nof_named = \"c00kie\"\n",
        );
        write(
            "targets/other.toml",
            "schema = 1\n[match]\nhosts = [\"localhost\"]\npaths = [\"/matched\"]\n[request.headers]\nx-other = \"its own\"\n",
        );
        let url = home.url("/");
        let program =
            program.input(format!("{{\"url\": \"{url}\", \"target\": \"named\"}}\n{}", home.url("/unnamed")));
        let flags =
            ["batch", "-", "--follow", "a", "--follow-external", "--tier", tier, "--robots", "ignore"];
        let run = program.run([&flags[..], &COMMON].concat());
        assert_eq!(run.code, 0, "{run}");
        for path in ["/", "/same"] {
            let head = head(&home, path);
            for given in ["x-named: t0ken", "of_named=c00kie", "x-config: swordfish", "of_config=c00kie"] {
                assert!(head.contains(given), "{given} is for {path}: {head}");
            }
        }
        assert!(head(&home, "/unnamed").contains("x-config: swordfish"));
        for path in ["/matched", "/unmatched"] {
            assert_has_not(&other, path);
        }
        // A link goes by the target of its page; one that is found by its URL gives that URL its own.
        let run = program.run(
            [&["fetch", "--tier", tier, "--no-memory"][..], &[&elsewhere(&other, "/matched?listed")]]
                .concat(),
        );
        assert_eq!(run.code, 0, "{run}");
        assert!(head(&other, "/matched?listed").contains("x-other: its own"));
        let program = program.input(format!("{url}?by-match"));
        let run = program.run([&flags[..], &COMMON].concat());
        assert_eq!(run.code, 0, "{run}");
        let heads = other.heads();
        let last = heads.iter().rfind(|head| head.starts_with("GET /matched ")).expect("a request");
        assert_clean(last);
    }
}

#[test]
fn an_archive_of_a_crawl_shows_no_secret() {
    let other = site(|_| links(&[]));
    let away = elsewhere(&other, "/x");
    let home =
        site(move |path| if path == "/" { links(&[away.clone(), "/same".to_owned()]) } else { links(&[]) });
    for (tier, format) in [("plain", "warc"), ("impersonate", "warc"), ("plain", "jsonl")] {
        let program = Program::new();
        let out = format!("o.{format}");
        fs::write(program.home().join("list"), home.url("/")).expect("a list is written");
        let flags = [
            "batch",
            "list",
            "--out",
            &out,
            "--tier",
            tier,
            "--robots",
            "ignore",
            "--follow",
            "a",
            "--follow-external",
            "-vvv",
        ];
        let run = program.run([&flags[..], &GIVEN, &COMMON].concat());
        assert_eq!(run.code, 0, "{run}");
        for entry in
            fs::read_dir(program.home()).expect("a home").flatten().filter(|entry| entry.path().is_file())
        {
            assert_clean(&String::from_utf8_lossy(&fs::read(entry.path()).expect("a file")));
        }
        assert_clean(&run.to_string());
        let said = run.stderr.matches("dropped headers that the caller set").count();
        assert_eq!(said, 1, "it is said once\n{run}");
        if format == "warc" {
            let text = fs::read_to_string(program.home().join(&out)).expect("an archive");
            assert!(text.to_lowercase().contains("x-api-key: ***"), "{text}");
        }
    }
}

#[cfg(feature = "browser")]
#[test]
fn a_crawl_in_the_browser_keeps_it_from_other_origins() {
    let other = site(|_| links(&[]));
    let away = elsewhere(&other, "");
    let port = other.url("");
    let home = site(move |path| match path {
        "/" => format!(
            "{}<script src={away}/script></script><img src={port}/image><img src=/own-image>",
            links(&[format!("{away}/linked"), "/same".to_owned(), "/away".to_owned()])
        ),
        "/away" => format!("-> {away}/by-redirect"),
        _ => links(&[]),
    });
    let program = Program::new();
    batch(
        &program,
        &home.url("/"),
        &["--follow", "a", "--follow-external", "--tier", "browser", "--robots", "ignore"],
    );
    for path in ["/", "/own-image", "/same", "/away"] {
        assert_has(&home, path);
    }
    for path in ["/linked", "/script", "/by-redirect"] {
        assert_has_not(&other, path);
    }
    // A cookie is the host's, whatever the port, in the browser; a header is not.
    let image = head(&other, "/image");
    assert!(!image.contains("t0ken") && !image.contains("swordfish"), "{image}");
}

/// Answers every request with a page, and keeps what came.
#[cfg(feature = "browser")]
fn recording_site() -> RawServer {
    RawServer::start(|conn| {
        loop {
            let head = conn.read_head()?.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            conn.read_bytes(length.and_then(|text| text.trim().parse().ok()).unwrap_or(0))?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 26\r\n\r\n<!doctype html><p>a page</p")?;
        }
    })
}

#[cfg(feature = "browser")]
#[test]
fn a_url_with_a_user_keeps_method_body_and_headers_in_the_browser() {
    let server = recording_site();
    let url = server.url("/form").replace("http://", "http://user:pass@");
    let program = Program::new();
    let run = program.run(["fetch", "--tier", "browser", "-d", "a=1", "-H", "X-Api-Key: k", &url]);
    assert_eq!(run.code, 0, "{run}");
    let heads = server.heads();
    let head = heads.iter().find(|head| head.contains(" /form ")).expect("the form was sent");
    assert!(head.starts_with("POST ") && head.to_ascii_lowercase().contains("x-api-key: k"), "{head}");
}

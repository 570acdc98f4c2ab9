//! Flags that have curl's letters do what curl does: bodies, uploads, authentication, client certificates, copied lines.

use std::fs;
use std::io;

use crate::support::{Certs, FinishedRun, Program, RawConnection, RawServer, rungs};

/// Sends the request back: head and body.
fn echo(conn: &mut RawConnection) -> io::Result<()> {
    let head = conn.read_head()?;
    let body = read_body(conn, &head)?;
    let length = head.len() + body.len();
    conn.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{head}"
    ))?;
    conn.send(body)
}

fn read_body(conn: &mut RawConnection, head: &str) -> io::Result<Vec<u8>> {
    let length = field(head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    conn.read_bytes(length)
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Runs a fetch on one tier. Returns head and body that the server got.
fn sent_on(tier: &str, arguments: &[&str], url: &str) -> (String, Vec<u8>) {
    let fixed = ["fetch", "--tier", tier, "--retry", "0"];
    split(&rungs(fixed.iter().chain(arguments).chain(&[url])))
}

fn split(run: &FinishedRun) -> (String, Vec<u8>) {
    assert_eq!(run.code, 0, "{run}");
    let end = run.stdout.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
    (String::from_utf8_lossy(&run.stdout[..end]).into_owned(), run.stdout[end..].to_vec())
}

fn sent(arguments: &[&str], url: &str) -> (String, Vec<u8>) {
    sent_on("plain", arguments, url)
}

#[test]
fn data_flags_are_joined_in_their_order() {
    let server = RawServer::start(echo);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f");
    fs::write(&file, b"a b\r\n&\0c\n").unwrap();
    let file = file.to_str().unwrap();
    let encoded = format!("n@{file}");
    let (head, body) = sent(
        &[
            "--data-urlencode",
            "x=1 2",
            "-d",
            "y=3",
            "--data-raw",
            "@z",
            "--data-urlencode",
            &encoded,
            "--data-binary",
            "é",
        ],
        &server.url("/"),
    );
    assert!(head.starts_with("POST / HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "content-type"), Some("application/x-www-form-urlencoded"), "{head}");
    assert_eq!(String::from_utf8(body).unwrap(), "x=1+2&y=3&@z&n=a+b%0D%0A%26%00c%0A&é");
    let file = format!("@{file}");
    assert_eq!(sent(&["-d", &file], &server.url("/")).1, b"a b&c");
    assert_eq!(sent(&["--data-binary", &file], &server.url("/")).1, b"a b\r\n&\0c\n");
    let (head, body) = sent(&["-G", "-d", "a=1", "--data-urlencode", "b=ü"], &server.url("/p?q=0#f"));
    assert!(head.starts_with("GET /p?q=0&a=1&b=%C3%BC HTTP/1.1\r\n"), "{head}");
    assert_eq!((body, field(&head, "content-length")), (Vec::new(), None));
    let (head, _) = sent(&["-G", "-X", "DELETE", "-d", "a"], &server.url("/"));
    assert!(head.starts_with("DELETE /?a HTTP/1.1\r\n"), "{head}");
}

#[test]
fn the_last_value_of_a_flag_counts() {
    let server = RawServer::start(echo);
    let (head, body) = sent(
        &["--json", "1", "-m", "0.001", "--json", "{}", "-m", "30", "-X", "POST", "-X", "PUT"],
        &server.url("/"),
    );
    assert!(head.starts_with("PUT / "), "{head}");
    assert_eq!((body.as_slice(), field(&head, "content-type")), (&b"{}"[..], Some("application/json")));
}

#[test]
fn a_url_without_a_scheme_is_fetched_over_http() {
    let server = RawServer::start(echo);
    let (head, _) = sent(&[], &format!("localhost:{}/x", server.port()));
    assert!(head.starts_with("GET /x HTTP/1.1\r\nHost: localhost:"), "{head}");
}

#[test]
fn a_form_is_sent_as_multipart_on_both_http_tiers() {
    let server = RawServer::start(echo);
    let folder = tempfile::tempdir().unwrap();
    let (image, other) = (folder.path().join("i.png"), folder.path().join("o"));
    let content: Vec<u8> = (0..=255).cycle().take(600_000).collect();
    fs::write(&image, &content).unwrap();
    fs::write(&other, "text").unwrap();
    let (image, other) = (image.display(), other.display());
    let arguments = [
        "-F".to_owned(),
        "a=b;type=text/html;charset=utf-8".to_owned(),
        format!("-Ff=@{image}"),
        "--form-string".to_owned(),
        "s=@x;y".to_owned(),
        format!("-Fg=@{other};filename=\"z;\\\"y.txt\",{other};type=x/y"),
        format!("-Ft=<{other}"),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    for tier in ["plain", "impersonate"] {
        let (head, body) = sent_on(tier, &arguments, &server.url("/"));
        let kind = field(&head, "content-type").expect("a content type").to_owned();
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").expect("a multipart form");
        let mut expected = Vec::new();
        let name = "form-data; name=\"g\"; filename";
        for (disposition, kind, content) in [
            ("form-data; name=\"a\"".to_owned(), "Content-Type: text/html;charset=utf-8\r\n", &b"b"[..]),
            ("form-data; name=\"f\"; filename=\"i.png\"".to_owned(), "Content-Type: image/png\r\n", &content),
            ("form-data; name=\"s\"".to_owned(), "", b"@x;y"),
            (format!("{name}=\"z;%22y.txt\""), "Content-Type: text/plain\r\n", b"text"),
            (format!("{name}=\"o\""), "Content-Type: x/y\r\n", b"text"),
            ("form-data; name=\"t\"".to_owned(), "", b"text"),
        ] {
            expected.extend(
                format!("--{boundary}\r\nContent-Disposition: {disposition}\r\n{kind}\r\n").into_bytes(),
            );
            expected.extend_from_slice(content);
            expected.extend(b"\r\n");
        }
        expected.extend(format!("--{boundary}--\r\n").into_bytes());
        assert!(body == expected, "{tier}: {} bytes, not {}", body.len(), expected.len());
        assert!(boundary.starts_with("----WebKitFormBoundary"), "{boundary}");
        assert_eq!(head.matches("content-type").count() + head.matches("Content-Type").count(), 1, "{head}");
    }
    let run = rungs(["fetch", "-F", "a=@/nonexistent", &server.url("/")]);
    assert!(run.code != 0 && run.stderr.contains("/nonexistent"), "{run}");
}

#[test]
fn an_upload_is_streamed_and_sent_again_after_a_redirect() {
    let server = RawServer::start(|conn| {
        let head = conn.read_head()?;
        let body = read_body(conn, &head)?;
        if head.starts_with("PUT /307/") {
            return conn.send("HTTP/1.1 307 Temporary Redirect\r\nlocation: /end\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
        let length = head.len() + body.len();
        conn.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{head}"))?;
        conn.send(body)
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a b.bin");
    let content: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();
    fs::write(&file, &content).unwrap();
    let file = file.to_str().unwrap();
    let (head, body) = sent(&["-T", file], &server.url("/d/?x=1"));
    assert!(head.starts_with("PUT /d/a%20b.bin?x=1 HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "content-type"), None, "{head}");
    assert!(body == content, "{} bytes", body.len());
    let (head, body) = sent_on("impersonate", &["-T", file], &server.url("/307/x"));
    assert!(head.starts_with("PUT /end HTTP/1.1\r\n") && body == content, "{head}");
    let (head, body) =
        sent(&["-T", file, "-C", "2999990", "-X", "POST", "-H", "content-type: a/b"], &server.url("/d"));
    assert!(head.starts_with("POST /d "), "{head}");
    assert_eq!(field(&head, "content-range"), Some("bytes 2999990-2999999/3000000"), "{head}");
    assert_eq!(field(&head, "content-type"), Some("a/b"), "{head}");
    assert_eq!(body, content[2_999_990..]);
    let url = server.url("/d/");
    let run = Program::new().input("from stdin").run(["fetch", "--tier", "plain", "-T", "-", &url]);
    let (head, body) = split(&run);
    assert!(head.starts_with("PUT /d/ ") && body == b"from stdin", "{head}");
}

#[test]
fn basic_credentials_go_to_the_origin_of_the_url_only() {
    let other = RawServer::start(echo);
    let to = other.url("/");
    let server = RawServer::start(move |conn| {
        let head = conn.read_head()?;
        if head.starts_with("GET /out") {
            return conn.send(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"));
        }
        conn.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len()))
    });
    let basic = Some("Basic amFuZTpzZTpjcmV0");
    let (head, _) = sent(&["-u", "jane:se:cret"], &server.url("/"));
    assert_eq!(field(&head, "authorization"), basic, "{head}");
    let url = server.url("/").replace("http://", "http://joe:x@");
    assert_eq!(field(&sent(&["-u", "jane:se:cret"], &url).0, "authorization"), basic, "-u takes precedence");
    let (head, _) = sent(&["-u", "jane:x", "-H", "Authorization: Bearer t"], &server.url("/"));
    assert_eq!(field(&head, "authorization"), Some("Bearer t"), "{head}");
    let (head, _) = sent(&["-u", "jane:se:cret"], &server.url("/out"));
    assert_eq!(field(&head, "authorization"), None, "{head}");
}

/// A server with Digest authentication that accepts any answer to its current nonce, which it changes once.
fn digest_server() -> RawServer {
    RawServer::start(|conn| {
        loop {
            let head = conn.read_head()?;
            let body = read_body(conn, &head)?;
            let answer = field(&head, "authorization").unwrap_or_default().to_owned();
            let (stale, accepted) = (answer.contains("nonce=\"one\""), answer.contains("nonce=\"two\""));
            if accepted && !head.starts_with("GET /never") {
                let text = format!("{answer}\n{}", String::from_utf8_lossy(&body));
                conn.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()))?;
                continue;
            }
            let (nonce, stale) = if stale { ("two", "true") } else { ("one", "false") };
            // In lines of their own: Chromium reads only the first challenge of a line.
            conn.send(format!(
                "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"r\"\r\n\
                 www-authenticate: Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\", stale={stale}, \
                 algorithm=SHA-256\r\ncontent-length: 2\r\n\r\nno"
            ))?;
        }
    })
}

#[test]
fn digest_challenges_are_answered_also_for_a_body_and_a_stale_nonce() {
    let server = digest_server();
    let run = rungs([
        "fetch",
        "--tier",
        "plain",
        "--digest",
        "-u",
        "jane:secret",
        "-d",
        "a=1",
        &server.url("/p?q=1"),
    ]);
    assert_eq!(run.code, 0, "{run}");
    let text = run.text();
    assert!(
        text.starts_with("Digest username=\"jane\", realm=\"r\", nonce=\"two\", uri=\"/p?q=1\""),
        "{text}"
    );
    assert!(text.ends_with("\na=1") && text.contains("nc=00000001, qop=auth"), "{text}");
    assert!(!server.heads().concat().contains("Basic "), "the password is not sent");
    let run = rungs(["fetch", "--tier", "browser", "--digest", "-u", "jane:secret", &server.url("/page")]);
    assert!(run.code == 0 && run.text().contains("nonce=\"two\", uri=\"/page\""), "{run}");
    assert!(!server.heads().concat().contains("Basic "), "the password is not sent by the browser");
    // A server that accepts nothing is asked a bounded number of times.
    let before = server.heads().len();
    let run =
        rungs(["fetch", "--tier", "plain", "-f", "--digest", "-u", "jane:secret", &server.url("/never")]);
    assert_ne!(run.code, 0, "{run}");
    assert!(server.heads().len() - before <= 8, "{} requests", server.heads().len() - before);
}

#[test]
fn a_client_certificate_goes_to_the_origin_of_the_url_only() {
    let certs = Certs::new();
    let other = RawServer::start_mutual_tls(&certs.valid, echo);
    let to = other.url("/");
    let server = RawServer::start_mutual_tls(&certs.valid, move |conn| {
        let head = conn.read_head()?;
        if head.starts_with("GET /out") {
            return conn.send(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"));
        }
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    });
    let (chain, key) = (certs.valid.chain.to_str().unwrap(), certs.valid.key.to_str().unwrap());
    let fetch = |arguments: &[&str], url: &str| {
        let fixed = ["fetch", "-k", "--max-tier", "impersonate", "--retry", "0", "--no-memory"];
        rungs(fixed.iter().chain(arguments).chain(&[url]))
    };
    for tier in ["plain", "impersonate"] {
        let run = fetch(&["--min-tier", tier, "-E", chain, "--key", key], &server.url("/"));
        assert_eq!((run.code, run.text().as_str()), (0, "ok"), "{run}");
    }
    assert_ne!(fetch(&[], &server.url("/")).code, 0);
    let heads = other.heads().len();
    assert_ne!(fetch(&["-E", chain, "--key", key], &server.url("/out")).code, 0);
    assert_eq!(other.heads().len(), heads, "the other origin got no request");
    let run = fetch(&["-E", chain], &server.url("/"));
    assert_eq!(run.code, 3, "the file has no key: {run}");
    let run = rungs(["fetch", "--tier", "browser", "-E", chain, "--key", key, &server.url("/")]);
    assert!(run.code == 2 && run.stderr.contains("browser tier cannot send a client certificate"), "{run}");
}

#[test]
fn http_1_1_can_be_required() {
    let certs = Certs::new();
    let nginx = crate::support::Nginx::start(&certs);
    let url = nginx.url(crate::support::Site::H2, "/page/hello");
    for (flags, version) in
        [(&[][..], "HTTP/2 "), (&["--http1.1"], "HTTP/1.1 "), (&["--http1.1", "--http2"], "HTTP/2 ")]
    {
        for tier in ["plain", "impersonate"] {
            let run = rungs(["fetch", "-k", "-i", "--tier", tier].iter().chain(flags).chain(&[url.as_str()]));
            assert!(run.code == 0 && run.text().starts_with(version), "{tier} {flags:?}: {run}");
        }
    }
}

#[test]
fn a_line_of_devtools_is_fetched() {
    let server = RawServer::start(echo);
    let line = format!(
        "curl '{}' \\\n  -X 'PUT' \\\n  -H 'accept: */*' \\\n  -H 'content-type: text/plain' \\\n  -b 'a=1' \\\n  \
         --data-raw $'it\\'s \\u00fc' \\\n  --compressed",
        server.url("/x")
    );
    let (head, body) = sent(&["--from-curl", &line, "-H"], "x-own: 1");
    assert!(head.starts_with("PUT /x "), "{head}");
    for (name, value) in
        [("accept", "*/*"), ("content-type", "text/plain"), ("cookie", "a=1"), ("x-own", "1")]
    {
        assert_eq!(field(&head, name), Some(value), "{head}");
    }
    assert_eq!(String::from_utf8(body).unwrap(), "it's ü");
    let run = Program::new().input(line).run(["fetch", "--tier", "plain", "--from-curl", "-"]);
    assert!(split(&run).0.starts_with("PUT /x "), "{run}");
    let run = rungs(["fetch", "--from-curl", "wget http://a"]);
    assert!(run.code == 2 && run.stderr.contains("--from-curl"), "{run}");
}

#[test]
fn referer_and_user_agent_are_sent() {
    let server = RawServer::start(echo);
    for (arguments, expected) in [
        (&["-e", "http://page.example/a?b#c;auto"][..], Some("http://page.example/a?b#c")),
        (&["-e", ";auto"], None),
        (&["-e", "http://a.example/", "-H", "Referer: http://b.example/"], Some("http://b.example/")),
    ] {
        let (head, _) = sent(arguments, &server.url("/"));
        assert_eq!(field(&head, "referer"), expected, "{head}");
    }
}

#[test]
fn an_automatic_referer_is_the_url_that_redirected() {
    let other = RawServer::start(echo);
    let target = other.url("/end");
    let server = RawServer::start(move |conn| {
        let head = conn.read_head()?;
        let to = if head.starts_with("GET /a ") { "/b?x" } else { &target };
        conn.send(format!(
            "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        ))
    });
    let start = server.url("/a#f").replace("http://", "http://u:p@");
    let middle = server.url("/b?x");
    for tier in ["plain", "impersonate"] {
        let (head, _) = sent_on(tier, &["-e", "http://page.example/;auto"], &start);
        assert_eq!(field(&head, "referer"), Some(middle.as_str()), "{head}");
        let first = server.heads();
        let referers: Vec<_> = first[first.len() - 2..].iter().map(|head| field(head, "referer")).collect();
        assert_eq!(referers, [Some("http://page.example/"), Some(server.url("/a").as_str())], "{first:?}");
        let (head, _) = sent_on(tier, &["-e", ";auto"], &start);
        assert_eq!(field(&head, "referer"), Some(middle.as_str()), "{head}");
        let (head, _) = sent_on(tier, &[], &start);
        assert_eq!(field(&head, "referer"), None, "{head}");
    }
}

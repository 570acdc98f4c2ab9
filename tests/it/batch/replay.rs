//! An archive of many kinds of responses is read by the tools of others, and replayed by pywb in Chromium.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{
    Certs, Daemon, Nginx, Program, PythonEnvironment, RawServer, Site, start_on_free_ports,
};

/// What a replay has to show.
#[derive(Clone, Copy)]
enum Shown {
    /// A page with this text.
    Text(&'static str),
    /// The bytes of the original.
    Bytes,
    /// Nothing that can be compared: the responses are in the archive.
    Nothing,
}
use Shown::{Bytes, Nothing, Text};

/// Each kind of response, by its path.
const KINDS: [(&str, Shown); 34] = [
    ("/html", Text("marker html")),
    ("/hop/2", Text("marker end")),
    ("/refresh", Text("marker end")),
    ("/refresh-header", Text("marker end")),
    ("/gzip", Text("marker gzip")),
    ("/deflate", Text("marker deflate")),
    ("/br", Text("marker br")),
    ("/chunked", Text("marker chunked")),
    ("/close", Text("marker close")),
    ("/latin1", Text("marker café")),
    ("/cyrillic", Text("marker привет")),
    ("/utf16", Text("marker 日本")),
    ("/no-type", Text("marker sniffed")),
    ("/plain.txt", Text("marker <plain>")),
    ("/data.json", Text("marker json")),
    ("/image.png", Bytes),
    ("/file.pdf", Bytes),
    ("/not-found", Text("marker not found")),
    ("/gone", Text("marker gone")),
    ("/error", Text("marker error")),
    ("/blocked", Nothing),
    ("/search?b=2&a=1&A=%20x", Text("marker /search?b=2&a=1&A=%20x")),
    ("/search?a=1&b=2", Text("marker /search?a=1&b=2")),
    ("/a%20b", Text("marker /a%20b")),
    ("/caf%C3%A9", Text("marker /caf%C3%A9")),
    ("/cookies", Text("marker cookies")),
    ("/folded", Text("marker folded")),
    ("/attachment", Bytes),
    ("/xhtml", Text("marker xhtml")),
    ("/policy", Text("marker policy")),
    ("/large", Text("marker large")),
    ("/script", Text("marker made by script")),
    ("/empty", Nothing),
    ("/no-content", Nothing),
];

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc`\0\0\0\x02\0\x01H\xaf\xa4q\0\0\0\0IEND\xaeB`\x82";
const PDF: &[u8] = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n";

fn html(text: &str) -> Vec<u8> {
    format!("<!doctype html><title>{text}</title><p>{text}</p>").into_bytes()
}

/// A response with a length.
fn answer(head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body).and_then(|()| gzip.finish()).expect("memory can be written")
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(body).and_then(|()| zlib.finish()).expect("memory can be written")
}

fn brotli(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    brotli::BrotliCompress(&mut &body[..], &mut out, &brotli::enc::BrotliEncoderParams::default())
        .expect("memory can be written");
    out
}

fn response(target: &str) -> Vec<u8> {
    let ok = "200 OK\r\ncontent-type: text/html";
    match target {
        "/html" => answer(ok, html("marker html")),
        "/hop/2" => answer("302 Found\r\nlocation: /hop/1", "moved"),
        "/hop/1" => answer("301 Moved Permanently\r\nlocation: /end", ""),
        "/refresh" => answer(ok, "<meta http-equiv=refresh content='0;url=/end'>"),
        "/refresh-header" => answer("200 OK\r\ncontent-type: text/html\r\nrefresh: 0;url=/end", "wait"),
        "/end" => answer(ok, html("marker end")),
        "/gzip" => answer(&format!("{ok}\r\ncontent-encoding: gzip"), gzip(&html("marker gzip"))),
        "/deflate" => answer(&format!("{ok}\r\ncontent-encoding: deflate"), zlib(&html("marker deflate"))),
        "/br" => answer(&format!("{ok}\r\ncontent-encoding: br"), brotli(&html("marker br"))),
        "/chunked" => b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ntransfer-encoding: chunked\r\n\r\n\
            7\r\nmarker \r\n7\r\nchunked\r\n0\r\n\r\n"
            .to_vec(),
        "/close" => b"HTTP/1.0 200 OK\r\ncontent-type: text/html\r\n\r\nmarker close".to_vec(),
        "/latin1" => answer("200 OK\r\ncontent-type: text/html; charset=iso-8859-1", b"marker caf\xe9"),
        "/cyrillic" => answer(ok, b"<meta charset=windows-1251><p>marker \xef\xf0\xe8\xe2\xe5\xf2"),
        "/utf16" => {
            let units = "\u{feff}<p>marker 日本".encode_utf16().flat_map(u16::to_le_bytes);
            answer(ok, units.collect::<Vec<u8>>())
        }
        "/no-type" => answer("200 OK", html("marker sniffed")),
        "/plain.txt" => answer("200 OK\r\ncontent-type: text/plain", "marker <plain>"),
        "/data.json" => answer("200 OK\r\ncontent-type: application/json", "{\"a\":\"marker json\"}"),
        "/image.png" => answer("200 OK\r\ncontent-type: image/png", PNG),
        "/file.pdf" => answer("200 OK\r\ncontent-type: application/pdf", PDF),
        "/not-found" => answer("404 Not Found\r\ncontent-type: text/html", html("marker not found")),
        "/gone" => answer("410 Gone\r\ncontent-type: text/html", html("marker gone")),
        "/error" => answer("500 Oops\r\ncontent-type: text/html", html("marker error")),
        "/blocked" => answer(
            "403 Forbidden\r\ncf-mitigated: challenge\r\nserver: cloudflare\r\ncontent-type: text/html",
            "<title>Just a moment...</title><script>window._cf_chl_opt = {}</script>",
        ),
        "/cookies" => answer(
            &format!("{ok}\r\nset-cookie: a=1; Path=/\r\nset-cookie: b=2; Path=/\r\nx-a: 1\r\nx-a: 2"),
            html("marker cookies"),
        ),
        "/folded" => answer(&format!("{ok}\r\nx-folded: one\r\n two"), html("marker folded")),
        "/attachment" => {
            answer(&format!("{ok}\r\ncontent-disposition: attachment"), html("marker attachment"))
        }
        "/xhtml" => answer(
            "200 OK\r\ncontent-type: application/xhtml+xml",
            "<html xmlns='http://www.w3.org/1999/xhtml'><head><title>x</title></head><body><p>marker xhtml</p></body></html>",
        ),
        "/policy" => answer(
            &format!("{ok}\r\ncontent-security-policy: default-src 'none'\r\nx-frame-options: DENY"),
            html("marker policy"),
        ),
        "/large" => answer(ok, format!("<p>marker large</p>{}", "<p>word word word</p>".repeat(50_000))),
        "/script" | "/script?browser" => {
            answer(ok, "<p id=p></p><script>p.textContent = 'marker made by ' + 'script'</script>")
        }
        "/empty" => answer(ok, ""),
        "/no-content" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        other => answer(ok, html(&format!("marker {}", other.replace('&', "&amp;")))),
    }
}

fn site() -> RawServer {
    RawServer::start(|conn| {
        loop {
            let head = conn.read_head()?;
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            conn.send(response(&target))?;
            if target == "/close" {
                return Ok(());
            }
        }
    })
}

/// A running pywb with the collection `c` of these archives.
struct Pywb {
    port: u16,
    _daemon: Daemon,
    _folder: tempfile::TempDir,
}

impl Pywb {
    fn start(python: &PythonEnvironment, archives: &[PathBuf]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let manage = |arguments: &[&str]| {
            let script = format!("cd '{}' && exec \"$@\"", folder.path().display());
            let mut command = vec!["-c", &script, "manage"];
            let manager = python.program("wb-manager");
            command.push(manager.to_str().expect("UTF-8"));
            command.extend(arguments);
            let output = std::process::Command::new("/bin/sh").args(command).output().expect("sh starts");
            assert!(output.status.success(), "wb-manager {arguments:?}: {output:?}");
        };
        manage(&["init", "c"]);
        // Pages are shown by themselves, not in a frame.
        fs::write(folder.path().join("config.yaml"), "framed_replay: false\n").expect("a file");
        for archive in archives {
            manage(&["add", "--unpack-wacz", "c", archive.to_str().expect("UTF-8")]);
        }
        let wayback = python.program("wayback");
        let ([port], daemon) = start_on_free_ports(|[port]| {
            let arguments = ["-b", "127.0.0.1", "-p", &port.to_string()];
            Daemon::start(&wayback, arguments, &[port], folder.path())
        });
        Self { port, _daemon: daemon, _folder: folder }
    }

    /// A page with its links changed.
    fn page(&self, url: &str) -> String {
        format!("http://127.0.0.1:{}/c/{url}", self.port)
    }

    /// The bytes of the original.
    fn original(&self, url: &str) -> String {
        format!("http://127.0.0.1:{}/c/id_/{url}", self.port)
    }
}

/// Writes the archive of these URLs. Returns its path.
fn archive(program: &Program, name: &str, urls: &[String], arguments: &[&str]) -> PathBuf {
    fs::write(program.home().join("urls.txt"), urls.join("\n")).expect("a list");
    let common = [
        "batch",
        "urls.txt",
        "--out",
        name,
        "--retry",
        "0",
        "--robots",
        "ignore",
        "--no-memory",
        "--no-progress",
    ];
    let run = program.run([&common[..], arguments].concat());
    assert!([0, 8].contains(&run.code), "{run}");
    assert!(!program.home().join(format!("{name}.warc.gz")).exists(), "{run}");
    program.home().join(name)
}

/// Fetches replayed URLs. Returns the text or the body of each, by its URL.
fn replay(urls: &[String], arguments: &[&str]) -> BTreeMap<String, Value> {
    let program = Program::new();
    fs::write(program.home().join("urls.txt"), urls.join("\n")).expect("a list");
    let common =
        ["batch", "urls.txt", "--out", "out.jsonl", "--robots", "ignore", "--no-memory", "--no-progress"];
    let run = program.run([&common[..], arguments].concat());
    let records = fs::read_to_string(program.home().join("out.jsonl")).unwrap_or_default();
    assert_eq!(records.lines().count(), urls.len(), "{run}");
    let records = records.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    records.map(|record| (record["url"].as_str().expect("a URL").to_owned(), record)).collect()
}

fn check(python: &PythonEnvironment, archive: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/batch/replay/check.py");
    let said = python.run("python", [script.as_os_str(), archive.as_os_str()]);
    serde_json::from_str(said.lines().last().unwrap_or_default()).expect("JSON")
}

#[test]
fn an_archive_is_valid_for_other_tools_and_is_replayed_in_chromium() {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/batch/replay/requirements.txt");
    let python = PythonEnvironment::with(&requirements);
    let (certs, site) = (Certs::new(), site());
    let nginx = Nginx::start(&certs);
    let mut urls: Vec<String> = KINDS.iter().map(|(path, _)| site.url(path)).collect();
    let http2 = [nginx.url(Site::H2, "/echo?n=1"), nginx.url(Site::H2, "/echo?n=2")];
    urls.extend(http2.iter().cloned());
    let programs = [Program::new(), Program::new()];
    let plain = archive(&programs[0], "plain.wacz", &urls, &["--tier", "plain", "--cacert", certs.ca()]);
    let in_browser = [site.url("/script?browser"), site.url("/hop/2"), site.url("/image.png")];
    let browser = archive(&programs[1], "browser.wacz", &in_browser, &["--tier", "browser"]);

    let checked = check(&python, &plain);
    let records = &checked["records"];
    // Two redirects and two refreshes lead to one more response each.
    assert_eq!(records["response"], KINDS.len() + http2.len() + 4, "{checked}");
    assert_eq!((&records["request"], &records["warcinfo"]), (&records["response"], &1.into()), "{checked}");
    assert_eq!(checked["pages"][site.url("/html")], "marker html", "{checked}");
    assert_eq!(checked["pages"][site.url("/latin1")], Value::Null, "it has no title");
    assert!(checked["pages"].get(site.url("/blocked")).is_none(), "{checked}");
    let checked = check(&python, &browser);
    assert_eq!(checked["records"]["metadata"], in_browser.len(), "{checked}");

    let pywb = Pywb::start(&python, &[plain, browser]);
    let mut expected: Vec<(String, &str)> = http2.iter().map(|url| (url.clone(), "/echo?n=")).collect();
    expected.push((in_browser[0].clone(), "marker made by script"));
    expected.extend(KINDS.iter().filter_map(|(path, shown)| match shown {
        Text(text) => Some((site.url(path), *text)),
        Bytes | Nothing => None,
    }));
    let pages: Vec<String> = expected.iter().map(|(url, _)| pywb.page(url)).collect();
    let shown = replay(&pages, &["--tier", "browser", "--text"]);
    for (url, text) in &expected {
        let record = &shown[&pywb.page(url)];
        let found = record["text"].as_str().or_else(|| record["body"].as_str()).unwrap_or_default();
        assert!(found.contains(text), "{url}: {text:?} is not in {record}");
    }
    let files: Vec<&str> =
        KINDS.iter().filter(|(_, shown)| matches!(shown, Bytes)).map(|(path, _)| *path).collect();
    let bytes: Vec<String> = files.iter().map(|path| pywb.original(&site.url(path))).collect();
    let program = Program::new();
    for (path, url) in files.iter().zip(&bytes) {
        let run = program.run(["fetch", "--tier", "plain", "--robots", "ignore", "--no-memory", url]);
        assert_eq!(run.code, 0, "{run}");
        let original = response(path);
        assert!(original.ends_with(&run.stdout) && !run.stdout.is_empty(), "{path}\n{run}");
    }
}

//! Target files, as a user writes and tries them.

use std::fs;

use serde_json::Value;

use crate::support::{FinishedRun, Program, RawConnection, RawServer, rungs};

/// A site that echoes the request, except on a few paths.
fn site(conn: &mut RawConnection) -> std::io::Result<()> {
    loop {
        let head = conn.read_head()?;
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let (kind, body) = match path.as_str() {
            "/p/page" => ("text/html", "<title>t</title><p class=price>9</p>"),
            "/p/empty" => ("text/html", "<title>t</title><p>nothing to see</p>"),
            "/p/busy" => ("text/html", "<title>Our hamsters are busy</title>"),
            _ => ("text/plain", head.as_str()),
        };
        let length = body.len();
        conn.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
        ))?;
    }
}

const SHOP: &str = r#"
schema = 1
source = "written for this test"
browser_profile = "edge-156-windows"

[match]
hosts = ["shop.test", "127.0.0.1"]

[request.headers]
X-Shop = "of the target"
accept-language = "fr"

[request.cookies]
consent = "yes"

[tiers]
max = "impersonate"

[retry]
times = 0
"#;

fn home_with(name: &str, text: &str) -> Program {
    let program = Program::new();
    let folder = program.home().join("config/rungs/targets");
    fs::create_dir_all(&folder).expect("a folder of targets");
    fs::write(folder.join(name), text).expect("a target");
    program
}

fn json(run: &FinishedRun) -> Value {
    serde_json::from_slice(&run.stdout).unwrap_or_else(|_| panic!("{run}"))
}

#[test]
fn a_target_in_the_users_folder_sets_headers_cookies_profile_and_tiers() {
    let server = RawServer::start(site);
    let program = home_with("shop.toml", SHOP);
    let own = program.run(["fetch", "--tier", "plain", "-H", "accept-language: de", &server.url("/")]);
    let head = own.text().to_lowercase();
    assert_eq!(own.code, 0, "{own}");
    assert!(head.contains("x-shop: of the target") && head.contains("cookie: consent=yes"), "{head}");
    assert!(head.contains("accept-language: de") && !head.contains("accept-language: fr"), "{head}");
    let got = program.run(["fetch", "--tier", "impersonate", "--format", "json", &server.url("/")]);
    let got = json(&got);
    assert_eq!(got["browser_profile"], "edge-156-windows", "{got}");
    assert!(got["body"].as_str().unwrap().contains(" Edg/156"), "{got}");
    let asked = program.run([
        "fetch",
        "--as",
        "google-chrome-156-windows",
        "--tier",
        "impersonate",
        "--format",
        "json",
        &server.url("/"),
    ]);
    assert_eq!(json(&asked)["browser_profile"], "google-chrome-156-windows", "{asked}");
    // The target does not apply to another host.
    let port = server.port();
    let resolve = format!("other.test:{port}:127.0.0.1");
    let other = program.run([
        "fetch",
        "--tier",
        "plain",
        "--resolve",
        &resolve,
        &format!("http://other.test:{port}/"),
    ]);
    assert!(!other.text().to_lowercase().contains("x-shop"), "{other}");
}

#[test]
fn expectations_and_rules_of_a_target_decide_the_verdict() {
    let server = RawServer::start(site);
    let program = Program::new();
    let file = program.home().join("t.toml");
    let text = "schema = 1\n[match]\nhosts = [\"127.0.0.1\"]\npaths = [\"/p/\"]\n[tiers]\nmax = \"plain\"\n\
        [retry]\ntimes = 0\n[expect]\ncss = \".price\"\n[[rule]]\nid = \"busy\"\nkind = \"block\"\n\
        confidence = 0.9\nsource = \"this test\"\nseen = \"2026-11\"\nall = [{ title = \"Our hamsters are busy\" }]\n";
    fs::write(&file, text).unwrap();
    for (path, code, kind, rule) in
        [("page", 0, "genuine", ""), ("empty", 7, "stub", "expect"), ("busy", 7, "block", "target/busy")]
    {
        let url = server.url(&format!("/p/{path}"));
        let run = program.run(["fetch", "--target", "t.toml", "--format", "json", &url]);
        assert_eq!(run.code, code, "{run}");
        let verdict = &json(&run)["attempts"][0]["verdict"];
        assert_eq!(verdict["kind"], kind, "{run}");
        assert!(verdict["evidence"].to_string().contains(rule), "{run}");
    }
    let elsewhere = program.run(["fetch", "--target", "t.toml", &server.url("/q")]);
    assert_eq!(elsewhere.code, 3, "{elsewhere}");
    assert!(elsewhere.stderr.contains("t.toml") && elsewhere.stderr.contains("[match]"), "{elsewhere}");
    assert_eq!(server.heads().iter().filter(|head| head.contains("/q")).count(), 0);
}

#[test]
fn show_names_the_layer_of_every_value_and_hides_secrets() {
    let program = home_with("shop.toml", SHOP).variable("RUNGS_RATE", "1/s");
    fs::write(program.home().join("config/rungs/config.toml"), "schema = 1\n[timeouts]\ntls = \"9s\"\n")
        .unwrap();
    let run = program.run(["target", "show", "--json", "http://shop.test/"]);
    assert_eq!(run.code, 0, "{run}");
    let shown = json(&run);
    assert_eq!(shown["target"], "shop");
    for (key, value, from) in [
        ("timeouts.tls", "\"9s\"", "config file"),
        ("timeouts.dns", "\"5s\"", "default"),
        ("pace.rate", "\"1/s\"", "environment RUNGS_RATE"),
        ("request.headers.x-shop", "\"***\"", "shop.toml"),
        ("request.cookies.consent", "\"***\"", "shop.toml"),
    ] {
        let row = shown["values"].as_array().unwrap().iter().find(|row| row["key"] == key);
        let row = row.unwrap_or_else(|| panic!("no {key} in {run}"));
        assert_eq!(row["value"], value, "{key}");
        assert!(row["from"].as_str().unwrap().contains(from), "{row}");
    }
    let plain = program.run(["target", "show", "https://books.toscrape.com/"]);
    assert!(plain.text().starts_with("target: books-toscrape\n"), "{plain}");
    let list = program.run(["target", "list"]);
    assert!(list.text().contains("shop.test") && list.text().contains("wikipedia"), "{list}");
}

#[test]
fn mistakes_in_a_target_are_reported_before_any_request() {
    let broken = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/targets/unknown-key.toml");
    let check = rungs(["target", "check", broken]);
    assert_eq!(check.code, 3, "{check}");
    assert!(check.text().contains(":6:1: unknown key `tiers.mx`; did you mean `tiers.max`?"), "{check}");
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/targets/wikipedia.toml");
    assert_eq!(rungs(["target", "check", good]).code, 0);
    let server = RawServer::start(site);
    let used = rungs(["fetch", "--target", broken, &server.url("/")]);
    assert_eq!(used.code, 3, "{used}");
    assert!(used.stderr.contains("did you mean `tiers.max`?"), "{used}");
    let variable = Program::new().variable("RUNGS_MAX_TIER", "sky").run(["fetch", &server.url("/")]);
    assert_eq!(variable.code, 3, "{variable}");
    assert!(variable.stderr.contains("RUNGS_MAX_TIER"), "{variable}");
    let nowhere =
        Program::new().variable("RUNGS_TARGETS", "/no/such/folder").run(["fetch", &server.url("/")]);
    assert_eq!(nowhere.code, 3, "{nowhere}");
    assert!(nowhere.stderr.contains("/no/such/folder"), "{nowhere}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_flag_comes_before_the_environment_and_that_before_a_target() {
    let server = RawServer::start(site);
    let program = home_with("shop.toml", SHOP).variable("RUNGS_MAX_SIZE", "1");
    let small = program.run(["fetch", "--tier", "plain", &server.url("/")]);
    assert_eq!(small.code, 1, "{small}");
    assert!(small.stderr.contains("larger than 1 bytes"), "{small}");
    let flag = program.run(["fetch", "--tier", "plain", "--max-size", "10k", &server.url("/")]);
    assert_eq!(flag.code, 0, "{flag}");
}

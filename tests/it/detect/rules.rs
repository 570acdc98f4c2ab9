//! `rungs detect`, custom rules, and expectations of a page.

use std::fs;

use rungs::detect::{Expectation, Rules};
use rungs::lab::{Exchange, Recorder, Reply};
use rungs::{ErrorKind, Fetcher, Tier, VerdictKind};

use crate::support::{Program, rungs};

const CHALLENGE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/blocks/cloudflare/managed-challenge-403.http");

const OWN: &str = "schema = 1\nname = \"shop\"\nvendor = \"shop\"\n[[rule]]\nid = \"queue\"\nkind = \"rate_limit\"\n\
    confidence = 0.9\nsource = \"seen on the shop\"\nseen = \"2026-11\"\nall = [{ css = \"#queue b\" }]\n";

#[test]
fn a_saved_response_is_explained_with_rule_position_and_bytes() {
    let run = rungs(["detect", CHALLENGE]);
    assert_eq!(run.code, 0, "{run}");
    let text = run.text();
    assert!(text.starts_with("cloudflare challenge (confidence 1.00)\n"), "{run}");
    assert!(text.contains("  cloudflare/challenge-header in header cf-mitigated: challenge\n"), "{run}");
    let json = rungs(["detect", "--format", "json", CHALLENGE]).json();
    assert_eq!((json["kind"].as_str(), json["vendor"].as_str()), (Some("challenge"), Some("cloudflare")));
    assert_eq!(json["evidence"][0]["rule"], "cloudflare/challenge-header");
}

#[test]
fn the_structural_detector_explains_a_response() {
    let answer = "HTTP/1.1 200 OK\ncontent-type: text/html\n\n<html><script>var k=1;document.cookie='a=b;path=/';\
        location.reload()</script></html>";
    let run = Program::new().input(answer).run(["detect", "--explain", "-"]);
    assert_eq!(run.code, 0, "{run}");
    let text = run.text();
    assert!(text.starts_with("challenge (confidence 0."), "{run}");
    assert!(text.contains("\nstructure: ") && text.contains("script_only"), "{run}");
    assert!(text.contains("script_only + sets_cookie + navigates|submits +1.20"), "{run}");
    let json = Program::new().input(answer).run(["detect", "--explain", "--format", "json", "-"]).json();
    assert_eq!(json["structure"]["scores"][0]["kind"], "challenge");
    assert_eq!(json["verdict"]["evidence"][0]["rule"], "structure/challenge");
    let content = format!("HTTP/1.1 200 OK\ncontent-type: text/html\n\n{}", "<p>words".repeat(61));
    let run = Program::new().input(content).run(["detect", "--explain", "-"]);
    assert!(run.text().contains("structure: not judged"), "{run}");
}

#[test]
fn rules_that_nearly_fired_say_what_they_lack() {
    let answer = "HTTP/1.1 200 OK\nserver: DataDome\ncontent-type: text/html\n\n<p>hello";
    let run = Program::new().input(answer).run(["detect", "--explain", "-"]);
    assert_eq!(run.code, 0, "{run}");
    assert!(
        run.text()
            .contains("nearly: datadome/refused (block, 0.90), missing: status 401 or 403 or 405 or 429\n"),
        "{run}"
    );
    let json = Program::new().input(answer).run(["detect", "--explain", "--format", "json", "-"]).json();
    let near = json["near_rules"].as_array().expect("a list");
    assert!(
        near.iter().any(|rule| rule["rule"] == "datadome/refused" && rule["vendor"] == "datadome"),
        "{json}"
    );
    // A rule of which only its status holds is not near.
    let plain = Program::new().input("HTTP/1.1 403 Forbidden\n\n").run(["detect", "--explain", "-"]);
    assert!(!plain.text().contains("nearly: datadome"), "{plain}");
}

const HAR: &str = r#"{"log": {"version": "1.2", "entries": [
  {"request": {"method": "GET", "url": "https://shop.example/p/1"},
   "response": {"status": 302, "redirectURL": "https://shop.example/account/login?next=%2Fp%2F1", "headers": [], "content": {"size": 0}}},
  {"request": {"method": "GET", "url": "https://shop.example/account/login?next=%2Fp%2F1"},
   "response": {"status": 200, "headers": [{"name": ":status", "value": "200"}, {"name": "content-type", "value": "text/html"}],
    "content": {"mimeType": "text/html", "encoding": "base64",
     "text": "PHRpdGxlPlNpZ24gaW48L3RpdGxlPjxmb3JtIG1ldGhvZD1wb3N0PjxpbnB1dCBuYW1lPWVtYWlsPjxpbnB1dCB0eXBlPXBhc3N3b3JkIG5hbWU9cD48YnV0dG9uPlNpZ24gaW48L2J1dHRvbj48L2Zvcm0+"}}},
  {"request": {"method": "GET", "url": "https://shop.example/a\u202eb"},
   "response": {"status": 403, "headers": [{"name": "cf-mitigated", "value": "challenge"}], "content": {"mimeType": "text/html", "text": "<p>x"}}},
  {"request": {"method": "GET", "url": "https://shop.example/lost"}, "response": {"status": 0, "headers": [], "content": {}}}
]}}"#;

#[test]
fn each_response_of_a_har_file_is_judged_with_its_redirects() {
    let run = Program::new().input(HAR).run(["detect", "--har", "-", "--format", "json"]);
    assert_eq!(run.code, 0, "{run}");
    let text = run.text();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON a line")).collect();
    assert_eq!(lines.len(), 2, "{run}");
    assert_eq!(lines[0]["verdict"]["kind"], "login_wall", "{run}");
    assert_eq!(lines[0]["status"], 200);
    assert!(lines[0]["url"].as_str().is_some_and(|url| url.contains("/account/login")), "{run}");
    assert_eq!(lines[1]["verdict"]["vendor"], "cloudflare", "{run}");
    assert!(run.stderr.contains("skipped 1 requests without an HTTP response"), "{run}");
    let run = Program::new().input(HAR).run(["detect", "--har", "-"]);
    assert!(run.text().contains("cloudflare challenge (confidence"), "{run}");
    assert!(!run.text().contains('\u{202e}'), "{run}");
    let broken = Program::new().input("{\"log\": 1}").run(["detect", "--har", "-"]);
    assert_eq!(broken.code, 2, "{broken}");
    assert!(broken.stderr.contains("not a HAR file") && broken.stderr.contains("line 1"), "{broken}");
}

#[test]
fn a_folder_of_saved_pages_is_judged_and_what_is_no_page_is_counted() {
    let program = Program::new();
    let dir = program.home().join("saved");
    fs::create_dir_all(dir.join("sub")).expect("a new folder");
    fs::copy(CHALLENGE, dir.join("b.http")).expect("copied");
    fs::copy(CHALLENGE, dir.join("sub/without-ending")).expect("copied");
    fs::write(dir.join("a.html"), "<title>Verify you are human</title><div class=g-recaptcha>")
        .expect("written");
    fs::write(dir.join("c.har"), HAR).expect("written");
    fs::write(dir.join("notes.txt"), "remember").expect("written");
    fs::write(dir.join("d.http"), "HTTP/1.1 2\n\n").expect("written");
    let folder = dir.display().to_string();
    let run = program.run(["detect", &folder, "--format", "json"]);
    assert_eq!(run.code, 0, "{run}");
    let files: Vec<String> = run
        .text()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON a line"))
        .map(|line| line["file"].as_str().unwrap_or("").replace(&folder, ""))
        .collect();
    assert_eq!(files, ["/a.html", "/b.http", "/c.har", "/c.har", "/sub/without-ending"], "{run}");
    assert!(run.stderr.contains("skipped 2 files that are neither responses, pages nor HAR files"), "{run}");
    // A file that was named is not skipped, and the others are judged.
    let (lost, named) = (format!("{folder}/lost.http"), format!("{folder}/notes.txt"));
    let run = Program::new().run(["detect", &lost, &named, CHALLENGE]);
    assert_eq!(run.code, 1, "{run}");
    assert!(run.stderr.contains("could not read") && run.stderr.contains("notes.txt: "), "{run}");
    assert!(run.text().contains("managed-challenge-403.http: cloudflare challenge"), "{run}");
}

#[test]
fn text_from_the_network_is_escaped_for_the_terminal() {
    let answer = "HTTP/1.1 200 OK\ncontent-type: text/html\n\nAccess denied \x1b[31mred\x07\n";
    let run = Program::new().input(answer).run(["detect", "-"]);
    assert_eq!(run.code, 0, "{run}");
    assert!(run.text().contains("generic/denied-says in body: Access denied"), "{run}");
    assert!(!run.stdout.contains(&0x1b) && !run.stdout.contains(&0x07), "{run}");
}

#[test]
fn the_rules_are_listed_with_where_they_come_from() {
    let run = rungs(["detect", "--rules"]);
    assert_eq!(run.code, 0, "{run}");
    let lines = run.text().lines().count();
    assert_eq!(lines, Rules::shipped().list().count());
    assert!(run.text().contains("Cloudflare's developer documentation"), "{run}");
    let json = rungs(["detect", "--rules", "--format", "json"]).text();
    let first: serde_json::Value =
        serde_json::from_str(json.lines().next().unwrap_or("")).expect("JSON a line");
    assert!(first["id"].is_string() && first["source"].is_string() && first["origin"].is_string(), "{first}");
}

#[test]
fn a_custom_folder_adds_rules_and_disables_shipped_ones() {
    let program = Program::new();
    let dir = program.home().join("blocks");
    fs::create_dir(&dir).expect("a new folder");
    fs::write(dir.join("shop.toml"), OWN).expect("written");
    let off = "schema = 1\nname = \"generic\"\noff = [\"refused\"]\n";
    fs::write(dir.join("generic.toml"), off).expect("written");
    let dir = dir.display().to_string();
    let queue = "HTTP/1.1 200 OK\ncontent-type: text/html\n\n<div id=queue><p><b>41</b> before you</div>";
    let run = Program::new().input(queue).run(["detect", "--rules-dir", &dir, "-"]);
    assert!(run.text().starts_with("shop rate limit"), "{run}");
    let refused = "HTTP/1.1 403 Forbidden\ncontent-type: text/html\n\n<p>No.";
    let run = Program::new().input(refused).run(["detect", "--rules-dir", &dir, "-"]);
    assert!(run.text().starts_with("genuine"), "{run}");
    let run = rungs(["detect", "--rules", "--rules-dir", &dir]);
    assert!(run.text().contains("shop/queue") && !run.text().contains("generic/refused "), "{run}");
}

#[test]
fn a_broken_custom_rule_is_a_config_error_that_names_the_line() {
    let program = Program::new();
    let dir = program.home().join("blocks");
    fs::create_dir(&dir).expect("a new folder");
    fs::write(dir.join("shop.toml"), OWN.replace("confidence", "confidense")).expect("written");
    let run = program.run(["fetch", "--rules-dir", &dir.display().to_string(), "http://127.0.0.1:9/"]);
    assert_eq!(run.code, 3, "{run}");
    assert!(
        run.to_string().contains("shop.toml:7:1: unknown field `confidense`; did you mean `confidence`?"),
        "{run}"
    );
    let run = rungs(["detect", "--rules", "--rules-dir", "no/such/folder"]);
    assert_eq!(run.code, 3, "{run}");
    assert!(run.to_string().contains("--rules-dir: could not read the block rules no/such/folder"), "{run}");
}

#[test]
fn expectations_are_checked_on_a_saved_response_too() {
    let answer =
        "HTTP/1.1 200 OK\ncontent-type: text/html\n\n<!doctype html><title>Desk</title><p id=price>349";
    let run = Program::new().input(answer).run(["detect", "--expect-css", "#price", "-"]);
    assert!(run.text().starts_with("genuine"), "{run}");
    let run = Program::new().input(answer).run([
        "detect",
        "--expect-css",
        "#stars",
        "--expect-min-bytes",
        "2k",
        "-",
    ]);
    assert!(run.text().starts_with("stub (confidence 0.90)\n  expect/css in element: no #stars\n"), "{run}");
    let run = rungs(["detect", "--expect-css", "a + b", CHALLENGE]);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.to_string().contains("--expect-css: the selector `a + b`"), "{run}");
}

/// A site that serves its page to browsers and an empty frame of it to other clients.
fn page_for_browsers_only(heard: &Exchange) -> Reply {
    let agent = heard.request.header("user-agent").unwrap_or_default().to_owned();
    let price = if agent.starts_with("Mozilla/") { "<b id=\"price\">349</b>" } else { "" };
    Reply::html(200, format!("<!doctype html><title>Desk</title><h1>Desk</h1>{price}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_200_that_misses_an_expectation_escalates() {
    let server = Recorder::builder().start(page_for_browsers_only).await.expect("it listens");
    let fetcher = Fetcher::builder().max_tier(Tier::Impersonate).build().expect("good settings");
    let url = format!("http://{}/", server.addr());
    let plain = fetcher.get(&url).send().await.expect("a page");
    assert_eq!(plain.tier(), Tier::Plain, "without an expectation any 200 will do");
    let expect = Expectation::default().css("#price").expect("a selector");
    let page = fetcher.get(&url).expect(expect).send().await.expect("a page");
    assert_eq!(page.tier(), Tier::Impersonate);
    let first = page.trace().attempts()[0].verdict.as_ref().expect("a verdict");
    assert_eq!((first.kind, first.evidence[0].rule.as_str()), (VerdictKind::Stub, "expect/css"));
    let never = Expectation::default().text("Sold out");
    let error = fetcher.get(&url).expect(never).send().await.expect_err("it is nowhere");
    assert_eq!(error.kind(), ErrorKind::Blocked);
}

//! Pages that the structural detector takes for a challenge, and that the browser receives as well. With the installed
//! Chromium.

use crate::support::{FinishedRun, Program, RawServer};

/// A page that is only a script, as a challenge is. It stays, and shows data that it loads.
const SHELL: &str = "<!doctype html><html><head><script>document.cookie='seen=1; path=/';fetch('/data').then(r=>r.text())\
    .then(t=>{if(t==='moved')location.reload();document.body.innerHTML='<h1>Lamps</h1><p>'+t})</script></head></html>";

/// A challenge that writes the page in its own place.
const REWRITES: &str = "<!doctype html><html><head><script>document.cookie='gate=8c1f; path=/';fetch('/data').then(r=>r.text())\
    .then(t=>{if(t==='moved')location.reload();document.open();document.write('<h1>Lamps</h1><p>'+t);document.close()})\
    </script></head></html>";

fn site(page: &'static str) -> RawServer {
    RawServer::start(move |conn| {
        loop {
            let head = conn.read_head()?;
            let body = if head.starts_with("GET /data") { "Brass, 88 euros." } else { page };
            let length = body.len();
            conn.send(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n{body}"
            ))?;
        }
    })
}

fn fetch(program: &Program, url: &str) -> (Vec<String>, FinishedRun) {
    let run = program.run(["fetch", "--format", "json", url]);
    assert_eq!(run.code, 0, "{run}");
    let json = run.json();
    let attempts = json["attempts"].as_array().expect("attempts").iter();
    (attempts.map(|attempt| attempt["tier"].as_str().expect("a tier").to_owned()).collect(), run)
}

#[test]
fn a_page_that_the_browser_receives_too_costs_one_visit_for_its_part_of_the_site() {
    let (program, server) = (Program::new(), site(SHELL));
    let (tiers, run) = fetch(&program, &server.url("/lamps/1"));
    assert_eq!(tiers, ["plain", "impersonate", "browser"], "{run}");
    assert!(run.text().contains("Brass"), "{run}");
    let (tiers, run) = fetch(&program, &server.url("/lamps/2"));
    assert_eq!(tiers, ["plain"], "{run}");
    assert!(run.text().contains("accepted, the browser gets the same"), "the trace says so: {run}");
    // Another part of the site is not known.
    assert_eq!(fetch(&program, &server.url("/chairs/1")).0.last().map(String::as_str), Some("browser"));

    let shown = program.run(["memory", "show"]);
    assert!(
        shown.text().contains("false alarms\n") && shown.text().contains("/lamps/  challenge  "),
        "{shown}"
    );
    let json = program.run(["memory", "show", "--format", "json"]).json();
    assert_eq!(json["false_alarms"].as_array().map(Vec::len), Some(2), "{json}");
    assert_eq!(json["false_alarms"][0]["verdict"], "challenge", "{json}");
    assert_eq!(program.run(["memory", "clear"]).code, 0);
    assert_eq!(fetch(&program, &server.url("/lamps/3")).0.last().map(String::as_str), Some("browser"));
}

#[test]
fn a_challenge_that_writes_the_page_in_its_place_is_not_a_false_alarm() {
    let (program, server) = (Program::new(), site(REWRITES));
    for path in ["/lamps/1", "/lamps/2"] {
        let (tiers, run) = fetch(&program, &server.url(path));
        assert_eq!(tiers.last().map(String::as_str), Some("browser"), "{run}");
        assert!(run.text().contains("Brass"), "{run}");
    }
    let json = program.run(["memory", "show", "--format", "json"]).json();
    assert_eq!(json["false_alarms"].as_array().map(Vec::len), Some(0), "{json}");
}

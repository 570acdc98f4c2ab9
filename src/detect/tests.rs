use std::fs;
use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::{PREFIX, ResponseView, Rules, classify, recorded};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::tier::Tier;
use crate::exchange::verdict::{Verdict, VerdictKind};

/// Classifies a response with a status, `name: value` lines and a body.
fn classify(status: u16, headers: &str, body: &[u8]) -> Verdict {
    let headers = header_map(headers);
    let url = Url::parse("https://site.example/p").unwrap();
    Rules::shipped().classify(&view(status, &headers, &url, body))
}

fn header_map(headers: &str) -> HeaderMap {
    let fields = headers.lines().filter_map(|line| line.split_once(": "));
    fields
        .map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
        })
        .collect()
}

fn view<'a>(status: u16, headers: &'a HeaderMap, url: &'a Url, body: &'a [u8]) -> ResponseView<'a> {
    ResponseView { tier: None, status, headers, url, requested: url, body, complete: true, via_proxy: false }
}

const HTML: &str = "content-type: text/html; charset=utf-8";
const JSON: &str = "content-type: application/json";
const PAGE: &[u8] = b"<!doctype html><html><head><title>Shop</title></head><body><h1>Shop</h1></body></html>";

#[test]
fn statuses_without_a_vendors_sign_are_classified_by_status_and_content_type() {
    use VerdictKind::{Block, Genuine, Geo, OriginError, ProxyFault, RateLimit};
    let table = [
        (200, HTML, Genuine),
        (204, "", Genuine),
        (304, "", Genuine),
        (400, HTML, Genuine),
        (401, HTML, Genuine),
        (403, HTML, Block),
        (403, JSON, Genuine),
        (403, "content-type: application/xml", Genuine),
        (403, "content-type: image/png", Genuine),
        (404, HTML, Genuine),
        (405, HTML, Genuine),
        (407, HTML, ProxyFault),
        (410, HTML, Genuine),
        (429, HTML, RateLimit),
        (429, JSON, RateLimit),
        (451, HTML, Geo),
        (500, HTML, Genuine),
        (502, HTML, OriginError),
        (503, HTML, OriginError),
        (503, "content-type: text/html\nretry-after: 120", OriginError),
        (504, JSON, OriginError),
        (999, HTML, Block),
    ];
    for (status, headers, kind) in table {
        let verdict = classify(status, headers, PAGE);
        assert_eq!(verdict.kind, kind, "{status} {headers}: {verdict:?}");
    }
}

/// Returns every recorded response in a folder of `fixtures`.
fn recorded_responses(folder: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "http") {
                found.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
    }
    found
}

#[test]
fn the_fast_paths_do_not_change_a_verdict() {
    let rules = Rules::shipped();
    let url = Url::parse("https://site.example/p").unwrap();
    let elsewhere = Url::parse("https://site.example/login").unwrap();
    let responses = [recorded_responses("pages"), recorded_responses("blocks")].concat();
    assert!(responses.len() > 300, "{}", responses.len());
    for (path, text) in responses {
        let response = recorded::parse(&text).unwrap();
        let own = response.view(&url);
        // A page above 64 KiB is not parsed, and several rules have a size limit.
        let large = [own.body, &b"<!-- -->".repeat(9_000)].concat();
        for (status, requested, body) in [
            (own.status, own.requested, own.body),
            (200, own.requested, own.body),
            (403, own.requested, own.body),
            (200, &elsewhere, own.body),
            (200, own.requested, &large),
        ] {
            let view = ResponseView { status, requested, body, ..own };
            let full = rules.classify(&view);
            assert_eq!(
                full,
                classify::classify_exhaustively(&rules.0, &view),
                "{path} {status} {}",
                body.len()
            );
            let cheap = rules.classify_cheap(&view);
            assert!(cheap.is_none_or(|verdict| verdict == full), "{path} {status} {}", body.len());
        }
    }
}

#[test]
fn a_title_is_read_for_a_rule_that_a_text_match_adds() {
    let head = "schema = 1\nname = \"t\"\n[[rule]]\nid = \"t\"\nkind = \"block\"\nconfidence = 0.5\nsource = \"t\"\nseen = \"2026-01\"\n";
    let (headers, url) = (header_map(HTML), Url::parse("https://site.example/").unwrap());
    for (lines, page, fires) in [
        (
            "all = [{ text = [\"challenge-x\"] }]\nany = [{ title = \"wait\" }, { header = \"x-no\" }]",
            "Wait",
            true,
        ),
        (
            "all = [{ text = [\"challenge-x\"] }]\nany = [{ title = \"wait\" }, { header = \"x-no\" }]",
            "Shop",
            false,
        ),
        ("all = [{ text = [\"challenge-x\"] }]\nnone = [{ title_has = \"shop\" }]", "Shop", false),
        ("all = [{ text = [\"challenge-x\"] }]\nnone = [{ title_has = \"shop\" }]", "Wait", true),
    ] {
        let rules = Rules::from_toml(&format!("{head}{lines}"), "t.toml").unwrap();
        let body = format!("<html><title>{page}</title><p>challenge-x</p></html>");
        let verdict = rules.classify(&view(200, &headers, &url, body.as_bytes()));
        assert_eq!(!verdict.is_genuine(), fires, "{lines} {page}");
    }
}

#[test]
fn a_401_that_requires_credentials_is_genuine() {
    let verdict = classify(401, "www-authenticate: Basic realm=\"staff\"\ncontent-type: text/html", PAGE);
    assert_eq!(verdict.kind, VerdictKind::Genuine);
    assert_eq!(verdict.evidence[0].rule, "generic/credentials-wanted");
}

#[test]
fn a_vendors_sign_outweighs_the_bare_status() {
    let verdict = classify(403, "content-type: text/html\ncf-mitigated: challenge", PAGE);
    assert_eq!(verdict.to_string(), "cloudflare challenge");
    let rules: Vec<&str> = verdict.evidence.iter().map(|e| e.rule.as_str()).collect();
    assert_eq!(rules, ["cloudflare/challenge-header", "generic/refused"]);
    assert_eq!(verdict.evidence[0].place, "header cf-mitigated");
    assert_eq!(verdict.evidence[0].text, "challenge");
}

#[test]
fn an_unnamed_403_is_a_block_of_lower_confidence() {
    let verdict = classify(403, HTML, PAGE);
    assert_eq!((verdict.kind, verdict.vendor), (VerdictKind::Block, None));
    assert!(verdict.confidence < 0.6);
}

#[test]
fn an_empty_202_with_the_header_is_a_challenge() {
    let verdict = classify(202, "x-amzn-waf-action: challenge\ncontent-length: 0", b"");
    assert_eq!(verdict.to_string(), "aws-waf challenge");
}

#[test]
fn an_empty_page_is_a_stub_unless_its_body_was_not_requested() {
    assert_eq!(classify(200, HTML, b"").kind, VerdictKind::Stub);
    assert_eq!(classify(200, JSON, b"").kind, VerdictKind::Genuine);
    let (headers, url) = (header_map(HTML), Url::parse("https://site.example/").unwrap());
    let head = ResponseView { complete: false, ..view(200, &headers, &url, b"") };
    assert!(Rules::shipped().classify(&head).is_genuine());
}

#[test]
fn json_is_never_classified_by_its_text() {
    let text = br#"{"title":"Just a moment...","x":"_cf_chl_opt /cdn-cgi/challenge-platform/h/"}"#;
    assert!(classify(403, JSON, text).is_genuine());
    assert!(classify(200, JSON, text).is_genuine());
    assert_eq!(classify(403, "content-type: text/html", text).to_string(), "cloudflare challenge");
}

#[test]
fn the_proxys_own_page_is_not_the_sites() {
    let (headers, url) =
        (header_map("x-squid-error: ERR_DNS_FAIL 0\n"), Url::parse("http://site.example/").unwrap());
    let direct = view(503, &headers, &url, b"");
    assert_eq!(Rules::shipped().classify(&direct).kind, VerdictKind::OriginError);
    let proxied = ResponseView { via_proxy: true, ..direct };
    assert_eq!(Rules::shipped().classify(&proxied).kind, VerdictKind::ProxyFault);
}

#[test]
fn a_redirect_to_a_login_page_is_a_login_wall_and_the_login_page_itself_is_not() {
    let headers = header_map(HTML);
    let login = Url::parse("https://site.example/login?next=%2Fp").unwrap();
    let requested = Url::parse("https://site.example/p").unwrap();
    let redirected = ResponseView { requested: &requested, ..view(200, &headers, &login, PAGE) };
    assert_eq!(Rules::shipped().classify(&redirected).kind, VerdictKind::LoginWall);
    assert!(Rules::shipped().classify(&view(200, &headers, &login, PAGE)).is_genuine());
}

#[test]
fn the_browsers_own_error_page_is_a_proxy_fault_if_there_is_a_proxy() {
    let body = b"<html><head><title>site.example</title></head><body class=\"neterror\">no</body></html>";
    let (headers, url) = (header_map(HTML), Url::parse("https://site.example/").unwrap());
    let browser = ResponseView { tier: Some(Tier::Browser), ..view(200, &headers, &url, body) };
    assert_eq!(Rules::shipped().classify(&browser).kind, VerdictKind::OriginError);
    let proxied = ResponseView { via_proxy: true, ..browser };
    assert_eq!(Rules::shipped().classify(&proxied).kind, VerdictKind::ProxyFault);
    let http = ResponseView { tier: Some(Tier::Plain), ..browser };
    assert!(Rules::shipped().classify(&http).is_genuine());
}

#[test]
fn a_sign_beyond_the_prefix_is_not_read() {
    let mut body = vec![b' '; PREFIX];
    body.extend_from_slice(b"_cf_chl_opt /cdn-cgi/challenge-platform/h/");
    assert_eq!(classify(403, HTML, &body).vendor, None);
    body.drain(..100);
    assert_eq!(classify(403, HTML, &body).vendor.as_deref(), Some("cloudflare"));
}

#[test]
fn evidence_is_limited_and_contains_no_cookie_value_or_token() {
    let headers = "set-cookie: datadome=secret1; Path=/\nx-datadome: secret2\nx-kpsdk-ct: secret3";
    let verdict = classify(403, headers, b"");
    let shown = format!("{verdict:?}");
    assert_eq!(verdict.to_string(), "kasada challenge");
    assert!(shown.contains("datadome") && !shown.contains("secret"), "{shown}");
    assert!(verdict.evidence.len() <= 12 && verdict.evidence.iter().all(|e| e.text.chars().count() <= 120));
}

#[test]
fn every_shipped_rule_is_parsed_and_has_a_unique_id() {
    let rules = Rules::shipped();
    let mut ids: Vec<&str> = rules.list().map(|rule| rule.id.as_str()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(count > 50, "{count}");
}

#[test]
fn generic_rules_have_lower_confidence_than_vendor_rules() {
    let rules = Rules::shipped();
    let generic = rules.list().filter(|r| r.id.starts_with("generic/")).map(|r| r.confidence);
    let vendors = rules.list().filter(|r| r.vendor.is_some()).map(|r| r.confidence);
    assert!(generic.fold(0.0, f32::max) < vendors.fold(1.0, f32::min));
}

#[test]
fn the_users_folder_adds_rules_and_overrides_them_by_id() {
    let dir = tempfile::tempdir().unwrap();
    let own = "schema = 1\nname = \"shop\"\nvendor = \"shop\"\n[[rule]]\nid = \"queue\"\nkind = \"stub\"\n\
        confidence = 0.9\nsource = \"ours\"\nseen = \"2026-11\"\nall = [{ path = \"/queue\" }]\n";
    let over = "schema = 1\nname = \"generic\"\n[[rule]]\nid = \"refused\"\nkind = \"geo\"\n\
        confidence = 0.4\nsource = \"ours\"\nseen = \"2026-11-21\"\nstatus = [403]\n";
    fs::write(dir.path().join("shop.toml"), own).unwrap();
    fs::write(dir.path().join("generic.toml"), over).unwrap();
    fs::write(dir.path().join("notes.txt"), "not a rule").unwrap();
    let rules = Rules::with_dir(dir.path()).unwrap();
    assert_eq!(rules.list().count(), Rules::shipped().list().count() + 1);
    let (headers, url) = (header_map(HTML), Url::parse("https://site.example/queue/7").unwrap());
    assert_eq!(rules.classify(&view(200, &headers, &url, PAGE)).to_string(), "shop stub");
    let url = Url::parse("https://site.example/").unwrap();
    assert_eq!(rules.classify(&view(403, &headers, &url, PAGE)).kind, VerdictKind::Geo);
}

#[test]
fn a_shipped_rule_is_disabled_by_name_and_an_unknown_one_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("a.toml", "schema = 1\nname = \"generic\"\noff = [\"refused\", \"unavailable\"]\n");
    let rules = Rules::with_dir(dir.path()).unwrap();
    assert_eq!(rules.list().count(), Rules::shipped().list().count() - 2);
    let (headers, url) = (header_map(HTML), Url::parse("https://site.example/").unwrap());
    assert!(rules.classify(&view(403, &headers, &url, PAGE)).is_genuine());
    write("a.toml", "schema = 1\nname = \"generic\"\noff = [\"refuse\"]\n");
    let error = Rules::with_dir(dir.path()).unwrap_err();
    assert!(error.to_string().contains("there is no shipped rule `generic/refuse`"), "{error}");
}

#[test]
fn two_files_of_the_users_folder_must_not_define_the_same_rule() {
    let dir = tempfile::tempdir().unwrap();
    let own = "schema = 1\nname = \"shop\"\n[[rule]]\nid = \"queue\"\nkind = \"stub\"\n\
        confidence = 0.9\nsource = \"ours\"\nseen = \"2026-11\"\nall = [{ path = \"/queue\" }]\n";
    fs::write(dir.path().join("a.toml"), own).unwrap();
    fs::write(dir.path().join("b.toml"), own).unwrap();
    let error = Rules::with_dir(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("b.toml: the rule `shop/queue` is already defined in ") && error.ends_with("a.toml"),
        "{error}"
    );
}

/// Returns rules that consist of one rule with this condition.
fn single_rule(condition: &str) -> Rules {
    let text = format!(
        "schema = 1\nname = \"x\"\n[[rule]]\nid = \"a\"\nkind = \"stub\"\nconfidence = 0.9\n\
         source = \"s\"\nseen = \"2026-11\"\nall = [{condition}]\n"
    );
    Rules::from_toml(&text, "x.toml").unwrap()
}

#[test]
fn a_path_matches_up_to_a_word_end_and_the_requested_path_is_separate() {
    let headers = header_map(HTML);
    let requested = Url::parse("https://site.example/p/1").unwrap();
    let table = [
        ("{ path = \"/login\" }", "/en/login", true),
        ("{ path = \"/login\" }", "/login.php", true),
        ("{ path = \"/login\" }", "/login-page-design", false),
        ("{ path = \"/login\" }", "/logins", false),
        ("{ path = \"/sorry/\" }", "/sorry/index", true),
        ("{ query = \"captcha=1\" }", "/?a=2&captcha=1", true),
        ("{ query = \"captcha=1\" }", "/captcha=1", false),
        ("{ asked = \"/p\" }", "/elsewhere", true),
        ("{ asked = \"/elsewhere\" }", "/elsewhere", false),
    ];
    for (condition, path, fires) in table {
        let url = requested.join(path).unwrap();
        let response = ResponseView { requested: &requested, ..view(200, &headers, &url, PAGE) };
        assert_eq!(!single_rule(condition).classify(&response).is_genuine(), fires, "{condition} {path}");
    }
}

#[test]
fn json_is_matched_by_its_keys_and_not_by_its_text() {
    let rules = single_rule("{ json = [\"appId\", \"blockScript\"] }");
    let (headers, url) = (header_map(JSON), Url::parse("https://site.example/").unwrap());
    let kind_of = |body: &[u8]| rules.classify(&view(403, &headers, &url, body)).kind;
    assert_eq!(kind_of(br#"{"appId":"a","blockScript":"b","x":1}"#), VerdictKind::Stub);
    assert_eq!(kind_of(br#"{"appId":"a"}"#), VerdictKind::Genuine);
    assert_eq!(kind_of(br#"{"text":"\"appId\":\"a\",\"blockScript\":\"b\""}"#), VerdictKind::Genuine);
    assert_eq!(kind_of(br#"["appId","blockScript"]"#), VerdictKind::Genuine);
    let html = header_map(HTML);
    let page = view(403, &html, &url, br#"{"appId":"a","blockScript":"b"}"#);
    assert!(rules.classify(&page).is_genuine());
}

#[test]
fn a_page_too_large_to_parse_is_classified_without_parsing() {
    let rules = single_rule("{ css = \"#queue b\" }");
    let (headers, url) = (header_map(HTML), Url::parse("https://site.example/").unwrap());
    let small = b"<div id=queue><p><b>41</b></div>";
    assert_eq!(rules.classify_cheap(&view(200, &headers, &url, small)), None);
    assert_eq!(rules.classify(&view(200, &headers, &url, small)).kind, VerdictKind::Stub);
    let large = [&small[..], &b" ".repeat(PREFIX)].concat();
    let cheap = rules.classify_cheap(&view(200, &headers, &url, &large)).unwrap();
    assert!(cheap.is_genuine(), "elements are not searched in a page of this size");
}

#[test]
fn a_missing_folder_is_an_io_error_that_names_it() {
    let error = Rules::with_dir(std::path::Path::new("no/such/folder")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("no/such/folder"), "{error}");
}

#[test]
fn an_invalid_rule_file_is_an_error_with_its_line_and_problem() {
    let head = "schema = 1\nname = \"x\"\n[[rule]]\nid = \"a\"\nkind = \"block\"\nsource = \"s\"\nseen = \"2026-11\"\n";
    let table = [
        ("confidence = 0.5\nstatsu = [403]", "mine.toml:9:1: unknown field `statsu`; did you mean `status`?"),
        ("confidence = \"high\"\nstatus = [403]", "mine.toml:8:14: key `confidence`: invalid type"),
        ("confidence = 1.5\nstatus = [403]", "rule `a`: `confidence` must be above 0.0 and at most 1.0"),
        ("confidence = 0.5", "it needs a status, or a condition"),
        ("confidence = 0.5\nstatus = [\"5xx\"]", "`5xx` is not a range of statuses"),
        ("confidence = 0.5\nstatus = [403]\nmax_bytes = 9000000", "at most 262144 bytes are read"),
        (
            "confidence = 0.5\nall = [{ hedaer = \"server\" }]",
            "mine.toml:9:10: key `all`: unknown field `hedaer`; did you mean `header`?",
        ),
        ("confidence = 0.5\nall = [{ header = \"a b\" }]", "`a b` is not a header name"),
        ("confidence = 0.5\nall = [{ has = \"x\" }]", "`is`, `has` and `starts` need `header`"),
        ("confidence = 0.5\nall = [{}]", "a condition needs a subject"),
        ("confidence = 0.5\nall = [{ cookie = \"a\", css = \"#b\" }]", "a condition has exactly one subject"),
        ("confidence = 0.5\nall = [{ css = \"a + b\" }]", "the selector `a + b`"),
        ("confidence = 0.5\nall = [{ json = [] }]", "`json` needs a non-empty list of texts"),
        ("confidence = 0.5\nall = [{ says = [\"\"] }]", "`says` needs a non-empty list of texts"),
        ("confidence = 0.5\nall = [{ text = [] }]", "`text` needs a non-empty list of texts"),
        ("confidence = 0.5\nkind = \"block\"\nstatus = [403]", "duplicate key"),
    ];
    for (tail, expected) in table {
        let error = Rules::from_toml(&format!("{head}{tail}\n"), "mine.toml").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Profile);
        assert!(error.to_string().starts_with("mine.toml:"), "{error}");
        assert!(error.to_string().contains(expected), "wanted {expected}, got {error}");
    }
    let newer = Rules::from_toml("schema = 2\nname = \"x\"", "mine.toml").unwrap_err();
    assert_eq!(newer.to_string(), "mine.toml: schema is 2, this build reads 1");
}

#[test]
fn at_equal_confidence_the_kind_with_the_more_specific_next_step_wins() {
    let text = "schema = 1\nname = \"x\"\n\
        [[rule]]\nid = \"a\"\nkind = \"challenge\"\nconfidence = 0.9\nsource = \"s\"\nseen = \"2026-11\"\nstatus = [403]\n\
        [[rule]]\nid = \"b\"\nkind = \"captcha\"\nconfidence = 0.9\nsource = \"s\"\nseen = \"2026-11\"\nstatus = [403]\n";
    let rules = Rules::from_toml(text, "x.toml").unwrap();
    let (headers, url) = (header_map(HTML), Url::parse("https://site.example/").unwrap());
    assert_eq!(rules.classify(&view(403, &headers, &url, PAGE)).kind, VerdictKind::Captcha);
}

#[test]
fn a_recorded_response_is_classified_like_a_new_one() {
    let response =
        recorded::parse(b"HTTP/2 429\nx-vercel-mitigated: challenge\ncontent-type: text/html\n\n").unwrap();
    let url = Url::parse("https://site.example/").unwrap();
    assert_eq!(Rules::shipped().classify(&response.view(&url)).to_string(), "vercel challenge");
}

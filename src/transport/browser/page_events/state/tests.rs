//! Tests of the state machine of a page.

use super::*;

fn page(events: &[(&str, &str)]) -> PageState {
    let mut state = PageState::new("F");
    for (method, params) in events {
        state.on_event(method, params, Instant::now());
    }
    state
}

const REQUEST: (&str, &str) =
    ("Network.requestWillBeSent", r#"{"requestId":"L","loaderId":"L","type":"Document","frameId":"F"}"#);
const HEAD: (&str, &str) = (
    "Network.responseReceived",
    r#"{"requestId":"L","type":"Document","response":{"url":"http://a/","status":403}}"#,
);
const COMMIT: (&str, &str) =
    ("Page.frameNavigated", r##"{"frame":{"id":"F","loaderId":"L","url":"http://a/","urlFragment":"#x"}}"##);
const READY: (&str, &str) =
    ("Page.lifecycleEvent", r#"{"frameId":"F","loaderId":"L","name":"DOMContentLoaded"}"#);
const END: (&str, &str) = ("Network.loadingFinished", r#"{"requestId":"L"}"#);

#[test]
fn the_last_main_document_counts() {
    let again = [
        ("Network.requestWillBeSent", r#"{"requestId":"M","loaderId":"M","type":"Document","frameId":"F"}"#),
        (
            "Network.responseReceived",
            r#"{"requestId":"M","type":"Document","response":{"url":"http://a/","status":200}}"#,
        ),
        ("Page.frameNavigated", r#"{"frame":{"id":"F","loaderId":"M","url":"http://a/"}}"#),
    ];
    let state = page(&[&[REQUEST, HEAD, COMMIT, READY, END][..], &again[..]].concat());
    assert_eq!(state.document_count, 2);
    assert_eq!(state.current_document.unwrap().response().unwrap().status, 200);
    assert!(!state.dom_ready);
}

#[test]
fn a_frame_or_subresource_is_not_the_document() {
    let frame = r#"{"requestId":"X","loaderId":"X","type":"Document","frameId":"G"}"#;
    let script = r#"{"requestId":"Y","loaderId":"L","type":"Script","frameId":"F"}"#;
    let state = page(&[("Network.requestWillBeSent", frame), ("Network.requestWillBeSent", script)]);
    assert!(state.pending_document.is_none());
    assert!(!state.traffic.is_empty(), "only the script; a frame does not delay the page");
}

#[test]
fn client_hints_requested_by_a_challenge_or_a_redirect_are_kept() {
    let hop = r#"{"requestId":"L","loaderId":"L","type":"Document","frameId":"F","redirectResponse":
        {"url":"https://a/","status":302,"headers":{"Accept-CH":"Sec-CH-UA-Arch\nSec-CH-UA-Model"}}}"#;
    let challenge = r#"{"requestId":"L","type":"Document","response":
        {"url":"https://b/","status":403,"headers":{"accept-ch":"Sec-CH-UA-Bitness"}}}"#;
    let frame = r#"{"requestId":"X","type":"Document","response":
        {"url":"https://c/","status":200,"headers":{"accept-ch":"Sec-CH-UA-Model"}}}"#;
    let state = page(&[
        REQUEST,
        ("Network.requestWillBeSent", hop),
        ("Network.responseReceived", challenge),
        COMMIT,
        ("Network.responseReceived", frame),
        ("Network.requestWillBeSent", r#"{"requestId":"M","loaderId":"M","type":"Document","frameId":"F"}"#),
        ("Page.frameNavigated", r#"{"frame":{"id":"F","loaderId":"M","url":"https://b/"}}"#),
    ]);
    let own = |(url, hints): (&str, &str)| (url.to_owned(), hints.to_owned());
    let want = [("https://a/", "Sec-CH-UA-Arch,Sec-CH-UA-Model"), ("https://b/", "Sec-CH-UA-Bitness")];
    assert_eq!(state.accept_ch, want.map(own));
}

#[test]
fn the_redirect_chain_is_kept_in_order() {
    let hop = r#"{"requestId":"L","loaderId":"L","type":"Document","frameId":"F",
        "redirectResponse":{"url":"http://a/","status":302}}"#;
    let state = page(&[REQUEST, ("Network.requestWillBeSent", hop)]);
    let document = state.pending_document.unwrap();
    let redirect = document.redirects[0].response.as_ref().unwrap();
    assert_eq!((document.redirects.len(), redirect.url.as_str(), redirect.status), (1, "http://a/", 302));
}

#[test]
fn a_page_is_idle_when_parsed_and_without_requests() {
    let quiet = Duration::from_millis(500);
    let later = || Instant::now() + Duration::from_secs(5);
    let busy = page(&[REQUEST, HEAD, COMMIT, READY]);
    assert!(matches!(busy.check_idle(quiet, later()), WaitStep::Event));
    let done = page(&[REQUEST, HEAD, COMMIT, READY, END]);
    assert!(matches!(done.check_idle(quiet, Instant::now()), WaitStep::At(_)));
    assert!(matches!(done.check_idle(quiet, later()), WaitStep::Done(())));
    assert_eq!(done.url.as_deref(), Some("http://a/#x"));
}

#[test]
fn dialogs_are_dismissed_and_leaving_is_allowed() {
    let mut state = PageState::new("F");
    for (kind, want) in [("alert", false), ("confirm", false), ("beforeunload", true)] {
        let params = format!(r#"{{"type":"{kind}","message":"x"}}"#);
        let reply = state.on_event("Page.javascriptDialogOpening", &params, Instant::now());
        assert!(matches!(reply, Some(EventReply::Dialog { accept }) if accept == want), "{kind}");
    }
}

#[test]
fn unparsable_and_unknown_events_change_nothing() {
    let state = page(&[("Network.requestWillBeSent", "[]"), ("Page.frameNavigated", "{"), ("No.such", "{}")]);
    assert!(state.current_document.is_none() && state.traffic.is_empty());
}

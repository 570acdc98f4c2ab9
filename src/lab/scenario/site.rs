//! The site of all scenarios. Pure.

use super::super::recording::Exchange;
use super::super::reply::Reply;
use crate::fingerprint::profile::WireProtocol;

/// Responds to every request of every scenario.
pub(in super::super) fn respond(exchange: &Exchange) -> Reply {
    let request = &exchange.request;
    let (sets_cookies, path) = match request.path.strip_prefix("/set/") {
        Some(rest) => (true, format!("/{rest}")),
        None => (false, request.path.clone()),
    };
    let scheme = if request.over == WireProtocol::Cleartext { "http" } else { "https" };
    let origin = |authority: String| format!("{scheme}://{authority}");
    let near = origin(format!("near.{}", request.authority));
    let away = origin(request.authority.replacen(".test", "-away.test", 1));
    let home = origin(request.authority.replacen("-away.test", ".test", 1));
    let reply = match path.as_str() {
        "/to-same" => Reply::redirect(302, "/landed"),
        "/to-away" => Reply::redirect(302, format!("{away}/landed")),
        "/back" => Reply::redirect(302, format!("{home}/landed")),
        "/submit-303" => Reply::redirect(303, "/landed"),
        "/submit-307" => Reply::redirect(307, "/landed"),
        "/link" => page("<a href=/page>on</a>"),
        "/link-away" => page(&format!("<a href={away}/page>on</a>")),
        "/link-redirect" => page("<a href=/to-same>on</a>"),
        "/form" => form("/submit"),
        "/form-303" => form("/submit-303"),
        "/form-307" => form("/submit-307"),
        "/script" => script(SCRIPT),
        "/script-redirect" => script("await get('/to-same'); await xhr('GET', '/to-same');"),
        "/script-redirect-away" => script(&format!("await get('/to-away'); await get('{away}/back');")),
        "/script-own" => script(SCRIPT_OWN),
        "/cors" => script(&format!(
            "await get('{near}/get'); await get('{away}/get'); \
             await get('{away}/post', {{method: 'POST', body: 'words'}}); await xhr('GET', '{away}/xhr');"
        )),
        "/cors-preflight" => script(&format!(
            "await get('{away}/post', {{method: 'POST', headers: {{'content-type': 'application/json'}}, body}});"
        )),
        "/upload" => script("await get('/post', {method: 'POST', body: 'x'.repeat(100000)});"),
        "/download" => script("await get('/large'); await get('/fetch');"),
        "/large" => {
            Reply::status(200).header("content-type", "application/octet-stream").body(vec![0; LARGE])
        }
        "/end" => page("").close_after(),
        "/ping" => page("").ping_after(),
        "/settings" => page("").resize_after(),
        "/get" | "/post" | "/fetch" | "/fetch-json" | "/xhr" | "/xhr-json" => Reply::json(200, "{}"),
        "/favicon.ico" => Reply::status(404),
        _ => match path.strip_prefix("/accept-ch/") {
            Some(wanted) => page("").header("accept-ch", accept_ch(wanted)),
            None => page(""),
        },
    };
    let reply = allow_cors(reply, exchange);
    if sets_cookies {
        return reply.header("set-cookie", "first=1; Path=/").header("set-cookie", "second=two; Path=/");
    }
    reply
}

/// Allows scripts of other origins to read a response.
fn allow_cors(reply: Reply, exchange: &Exchange) -> Reply {
    let Some(origin) = exchange.request.header("origin") else { return reply };
    reply.header("access-control-allow-origin", origin).header("access-control-allow-headers", "content-type")
}

/// A page that causes no further request, not even for an icon.
fn page(inner: &str) -> Reply {
    Reply::html(
        200,
        format!("<!doctype html><link rel=icon href='data:,'><title>page</title><p>words</p>{inner}"),
    )
}

fn form(action: &str) -> Reply {
    page(&format!(
        "<form method=post action={action}><input name=q value='a b'><input name=r value=c><button>send</button></form>"
    ))
}

/// A page whose script runs `text`.
fn script(text: &str) -> Reply {
    page(&format!("<script>{HELPERS}(async () => {{ {text} }})();</script>"))
}

/// The Accept-CH value for the hints in `arch+model`, or for `all`.
fn accept_ch(wanted: &str) -> String {
    let hints: Vec<String> = HINTS
        .iter()
        .filter(|hint| wanted == "all" || wanted.split('+').any(|one| one == **hint))
        .map(|hint| format!("sec-ch-ua-{hint}"))
        .collect();
    hints.join(", ")
}

/// All client hints of Chrome that depend on the browser, but not on its window.
const HINTS: [&str; 8] = [
    "arch",
    "bitness",
    "form-factors",
    "full-version",
    "full-version-list",
    "model",
    "platform-version",
    "wow64",
];

/// More than half of the connection's window, and more than one stream window.
const LARGE: usize = 20_000_000;

const HELPERS: &str = r#"
const body = '{"a":1}';
const get = async (url, how) => { try { await (await fetch(url, how)).arrayBuffer(); } catch {} };
const xhr = (method, path, body, headers = {}) => new Promise(done => {
  const x = new XMLHttpRequest();
  x.open(method, path);
  if (body) x.setRequestHeader("content-type", "application/json");
  for (const name in headers) x.setRequestHeader(name, headers[name]);
  x.onloadend = done;
  x.send(body);
});
"#;

const SCRIPT: &str = r#"
  await get("/fetch");
  await get("/fetch-json", {method: "POST", headers: {"content-type": "application/json"}, body});
  await xhr("GET", "/xhr");
  await xhr("POST", "/xhr-json", body);
"#;

const SCRIPT_OWN: &str = r#"
  await get("/fetch", {headers: {"x-requested-with": "XMLHttpRequest"}});
  await get("/fetch-json", {method: "POST", body, headers: {"content-type": "application/json",
    "accept": "application/json", "authorization": "Bearer t", "x-csrf-token": "t"}});
  await xhr("GET", "/xhr", null, {"accept": "application/json", "x-requested-with": "XMLHttpRequest"});
"#;

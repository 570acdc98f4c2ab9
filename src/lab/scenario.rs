//! The scenarios a browser and the impersonate tier are driven through, each described once.
//!
//! Every scenario has host names of its own, so that it begins with no connection, cookie or ticket.

use super::record::Heard;
use super::reply::Reply;
use crate::fingerprint::profile::Over;
use crate::request::Context;

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// How requests may travel for it to make sense.
    pub(super) overs: &'static [Over],
    pub(super) steps: &'static [Step],
}

/// One thing the person at the browser does, and the requests that follow from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) act: Act,
    pub(super) asks: &'static [Ask],
}

/// What the person at the browser does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Types an address into a new tab.
    Open,
    /// Presses the first link or button of the page at hand.
    Click,
    /// Presses the reload button.
    Reload,
}

/// One request as it must be asked of the impersonate tier to be the browser's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) context: Context,
    pub(super) method: &'static str,
    /// Whether it goes to the scenario's second host.
    pub(super) away: bool,
    pub(super) path: &'static str,
    /// Where its redirects end; the path itself without any.
    pub(super) last: &'static str,
    /// The page it comes from, on the scenario's first host.
    pub(super) from: Option<&'static str>,
    pub(super) body: Option<(&'static str, &'static str)>,
}

const fn ask(context: Context, path: &'static str) -> Ask {
    Ask { context, method: "GET", away: false, path, last: path, from: None, body: None }
}

const fn open(path: &'static str) -> Ask {
    ask(Context::Navigation, path)
}

impl Ask {
    const fn from(mut self, page: &'static str) -> Self {
        self.from = Some(page);
        self
    }

    const fn post(mut self, media: &'static str, text: &'static str) -> Self {
        self.method = "POST";
        self.body = Some((media, text));
        self
    }

    const fn to(mut self, last: &'static str) -> Self {
        self.last = last;
        self
    }

    const fn away(mut self) -> Self {
        self.away = true;
        self
    }
}

const fn step(act: Act, asks: &'static [Ask]) -> Step {
    Step { act, asks }
}

const ALL: &[Over] = &[Over::H2, Over::H1, Over::Cleartext];
const TLS: &[Over] = &[Over::H2, Over::H1];
const FORM: &str = "application/x-www-form-urlencoded";
const FIELDS: &str = "q=a+b&r=c";
const JSON: &str = "application/json";
const OBJECT: &str = r#"{"a":1}"#;

const SUBMIT: Ask = ask(Context::Form, "/submit").post(FORM, FIELDS);
/// What the page's script asks for, one after the other.
const SCRIPT: [Ask; 4] = [
    ask(Context::Fetch, "/fetch"),
    ask(Context::Fetch, "/fetch-json").post(JSON, OBJECT),
    ask(Context::Xhr, "/xhr"),
    ask(Context::Xhr, "/xhr-json").post(JSON, OBJECT),
];
const fn script(page: &'static str) -> [Ask; 5] {
    let [a, b, c, d] = SCRIPT;
    [open(page), a.from(page), b.from(page), c.from(page), d.from(page)]
}
const SCRIPTED: [Ask; 5] = script("/script");
const SCRIPTED_COOKIES: [Ask; 5] = script("/set/script");

/// All scenarios, in the order they are driven.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "navigation", overs: ALL, steps: &[step(Act::Open, &[open("/page")])] },
    Scenario {
        name: "second",
        overs: ALL,
        steps: &[step(Act::Open, &[open("/page")]), step(Act::Open, &[open("/second")])],
    },
    Scenario {
        name: "link",
        overs: ALL,
        steps: &[step(Act::Open, &[open("/link")]), step(Act::Click, &[open("/page").from("/link")])],
    },
    Scenario {
        name: "link-away",
        overs: ALL,
        steps: &[
            step(Act::Open, &[open("/link-away")]),
            step(Act::Click, &[open("/page").from("/link-away").away()]),
        ],
    },
    Scenario {
        name: "reload",
        overs: ALL,
        steps: &[step(Act::Open, &[open("/page")]), step(Act::Reload, &[ask(Context::Reload, "/page")])],
    },
    Scenario {
        name: "form",
        overs: ALL,
        steps: &[step(Act::Open, &[open("/form")]), step(Act::Click, &[SUBMIT.from("/form")])],
    },
    Scenario { name: "script", overs: ALL, steps: &[step(Act::Open, &SCRIPTED)] },
    Scenario { name: "redirect", overs: ALL, steps: &[step(Act::Open, &[open("/to-same").to("/landed")])] },
    Scenario {
        name: "redirect-away",
        overs: ALL,
        steps: &[step(Act::Open, &[open("/to-away").to("/landed")])],
    },
    Scenario {
        name: "link-redirect",
        overs: ALL,
        steps: &[
            step(Act::Open, &[open("/link-redirect")]),
            step(Act::Click, &[open("/to-same").from("/link-redirect").to("/landed")]),
        ],
    },
    Scenario {
        name: "cookies",
        overs: ALL,
        steps: &[
            step(Act::Open, &[open("/set/page")]),
            step(Act::Reload, &[ask(Context::Reload, "/set/page")]),
            step(Act::Open, &[open("/page")]),
            step(Act::Open, &[open("/to-same").to("/landed")]),
        ],
    },
    Scenario {
        name: "cookies-form",
        overs: ALL,
        steps: &[step(Act::Open, &[open("/set/form")]), step(Act::Click, &[SUBMIT.from("/set/form")])],
    },
    Scenario { name: "cookies-script", overs: ALL, steps: &[step(Act::Open, &SCRIPTED_COOKIES)] },
    Scenario {
        name: "hints",
        overs: TLS,
        steps: &[
            step(Act::Open, &[open("/accept-ch")]),
            step(Act::Open, &[open("/page")]),
            step(Act::Reload, &[ask(Context::Reload, "/page")]),
            step(Act::Open, &[open("/to-same").to("/landed")]),
        ],
    },
    Scenario {
        name: "hints-form",
        overs: TLS,
        steps: &[
            step(Act::Open, &[open("/accept-ch")]),
            step(Act::Open, &[open("/form")]),
            step(Act::Click, &[SUBMIT.from("/form")]),
        ],
    },
    Scenario {
        name: "hints-script",
        overs: TLS,
        steps: &[step(Act::Open, &[open("/accept-ch")]), step(Act::Open, &SCRIPTED)],
    },
    Scenario {
        name: "resumption",
        overs: TLS,
        steps: &[step(Act::Open, &[open("/end")]), step(Act::Open, &[open("/page")])],
    },
];

/// How many first connections tell what is random from what is fixed.
pub(super) const HELLOS: usize = 8;

/// Whether a name belongs to a scenario's first host, second host or one of the hellos'.
pub(super) fn hosts() -> Vec<String> {
    let mut names: Vec<String> = (0..HELLOS).map(hello_host).collect();
    for scenario in SCENARIOS {
        for over in scenario.overs {
            names.push(host(scenario.name, *over, false));
            names.push(host(scenario.name, *over, true));
        }
    }
    names
}

/// The host of the `n`th hello.
pub(super) fn hello_host(n: usize) -> String {
    format!("hello-{n}.test")
}

/// The scenario's host, first or second.
pub(super) fn host(scenario: &str, over: Over, away: bool) -> String {
    format!("{scenario}-{}{}.test", over.name(), if away { "-away" } else { "" })
}

/// Answers every request of every scenario.
pub(super) fn site(heard: &Heard) -> Reply {
    let request = &heard.request;
    let (set, path) = match request.path.strip_prefix("/set/") {
        Some(rest) => (true, format!("/{rest}")),
        None => (false, request.path.clone()),
    };
    let scheme = if request.over == Over::Cleartext { "http" } else { "https" };
    let away = request.authority.replacen(".test", "-away.test", 1);
    let reply = match path.as_str() {
        "/to-same" => Reply::redirect(302, "/landed"),
        "/to-away" => Reply::redirect(302, format!("{scheme}://{away}/landed")),
        "/link" => page("<a href=/page>on</a>"),
        "/link-away" => page(&format!("<a href={scheme}://{away}/page>on</a>")),
        "/link-redirect" => page("<a href=/to-same>on</a>"),
        "/form" => page(
            "<form method=post action=/submit><input name=q value='a b'><input name=r value=c><button>send</button></form>",
        ),
        "/script" => page(SCRIPT_PAGE),
        "/accept-ch" => page("").header("accept-ch", ACCEPT_CH),
        "/end" => page("").closing(),
        "/fetch" | "/fetch-json" | "/xhr" | "/xhr-json" => Reply::json(200, "{}"),
        "/favicon.ico" => Reply::status(404),
        _ => page(""),
    };
    if set {
        return reply.header("set-cookie", "first=1; Path=/").header("set-cookie", "second=two; Path=/");
    }
    reply
}

/// A page that makes the browser ask for nothing else, its icon included.
fn page(inner: &str) -> Reply {
    Reply::html(
        200,
        format!("<!doctype html><link rel=icon href='data:,'><title>page</title><p>words</p>{inner}"),
    )
}

/// Every hint that Chrome knows and that follows from the browser, not from its window.
const ACCEPT_CH: &str = "sec-ch-ua-arch, sec-ch-ua-bitness, sec-ch-ua-form-factors, sec-ch-ua-full-version, sec-ch-ua-full-version-list, sec-ch-ua-model, sec-ch-ua-platform-version, sec-ch-ua-wow64";

const SCRIPT_PAGE: &str = r#"<script>
const xhr = (method, path, body) => new Promise(done => {
  const x = new XMLHttpRequest();
  x.open(method, path);
  if (body) x.setRequestHeader("content-type", "application/json");
  x.onloadend = done;
  x.send(body);
});
(async () => {
  await (await fetch("/fetch")).text();
  const body = '{"a":1}';
  await (await fetch("/fetch-json", {method: "POST", headers: {"content-type": "application/json"}, body})).text();
  await xhr("GET", "/xhr");
  await xhr("POST", "/xhr-json", body);
})();
</script>"#;

//! All scenarios.

use super::{Act, Ask, Place, Scenario, Step};
use crate::fingerprint::profile::Over;
use crate::request::Context;

/// All scenarios, in the order they are driven.
pub(in super::super) const SCENARIOS: &[Scenario] = &[
    scenario("navigation", ALL, &[step(Act::Open, &[open("/page")])]),
    scenario("second", ALL, &[step(Act::Open, &[open("/page")]), step(Act::Open, &[open("/second")])]),
    scenario(
        "link",
        ALL,
        &[step(Act::Open, &[open("/link")]), step(Act::Click, &[open("/page").from("/link")])],
    ),
    scenario(
        "link-away",
        ALL,
        &[
            step(Act::Open, &[open("/link-away")]),
            step(Act::Click, &[open("/page").from("/link-away").at(Place::Away)]),
        ],
    ),
    scenario(
        "reload",
        ALL,
        &[step(Act::Open, &[open("/page")]), step(Act::Reload, &[ask(Context::Reload, "/page")])],
    ),
    scenario(
        "form",
        ALL,
        &[step(Act::Open, &[open("/form")]), step(Act::Click, &[submit("/submit").from("/form")])],
    ),
    scenario(
        "form-redirect",
        ALL,
        &[
            step(Act::Open, &[open("/form-303")]),
            step(Act::Click, &[submit("/submit-303").from("/form-303").to(Place::Home, "/landed")]),
        ],
    ),
    scenario(
        "form-redirect-kept",
        ALL,
        &[
            step(Act::Open, &[open("/set/form-307")]),
            step(Act::Click, &[submit("/submit-307").from("/set/form-307").to(Place::Home, "/landed")]),
        ],
    ),
    scenario("script", ALL, &[step(Act::Open, &SCRIPTED)]),
    checked(
        "script-redirect",
        ALL,
        &[step(
            Act::Open,
            &[
                open("/script-redirect"),
                ask(Context::Fetch, "/to-same").from("/script-redirect").to(Place::Home, "/landed"),
                ask(Context::Xhr, "/to-same").from("/script-redirect").to(Place::Home, "/landed"),
            ],
        )],
    ),
    checked(
        "script-redirect-away",
        ALL,
        &[step(
            Act::Open,
            &[
                open("/script-redirect-away"),
                ask(Context::Fetch, "/to-away").from("/script-redirect-away").to(Place::Away, "/landed"),
                ask(Context::Fetch, "/back")
                    .at(Place::Away)
                    .from("/script-redirect-away")
                    .to(Place::Home, "/landed"),
            ],
        )],
    ),
    checked("script-own", ALL, &[step(Act::Open, &[open("/script-own"), OWN[0], OWN[1], OWN[2]])]),
    checked(
        "cors",
        ALL,
        &[step(
            Act::Open,
            &[
                open("/cors"),
                ask(Context::Fetch, "/get").at(Place::Near).from("/cors"),
                ask(Context::Fetch, "/get").at(Place::Away).from("/cors"),
                ask(Context::Fetch, "/post").at(Place::Away).from("/cors").sent("words", 1),
                ask(Context::Xhr, "/xhr").at(Place::Away).from("/cors"),
            ],
        )],
    ),
    checked(
        "cors-preflight",
        ALL,
        &[step(
            Act::Open,
            &[
                open("/cors-preflight"),
                ask(Context::Fetch, "/post").at(Place::Away).from("/cors-preflight").post(JSON, OBJECT),
            ],
        )],
    ),
    scenario("redirect", ALL, &[step(Act::Open, &[open("/to-same").to(Place::Home, "/landed")])]),
    scenario("redirect-away", ALL, &[step(Act::Open, &[open("/to-away").to(Place::Away, "/landed")])]),
    scenario(
        "link-redirect",
        ALL,
        &[
            step(Act::Open, &[open("/link-redirect")]),
            step(Act::Click, &[open("/to-same").from("/link-redirect").to(Place::Home, "/landed")]),
        ],
    ),
    scenario(
        "cookies",
        ALL,
        &[
            step(Act::Open, &[open("/set/page")]),
            step(Act::Reload, &[ask(Context::Reload, "/set/page")]),
            step(Act::Open, &[open("/page")]),
            step(Act::Open, &[open("/to-same").to(Place::Home, "/landed")]),
        ],
    ),
    scenario(
        "cookies-form",
        ALL,
        &[step(Act::Open, &[open("/set/form")]), step(Act::Click, &[submit("/submit").from("/set/form")])],
    ),
    scenario("cookies-script", ALL, &[step(Act::Open, &SCRIPTED_COOKIES)]),
    scenario(
        "hints",
        TLS,
        &[
            step(Act::Open, &[open("/accept-ch/all")]),
            step(Act::Open, &[open("/page")]),
            step(Act::Reload, &[ask(Context::Reload, "/page")]),
            step(Act::Open, &[open("/to-same").to(Place::Home, "/landed")]),
        ],
    ),
    scenario(
        "hints-form",
        TLS,
        &[
            step(Act::Open, &[open("/accept-ch/all")]),
            step(Act::Open, &[open("/form")]),
            step(Act::Click, &[submit("/submit").from("/form")]),
            step(Act::Open, &[open("/form-303")]),
            step(Act::Click, &[submit("/submit-303").from("/form-303").to(Place::Home, "/landed")]),
        ],
    ),
    scenario("hints-script", TLS, &[step(Act::Open, &[open("/accept-ch/all")]), step(Act::Open, &SCRIPTED)]),
    checked(
        "hints-one",
        TLS,
        &[step(Act::Open, &[open("/accept-ch/full-version-list")]), step(Act::Open, &SCRIPTED)],
    ),
    checked(
        "hints-two",
        TLS,
        &[step(Act::Open, &[open("/accept-ch/model+platform-version")]), step(Act::Open, &SCRIPTED_COOKIES)],
    ),
    checked(
        "hints-four",
        TLS,
        &[
            step(Act::Open, &[open("/accept-ch/arch+bitness+platform-version+wow64")]),
            step(Act::Open, &SCRIPTED),
            step(Act::Open, &[open("/page")]),
        ],
    ),
    scenario("resumption", TLS, &[step(Act::Open, &[open("/end")]), step(Act::Open, &[open("/page")])]),
    checked(
        "upload",
        TLS,
        &[step(Act::Open, &[open("/upload"), ask(Context::Fetch, "/post").from("/upload").sent("x", LARGE)])],
    ),
    checked(
        "download",
        H2,
        &[step(
            Act::Open,
            &[
                open("/download"),
                ask(Context::Fetch, "/large").from("/download"),
                ask(Context::Fetch, "/fetch").from("/download"),
            ],
        )],
    ),
    checked("pinged", H2, &[step(Act::Open, &[open("/ping")]), step(Act::Open, &[open("/page")])]),
    checked("resized", H2, &[step(Act::Open, &[open("/settings")]), step(Act::Open, &[open("/page")])]),
    checked("idle", H2, &[step(Act::Open, &[open("/page")]), step(Act::OpenLater, &[open("/second")])]),
];

/// How many bytes the upload has: more than one frame, and than one window.
const LARGE: usize = 100_000;

const fn scenario(name: &'static str, overs: &'static [Over], steps: &'static [Step]) -> Scenario {
    Scenario { name, overs, steps, captured: true }
}

/// One from which no profile is made.
const fn checked(name: &'static str, overs: &'static [Over], steps: &'static [Step]) -> Scenario {
    Scenario { name, overs, steps, captured: false }
}

const fn step(act: Act, asks: &'static [Ask]) -> Step {
    Step { act, asks }
}

const fn ask(context: Context, path: &'static str) -> Ask {
    let at = Place::Home;
    Ask { context, method: "GET", at, path, ends: (at, path), from: None, body: None, own: &[] }
}

const fn open(path: &'static str) -> Ask {
    ask(Context::Navigation, path)
}

const fn submit(path: &'static str) -> Ask {
    ask(Context::Form, path).post(FORM, FIELDS)
}

impl Ask {
    const fn from(mut self, page: &'static str) -> Self {
        self.from = Some(page);
        self
    }

    const fn post(self, media: &'static str, text: &'static str) -> Self {
        self.typed(Some(media), text, 1)
    }

    /// A body whose type is left to the browser.
    const fn sent(self, text: &'static str, times: usize) -> Self {
        self.typed(None, text, times)
    }

    const fn typed(mut self, media: Option<&'static str>, text: &'static str, times: usize) -> Self {
        self.method = "POST";
        self.body = Some((media, text, times));
        self
    }

    const fn at(mut self, place: Place) -> Self {
        self.at = place;
        self.ends.0 = place;
        self
    }

    const fn to(mut self, place: Place, path: &'static str) -> Self {
        self.ends = (place, path);
        self
    }

    const fn own(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.own = headers;
        self
    }
}

const ALL: &[Over] = &[Over::H2, Over::H1, Over::Cleartext];
const TLS: &[Over] = &[Over::H2, Over::H1];
const H2: &[Over] = &[Over::H2];
const FORM: &str = "application/x-www-form-urlencoded";
const FIELDS: &str = "q=a+b&r=c";
const JSON: &str = "application/json";
const OBJECT: &str = r#"{"a":1}"#;

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

/// Requests with headers that the script itself sets.
const OWN: [Ask; 3] = [
    ask(Context::Fetch, "/fetch").from("/script-own").own(&[("x-requested-with", "XMLHttpRequest")]),
    ask(Context::Fetch, "/fetch-json").from("/script-own").post(JSON, OBJECT).own(&[
        ("accept", "application/json"),
        ("authorization", "Bearer t"),
        ("x-csrf-token", "t"),
    ]),
    ask(Context::Xhr, "/xhr")
        .from("/script-own")
        .own(&[("accept", "application/json"), ("x-requested-with", "XMLHttpRequest")]),
];

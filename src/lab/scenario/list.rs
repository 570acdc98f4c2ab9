//! All scenarios.

use super::{ExpectedRequest, Scenario, ScenarioHost, ScenarioStep, UserAction};
use crate::exchange::request::Context;
use crate::fingerprint::profile::WireProtocol;

/// All scenarios, in order of execution.
pub(in super::super) const SCENARIOS: &[Scenario] = &[
    scenario("navigation", ALL, &[step(UserAction::Open, &[open("/page")])]),
    scenario(
        "second",
        ALL,
        &[step(UserAction::Open, &[open("/page")]), step(UserAction::Open, &[open("/second")])],
    ),
    scenario(
        "link",
        ALL,
        &[
            step(UserAction::Open, &[open("/link")]),
            step(UserAction::Click, &[open("/page").referrer("/link")]),
        ],
    ),
    scenario(
        "link-away",
        ALL,
        &[
            step(UserAction::Open, &[open("/link-away")]),
            step(UserAction::Click, &[open("/page").referrer("/link-away").host(ScenarioHost::CrossSite)]),
        ],
    ),
    scenario(
        "reload",
        ALL,
        &[
            step(UserAction::Open, &[open("/page")]),
            step(UserAction::Reload, &[request(Context::Reload, "/page")]),
        ],
    ),
    scenario(
        "form",
        ALL,
        &[
            step(UserAction::Open, &[open("/form")]),
            step(UserAction::Click, &[submit("/submit").referrer("/form")]),
        ],
    ),
    scenario(
        "form-redirect",
        ALL,
        &[
            step(UserAction::Open, &[open("/form-303")]),
            step(
                UserAction::Click,
                &[submit("/submit-303").referrer("/form-303").redirects_to(ScenarioHost::Primary, "/landed")],
            ),
        ],
    ),
    scenario(
        "form-redirect-kept",
        ALL,
        &[
            step(UserAction::Open, &[open("/set/form-307")]),
            step(
                UserAction::Click,
                &[submit("/submit-307")
                    .referrer("/set/form-307")
                    .redirects_to(ScenarioHost::Primary, "/landed")],
            ),
        ],
    ),
    scenario("script", ALL, &[step(UserAction::Open, &SCRIPTED)]),
    verify_only(
        "script-redirect",
        ALL,
        &[step(
            UserAction::Open,
            &[
                open("/script-redirect"),
                request(Context::Fetch, "/to-same")
                    .referrer("/script-redirect")
                    .redirects_to(ScenarioHost::Primary, "/landed"),
                request(Context::Xhr, "/to-same")
                    .referrer("/script-redirect")
                    .redirects_to(ScenarioHost::Primary, "/landed"),
            ],
        )],
    ),
    verify_only(
        "script-redirect-away",
        ALL,
        &[step(
            UserAction::Open,
            &[
                open("/script-redirect-away"),
                request(Context::Fetch, "/to-away")
                    .referrer("/script-redirect-away")
                    .redirects_to(ScenarioHost::CrossSite, "/landed"),
                request(Context::Fetch, "/back")
                    .host(ScenarioHost::CrossSite)
                    .referrer("/script-redirect-away")
                    .redirects_to(ScenarioHost::Primary, "/landed"),
            ],
        )],
    ),
    verify_only(
        "script-own",
        ALL,
        &[step(
            UserAction::Open,
            &[open("/script-own"), SCRIPTED_HEADERS[0], SCRIPTED_HEADERS[1], SCRIPTED_HEADERS[2]],
        )],
    ),
    verify_only(
        "cors",
        ALL,
        &[step(
            UserAction::Open,
            &[
                open("/cors"),
                request(Context::Fetch, "/get").host(ScenarioHost::SameSite).referrer("/cors"),
                request(Context::Fetch, "/get").host(ScenarioHost::CrossSite).referrer("/cors"),
                request(Context::Fetch, "/post")
                    .host(ScenarioHost::CrossSite)
                    .referrer("/cors")
                    .text_body("words", 1),
                request(Context::Xhr, "/xhr").host(ScenarioHost::CrossSite).referrer("/cors"),
            ],
        )],
    ),
    verify_only(
        "cors-preflight",
        ALL,
        &[step(
            UserAction::Open,
            &[
                open("/cors-preflight"),
                request(Context::Fetch, "/post")
                    .host(ScenarioHost::CrossSite)
                    .referrer("/cors-preflight")
                    .post(JSON, OBJECT),
            ],
        )],
    ),
    scenario(
        "redirect",
        ALL,
        &[step(UserAction::Open, &[open("/to-same").redirects_to(ScenarioHost::Primary, "/landed")])],
    ),
    scenario(
        "redirect-away",
        ALL,
        &[step(UserAction::Open, &[open("/to-away").redirects_to(ScenarioHost::CrossSite, "/landed")])],
    ),
    scenario(
        "link-redirect",
        ALL,
        &[
            step(UserAction::Open, &[open("/link-redirect")]),
            step(
                UserAction::Click,
                &[open("/to-same").referrer("/link-redirect").redirects_to(ScenarioHost::Primary, "/landed")],
            ),
        ],
    ),
    scenario(
        "cookies",
        ALL,
        &[
            step(UserAction::Open, &[open("/set/page")]),
            step(UserAction::Reload, &[request(Context::Reload, "/set/page")]),
            step(UserAction::Open, &[open("/page")]),
            step(UserAction::Open, &[open("/to-same").redirects_to(ScenarioHost::Primary, "/landed")]),
        ],
    ),
    scenario(
        "cookies-form",
        ALL,
        &[
            step(UserAction::Open, &[open("/set/form")]),
            step(UserAction::Click, &[submit("/submit").referrer("/set/form")]),
        ],
    ),
    scenario("cookies-script", ALL, &[step(UserAction::Open, &SCRIPTED_COOKIES)]),
    scenario(
        "hints",
        TLS,
        &[
            step(UserAction::Open, &[open("/accept-ch/all")]),
            step(UserAction::Open, &[open("/page")]),
            step(UserAction::Reload, &[request(Context::Reload, "/page")]),
            step(UserAction::Open, &[open("/to-same").redirects_to(ScenarioHost::Primary, "/landed")]),
        ],
    ),
    scenario(
        "hints-form",
        TLS,
        &[
            step(UserAction::Open, &[open("/accept-ch/all")]),
            step(UserAction::Open, &[open("/form")]),
            step(UserAction::Click, &[submit("/submit").referrer("/form")]),
            step(UserAction::Open, &[open("/form-303")]),
            step(
                UserAction::Click,
                &[submit("/submit-303").referrer("/form-303").redirects_to(ScenarioHost::Primary, "/landed")],
            ),
        ],
    ),
    scenario(
        "hints-script",
        TLS,
        &[step(UserAction::Open, &[open("/accept-ch/all")]), step(UserAction::Open, &SCRIPTED)],
    ),
    verify_only(
        "hints-one",
        TLS,
        &[step(UserAction::Open, &[open("/accept-ch/full-version-list")]), step(UserAction::Open, &SCRIPTED)],
    ),
    verify_only(
        "hints-two",
        TLS,
        &[
            step(UserAction::Open, &[open("/accept-ch/model+platform-version")]),
            step(UserAction::Open, &SCRIPTED_COOKIES),
        ],
    ),
    verify_only(
        "hints-four",
        TLS,
        &[
            step(UserAction::Open, &[open("/accept-ch/arch+bitness+platform-version+wow64")]),
            step(UserAction::Open, &SCRIPTED),
            step(UserAction::Open, &[open("/page")]),
        ],
    ),
    scenario(
        "resumption",
        TLS,
        &[step(UserAction::Open, &[open("/end")]), step(UserAction::Open, &[open("/page")])],
    ),
    verify_only(
        "upload",
        TLS,
        &[step(
            UserAction::Open,
            &[open("/upload"), request(Context::Fetch, "/post").referrer("/upload").text_body("x", LARGE)],
        )],
    ),
    verify_only(
        "download",
        H2,
        &[step(
            UserAction::Open,
            &[
                open("/download"),
                request(Context::Fetch, "/large").referrer("/download"),
                request(Context::Fetch, "/fetch").referrer("/download"),
            ],
        )],
    ),
    verify_only(
        "pinged",
        H2,
        &[step(UserAction::Open, &[open("/ping")]), step(UserAction::Open, &[open("/page")])],
    ),
    verify_only(
        "resized",
        H2,
        &[step(UserAction::Open, &[open("/settings")]), step(UserAction::Open, &[open("/page")])],
    ),
    verify_only(
        "idle",
        H2,
        &[step(UserAction::Open, &[open("/page")]), step(UserAction::OpenLater, &[open("/second")])],
    ),
];

/// The size of the upload in bytes: more than one frame, and more than one window.
const LARGE: usize = 100_000;

const fn scenario(
    name: &'static str,
    protocols: &'static [WireProtocol],
    steps: &'static [ScenarioStep],
) -> Scenario {
    Scenario { name, protocols, steps, is_captured: true }
}

/// A scenario that is compared, but not used to build profiles.
const fn verify_only(
    name: &'static str,
    protocols: &'static [WireProtocol],
    steps: &'static [ScenarioStep],
) -> Scenario {
    Scenario { name, protocols, steps, is_captured: false }
}

const fn step(action: UserAction, requests: &'static [ExpectedRequest]) -> ScenarioStep {
    ScenarioStep { action, requests }
}

const fn request(context: Context, path: &'static str) -> ExpectedRequest {
    let primary = ScenarioHost::Primary;
    ExpectedRequest {
        context,
        method: "GET",
        host: primary,
        path,
        final_target: (primary, path),
        referrer: None,
        body: None,
        script_headers: &[],
    }
}

const fn open(path: &'static str) -> ExpectedRequest {
    request(Context::Navigation, path)
}

const fn submit(path: &'static str) -> ExpectedRequest {
    request(Context::Form, path).post(FORM, FIELDS)
}

impl ExpectedRequest {
    const fn referrer(mut self, page: &'static str) -> Self {
        self.referrer = Some(page);
        self
    }

    const fn post(self, media: &'static str, text: &'static str) -> Self {
        self.body(Some(media), text, 1)
    }

    /// Sets a body whose content type the browser chooses.
    const fn text_body(self, text: &'static str, times: usize) -> Self {
        self.body(None, text, times)
    }

    const fn body(mut self, media: Option<&'static str>, text: &'static str, times: usize) -> Self {
        self.method = "POST";
        self.body = Some((media, text, times));
        self
    }

    const fn host(mut self, host_kind: ScenarioHost) -> Self {
        self.host = host_kind;
        self.final_target.0 = host_kind;
        self
    }

    const fn redirects_to(mut self, host_kind: ScenarioHost, path: &'static str) -> Self {
        self.final_target = (host_kind, path);
        self
    }

    const fn script_headers(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.script_headers = headers;
        self
    }
}

const ALL: &[WireProtocol] = &[WireProtocol::Http2, WireProtocol::Http1, WireProtocol::Cleartext];
const TLS: &[WireProtocol] = &[WireProtocol::Http2, WireProtocol::Http1];
const H2: &[WireProtocol] = &[WireProtocol::Http2];
const FORM: &str = "application/x-www-form-urlencoded";
const FIELDS: &str = "q=a+b&r=c";
const JSON: &str = "application/json";
const OBJECT: &str = r#"{"a":1}"#;

/// The requests of the page's script, in order.
const SCRIPT: [ExpectedRequest; 4] = [
    request(Context::Fetch, "/fetch"),
    request(Context::Fetch, "/fetch-json").post(JSON, OBJECT),
    request(Context::Xhr, "/xhr"),
    request(Context::Xhr, "/xhr-json").post(JSON, OBJECT),
];
const fn script(page: &'static str) -> [ExpectedRequest; 5] {
    let [a, b, c, d] = SCRIPT;
    [open(page), a.referrer(page), b.referrer(page), c.referrer(page), d.referrer(page)]
}
const SCRIPTED: [ExpectedRequest; 5] = script("/script");
const SCRIPTED_COOKIES: [ExpectedRequest; 5] = script("/set/script");

/// Requests with headers set by the script itself.
const SCRIPTED_HEADERS: [ExpectedRequest; 3] = [
    request(Context::Fetch, "/fetch")
        .referrer("/script-own")
        .script_headers(&[("x-requested-with", "XMLHttpRequest")]),
    request(Context::Fetch, "/fetch-json").referrer("/script-own").post(JSON, OBJECT).script_headers(&[
        ("accept", "application/json"),
        ("authorization", "Bearer t"),
        ("x-csrf-token", "t"),
    ]),
    request(Context::Xhr, "/xhr")
        .referrer("/script-own")
        .script_headers(&[("accept", "application/json"), ("x-requested-with", "XMLHttpRequest")]),
];

//! The scenarios a browser and the impersonate tier are driven through, each described once.
//!
//! Every scenario has host names of its own, so that it begins with no connection, cookie or ticket.

mod list;
mod site;

pub(super) use list::SCENARIOS;
pub(super) use site::respond;

use std::net::Ipv4Addr;

use crate::fingerprint::profile::WireProtocol;
use crate::request::Context;

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// How requests may travel for it to make sense.
    pub(super) protocols: &'static [WireProtocol],
    pub(super) steps: &'static [ScenarioStep],
    /// Whether profiles are made from it. What others show follows from these, or is no header.
    pub(super) is_captured: bool,
}

/// One thing the person at the browser does, and the requests that follow from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScenarioStep {
    pub(super) action: UserAction,
    pub(super) requests: &'static [ExpectedRequest],
}

/// What the person at the browser does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UserAction {
    /// Types an address into a new tab.
    Open,
    /// Presses the first link or button of the page at hand.
    Click,
    /// Presses the reload button.
    Reload,
    /// Leaves the connection alone for [`IDLE`], then types an address into a new tab.
    OpenLater,
}

/// One of a scenario's hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScenarioHost {
    /// The first: where pages are.
    Primary,
    /// Another origin of the same site.
    SameSite,
    /// Another site.
    CrossSite,
}

/// One request as it must be asked of the impersonate tier to be the browser's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpectedRequest {
    pub(super) context: Context,
    pub(super) method: &'static str,
    pub(super) host: ScenarioHost,
    pub(super) path: &'static str,
    /// Where its redirects end; its own place and path without any.
    pub(super) final_target: (ScenarioHost, &'static str),
    /// The page it comes from, at home.
    pub(super) referrer: Option<&'static str>,
    /// Its media type, unless that is the browser's to say, and its text, so many times over.
    pub(super) body: Option<(Option<&'static str>, &'static str, usize)>,
    /// Headers that the page's script sets, in its own order.
    pub(super) script_headers: &'static [(&'static str, &'static str)],
}

impl ExpectedRequest {
    /// Whether it is redirected on its way.
    pub(super) fn is_redirected(&self) -> bool {
        self.final_target != (self.host, self.path)
    }
}

/// How many first connections tell what is random from what is fixed.
pub(super) const HELLO_COUNT: usize = 8;

/// How long a connection is left alone to see what is different after that. Chrome asks after one
/// from which nothing was read for 10 s.
pub(super) const IDLE_TIME: std::time::Duration = std::time::Duration::from_secs(11);

/// The names of all scenarios' hosts, and the hellos'.
pub(super) fn hosts() -> Vec<String> {
    let mut names: Vec<String> = (0..HELLO_COUNT).map(hello_host).collect();
    for scenario in SCENARIOS {
        for over in scenario.protocols {
            names.extend(scenario_hosts(scenario.name, *over));
        }
    }
    names
}

/// The host of the `n`th hello.
pub(super) fn hello_host(n: usize) -> String {
    format!("hello-{n}.test")
}

/// A scenario's host.
pub(super) fn host(scenario: &str, over: WireProtocol, place: ScenarioHost) -> String {
    let over = over.name();
    match place {
        ScenarioHost::Primary => format!("{scenario}-{over}.test"),
        ScenarioHost::SameSite => format!("near.{scenario}-{over}.test"),
        ScenarioHost::CrossSite => format!("{scenario}-{over}-away.test"),
    }
}

/// Where a place is: each has an address of its own, as sites have.
pub(super) const fn address(place: ScenarioHost) -> Ipv4Addr {
    match place {
        ScenarioHost::Primary => Ipv4Addr::LOCALHOST,
        ScenarioHost::SameSite => Ipv4Addr::new(127, 0, 0, 2),
        ScenarioHost::CrossSite => Ipv4Addr::new(127, 0, 0, 3),
    }
}

/// All hosts of a scenario.
pub(super) fn scenario_hosts(scenario: &str, over: WireProtocol) -> [String; 3] {
    [ScenarioHost::Primary, ScenarioHost::SameSite, ScenarioHost::CrossSite]
        .map(|place| host(scenario, over, place))
}

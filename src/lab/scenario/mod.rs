//! The scenarios for a browser and the impersonate tier, each described once.
//!
//! Every scenario has its own host names, so that it starts without connections, cookies and tickets.

mod list;
mod site;

pub(super) use list::SCENARIOS;
pub(super) use site::respond;

use std::net::Ipv4Addr;

use crate::exchange::request::Context;
use crate::fingerprint::profile::WireProtocol;

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// The protocols over which the scenario is run.
    pub(super) protocols: &'static [WireProtocol],
    pub(super) steps: &'static [ScenarioStep],
    /// Whether profiles are built from it. The others show only values that follow from these, or no headers.
    pub(super) is_captured: bool,
}

/// One user action, and the requests that it causes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScenarioStep {
    pub(super) action: UserAction,
    pub(super) requests: &'static [ExpectedRequest],
}

/// An action of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UserAction {
    /// Types a URL into a new tab.
    Open,
    /// Clicks the first link or button of the current page.
    Click,
    /// Clicks the reload button.
    Reload,
    /// Leaves the connection idle for [`IDLE_TIME`], then types a URL into a new tab.
    OpenLater,
}

/// A host of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScenarioHost {
    /// The first host, which serves the pages.
    Primary,
    /// Another origin of the same site.
    SameSite,
    /// Another site.
    CrossSite,
}

/// A request that the impersonate tier must send to match the browser.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpectedRequest {
    pub(super) context: Context,
    pub(super) method: &'static str,
    pub(super) host: ScenarioHost,
    pub(super) path: &'static str,
    /// The final host and path; the request's own if it is not redirected.
    pub(super) final_target: (ScenarioHost, &'static str),
    /// The path of the referring page, on the primary host.
    pub(super) referrer: Option<&'static str>,
    /// The content type (`None` if the browser chooses it), the text, and how often the text is repeated.
    pub(super) body: Option<(Option<&'static str>, &'static str, usize)>,
    /// Headers that the page's script sets, in its order.
    pub(super) script_headers: &'static [(&'static str, &'static str)],
}

impl ExpectedRequest {
    /// Whether the request is redirected.
    pub(super) fn is_redirected(&self) -> bool {
        self.final_target != (self.host, self.path)
    }
}

/// The number of first connections from which random fields are determined.
pub(super) const HELLO_COUNT: usize = 8;

/// How long a connection is left idle. Chrome sends a PING on a connection that received no data for 10 s.
pub(super) const IDLE_TIME: std::time::Duration = std::time::Duration::from_secs(11);

/// The host names of all scenarios and of the first connections.
pub(super) fn hosts() -> Vec<String> {
    let mut names: Vec<String> = (0..HELLO_COUNT).map(hello_host).collect();
    for scenario in SCENARIOS {
        for over in scenario.protocols {
            names.extend(scenario_hosts(scenario.name, *over));
        }
    }
    names
}

/// The host of the `n`th first connection.
pub(super) fn hello_host(n: usize) -> String {
    format!("hello-{n}.test")
}

/// The name of a scenario's host.
pub(super) fn host(scenario: &str, over: WireProtocol, host_kind: ScenarioHost) -> String {
    let over = over.name();
    match host_kind {
        ScenarioHost::Primary => format!("{scenario}-{over}.test"),
        ScenarioHost::SameSite => format!("near.{scenario}-{over}.test"),
        ScenarioHost::CrossSite => format!("{scenario}-{over}-away.test"),
    }
}

/// The address of a host. Each has its own, as real sites do.
pub(super) const fn address(host_kind: ScenarioHost) -> Ipv4Addr {
    match host_kind {
        ScenarioHost::Primary => Ipv4Addr::LOCALHOST,
        ScenarioHost::SameSite => Ipv4Addr::new(127, 0, 0, 2),
        ScenarioHost::CrossSite => Ipv4Addr::new(127, 0, 0, 3),
    }
}

/// The names of all hosts of a scenario.
pub(super) fn scenario_hosts(scenario: &str, over: WireProtocol) -> [String; 3] {
    [ScenarioHost::Primary, ScenarioHost::SameSite, ScenarioHost::CrossSite]
        .map(|host_kind| host(scenario, over, host_kind))
}

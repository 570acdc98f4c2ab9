//! The visits that use a forwarder, and which addresses they may reach.

use std::collections::HashMap;
use std::sync::Arc;

use crate::address_rule::{AddressRule, AddressSpace};
use crate::net::Connector;
use crate::request::Request;

/// A host and a port.
type Origin = (String, u16);

/// The visits in progress, and the kinds of addresses that their origins had.
#[derive(Default)]
pub(super) struct Visits {
    next: u64,
    open: HashMap<u64, OpenVisit>,
    /// The kind of address that a connection to each origin was last opened to. The browser keeps connections, so that
    /// a later visit may open none.
    spaces: HashMap<Origin, AddressSpace>,
}

/// A visit in progress: its address rule and the origin of its URL.
struct OpenVisit {
    rule: Arc<AddressRule>,
    origin: Origin,
}

impl Visits {
    /// Adds the visit of `request`, and returns its number. If its origin was connected to before, that decides its
    /// address rule.
    pub(super) fn begin(&mut self, request: &Request) -> u64 {
        let url = &request.url;
        let origin =
            (url.host_str().unwrap_or_default().to_owned(), url.port_or_known_default().unwrap_or(0));
        let rule = Arc::clone(&request.address_rule);
        if let Some(space) = self.spaces.get(&origin) {
            rule.decide(*space);
        }
        self.next += 1;
        self.open.insert(self.next, OpenVisit { rule, origin });
        self.next
    }

    pub(super) fn end(&mut self, visit: u64) {
        self.open.remove(&visit);
    }

    /// Whether the visit's origin is at a private address, although its rule forbids that.
    pub(super) fn is_forbidden(&self, visit: u64, connector: &Connector) -> bool {
        self.open.get(&visit).is_some_and(|visit| {
            connector.enforces(&visit.rule) && self.spaces.get(&visit.origin) == Some(&AddressSpace::Private)
        })
    }

    /// Whether a connection to `host` and `port` must be to a public address: no visit in progress may reach others. A
    /// visit whose rule is not decided yet may reach its own origin only.
    pub(super) fn requires_public(&self, host: &str, port: u16, connector: &Connector) -> bool {
        !self.open.values().any(|visit| {
            let may_reach = visit.rule.is_decided() || visit.is_at(host, port);
            may_reach && !connector.enforces(&visit.rule)
        })
    }

    /// Records where a connection to `host` and `port` leads. It decides the rule of visits of that origin.
    pub(super) fn record(&mut self, host: &str, port: u16, space: AddressSpace) {
        for visit in self.open.values().filter(|visit| visit.is_at(host, port)) {
            visit.rule.decide(space);
        }
        if self.spaces.len() >= MAX_ORIGINS {
            self.spaces.clear();
        }
        self.spaces.insert((host.to_owned(), port), space);
    }
}

impl OpenVisit {
    fn is_at(&self, host: &str, port: u16) -> bool {
        self.origin.0 == host && self.origin.1 == port
    }
}

const MAX_ORIGINS: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str) -> Request {
        Request::get(url.parse().unwrap())
    }

    #[test]
    fn the_first_connection_to_the_origin_decides_what_a_visit_may_reach() {
        let connector = Connector::default();
        for (space, requires_public) in
            [(AddressSpace::Public, true), (AddressSpace::Assigned, true), (AddressSpace::Private, false)]
        {
            let mut visits = Visits::default();
            assert!(visits.requires_public("a.test", 80, &connector), "no visit");
            let asked = request("http://a.test/");
            let visit = visits.begin(&asked);
            assert!(!visits.requires_public("a.test", 80, &connector), "its own origin");
            assert!(visits.requires_public("10.0.0.1", 80, &connector), "not decided yet");
            assert!(visits.requires_public("a.test", 81, &connector), "another port");
            visits.record("cdn.test", 80, AddressSpace::Private);
            assert!(!asked.address_rule.is_decided());
            visits.record("a.test", 80, space);
            assert_eq!(visits.requires_public("10.0.0.1", 80, &connector), requires_public, "{space:?}");
            visits.end(visit);
            assert!(visits.requires_public("10.0.0.1", 80, &connector), "no visit");
            // The browser kept the connection.
            let again = request("http://a.test/2");
            let visit = visits.begin(&again);
            assert_eq!(visits.requires_public("10.0.0.1", 80, &connector), requires_public, "{space:?}");
            assert!(!visits.is_forbidden(visit, &connector));
        }
    }

    #[test]
    fn a_kept_connection_to_a_private_address_is_forbidden_to_a_public_fetch() {
        let (connector, mut visits) = (Connector::default(), Visits::default());
        let first = request("http://a.test/");
        visits.begin(&first);
        visits.record("a.test", 80, AddressSpace::Private);
        let public = Request { address_rule: AddressRule::public_only(), ..request("http://a.test/2") };
        let visit = visits.begin(&public);
        assert!(visits.is_forbidden(visit, &connector));
        assert!(!visits.is_forbidden(visit, &Connector::default().allow_private(true)));
    }
}

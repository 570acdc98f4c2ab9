//! The visits that use a forwarder, and the addresses that their origins had.

use std::collections::HashMap;
use std::sync::Arc;

use crate::exchange::address_rule::{AddressRule, AddressSpace};
use crate::exchange::request::Request;

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

    /// Records where a connection to `host` and `port` leads. It decides the rule of visits of that origin. Returns
    /// those rules.
    pub(super) fn record(&mut self, host: &str, port: u16, space: AddressSpace) -> Vec<Arc<AddressRule>> {
        if self.spaces.len() >= MAX_ORIGINS {
            self.spaces.clear();
        }
        self.spaces.insert((host.to_owned(), port), space);
        let visits = self.open.values().filter(|visit| visit.origin.0 == host && visit.origin.1 == port);
        let rules: Vec<_> = visits.map(|visit| Arc::clone(&visit.rule)).collect();
        for rule in &rules {
            rule.decide(space);
        }
        rules
    }
}

const MAX_ORIGINS: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_connection_to_the_origin_decides_the_rule_of_a_visit() {
        for (space, requires_public) in
            [(AddressSpace::Public, true), (AddressSpace::Assigned, true), (AddressSpace::Private, false)]
        {
            let mut visits = Visits::default();
            let request = |url: &str| Request::get(url.parse().unwrap());
            let asked = request("http://a.test/");
            let visit = visits.begin(&asked);
            for (host, port) in [("cdn.test", 80), ("a.test", 81)] {
                assert!(visits.record(host, port, AddressSpace::Private).is_empty());
            }
            assert!(!asked.address_rule.is_decided());
            let rules = visits.record("a.test", 80, space);
            assert!(rules.len() == 1 && rules[0].requires_public() == requires_public, "{space:?}");
            visits.end(visit);
            assert!(visits.record("a.test", 80, space).is_empty());
            // The browser kept the connection.
            let again = request("http://a.test/2");
            visits.begin(&again);
            assert!(again.address_rule.is_decided(), "{space:?}");
            assert_eq!(again.address_rule.requires_public(), requires_public, "{space:?}");
        }
    }
}

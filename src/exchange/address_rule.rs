//! Decides once which addresses a fetch may connect to: by the address that its first request was sent to.
//!
//! The rule belongs to the request, so that all its redirects, retries, tiers and its robots.txt share one decision.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The kind of address that a connection was made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressSpace {
    /// On the public internet, as far as known: a name that a proxy resolves counts as public.
    Public,
    /// Of this machine, of a local network, or reserved.
    Private,
    /// The user assigned the address to the name, with `--resolve`.
    Assigned,
}

/// Which addresses a fetch may connect to. Shared by all requests of the fetch.
#[derive(Debug, Default)]
pub(crate) struct AddressRule {
    state: AtomicU8,
    /// Whether the last response came from a public address.
    is_last_public: AtomicU8,
}

impl AddressRule {
    /// The rule of a URL that a public site named: public addresses only.
    pub(crate) fn public_only() -> Arc<Self> {
        Arc::new(Self { state: PUBLIC_ONLY.into(), is_last_public: 1.into() })
    }

    /// Whether only public addresses may be connected to. False before the decision.
    pub(crate) fn requires_public(&self) -> bool {
        self.state.load(Ordering::Relaxed) == PUBLIC_ONLY
    }

    /// Whether the decision was made.
    pub(crate) fn is_decided(&self) -> bool {
        self.state.load(Ordering::Relaxed) != UNDECIDED
    }

    /// Decides by the address that the fetch's own URL was requested from. A later attempt can only restrict the
    /// fetch: a name whose addresses change may not lift the rule.
    pub(crate) fn decide(&self, first: AddressSpace) {
        match first {
            AddressSpace::Private => {
                let _ = self.state.compare_exchange(UNDECIDED, ANY, Ordering::Relaxed, Ordering::Relaxed);
            }
            AddressSpace::Public | AddressSpace::Assigned => self.state.store(PUBLIC_ONLY, Ordering::Relaxed),
        }
    }

    /// Records the address that a request of the fetch was sent to.
    pub(crate) fn record_peer(&self, peer: AddressSpace) {
        self.is_last_public.store(u8::from(peer != AddressSpace::Private), Ordering::Relaxed);
    }

    /// Whether the URLs that the last response names must be public.
    pub(crate) fn restricts_links(&self) -> bool {
        self.requires_public() || self.is_last_public.load(Ordering::Relaxed) == 1
    }

    /// The rule for a request that depends on the fetch, such as robots.txt. Before the decision it is the same rule:
    /// then that request decides. Afterwards it is a copy, which the request cannot change.
    pub(crate) fn for_dependent(self: &Arc<Self>) -> Arc<Self> {
        if !self.is_decided() {
            return Arc::clone(self);
        }
        let state = self.state.load(Ordering::Relaxed);
        Arc::new(Self { state: state.into(), is_last_public: 0.into() })
    }
}

/// The first address is not known yet.
const UNDECIDED: u8 = 0;
/// The fetch began at a private address.
const ANY: u8 = 1;
const PUBLIC_ONLY: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_decides_and_later_ones_can_only_restrict() {
        use AddressSpace::{Assigned, Private, Public};
        for (spaces, requires_public) in [
            (&[][..], false),
            (&[Private], false),
            (&[Public], true),
            (&[Assigned], true),
            (&[Public, Private], true),
            (&[Private, Private], false),
            (&[Private, Public], true),
            (&[Private, Public, Private], true),
        ] {
            let rule = AddressRule::default();
            for space in spaces {
                rule.decide(*space);
            }
            assert_eq!(rule.requires_public(), requires_public, "{spaces:?}");
        }
        let rule = AddressRule::public_only();
        rule.decide(Private);
        assert!(rule.requires_public());
    }

    #[test]
    fn a_dependent_request_decides_only_what_is_undecided() {
        let rule = Arc::new(AddressRule::default());
        rule.for_dependent().decide(AddressSpace::Private);
        assert!(rule.is_decided() && !rule.requires_public());
        rule.for_dependent().decide(AddressSpace::Public);
        assert!(!rule.requires_public());
    }

    #[test]
    fn links_of_a_public_page_are_restricted_even_if_the_fetch_began_at_a_private_address() {
        let rule = AddressRule::default();
        rule.decide(AddressSpace::Private);
        rule.record_peer(AddressSpace::Private);
        assert!(!rule.restricts_links());
        rule.record_peer(AddressSpace::Public);
        assert!(rule.restricts_links() && !rule.requires_public());
    }
}

//! Blocks resources in the browser, before a request is sent, so that other requests do not change.

use chromiumoxide_cdp::cdp::browser_protocol::{fetch, network};

use crate::settings::render::ResourceKind;
use crate::transport::chromium::connection::CdpConnection;

/// Returns the patterns of requests to pause, so that they can be blocked.
pub(super) fn request_patterns(block: &[ResourceKind]) -> impl Iterator<Item = fetch::RequestPattern> {
    block.iter().filter_map(|resource| resource_type(*resource)).map(|kind| fetch::RequestPattern {
        resource_type: Some(kind),
        request_stage: Some(fetch::RequestStage::Request),
        ..Default::default()
    })
}

/// Whether a paused request of this resource type, as named in the protocol, is blocked.
pub(super) fn is_blocked(block: &[ResourceKind], kind: &str) -> bool {
    block.iter().filter_map(|resource| resource_type(*resource)).any(|blocked| blocked.as_ref() == kind)
}

/// Blocks the resources in a frame that has its own session.
pub(super) fn block_in_frame(connection: &CdpConnection, session: &str, block: &[ResourceKind]) {
    let patterns: Vec<_> = request_patterns(block).collect();
    if !patterns.is_empty() {
        let enable = fetch::EnableParams { patterns: Some(patterns), handle_auth_requests: None };
        connection.send_with_guard(Some(session), &enable, Box::new(()));
    }
    if block.contains(&ResourceKind::Trackers) {
        connection.send_with_guard(Some(session), &network::EnableParams::default(), Box::new(()));
        connection.send_with_guard(Some(session), &block_trackers(), Box::new(()));
    }
}

fn resource_type(resource: ResourceKind) -> Option<network::ResourceType> {
    match resource {
        ResourceKind::Images => Some(network::ResourceType::Image),
        ResourceKind::Fonts => Some(network::ResourceType::Font),
        ResourceKind::Media => Some(network::ResourceType::Media),
        ResourceKind::Trackers => None,
    }
}

/// Returns the command that blocks the hosts of the shipped list and their subdomains.
pub(super) fn block_trackers() -> network::SetBlockedUrLsParams {
    let patterns = hosts(TRACKERS).flat_map(|host| [format!("*://{host}:*/*"), format!("*://*.{host}:*/*")]);
    network::SetBlockedUrLsParams {
        url_patterns: Some(patterns.map(|pattern| network::BlockPattern::new(pattern, true)).collect()),
    }
}

fn hosts(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|line| !line.is_empty())
}

const TRACKERS: &str = include_str!("../../../profiles/blocking/trackers.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tracker_is_a_plain_host_name_named_once_and_in_order() {
        let all: Vec<&str> = hosts(TRACKERS).collect();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(all, sorted);
        for host in all {
            let parsed = url::Host::parse(host).unwrap();
            assert!(
                matches!(&parsed, url::Host::Domain(name) if name == host && host.contains('.')),
                "{host}"
            );
        }
    }
}

//! What a page is kept from loading: by the browser, before a request is made, so that no other request changes.

use chromiumoxide::cdp::browser_protocol::{fetch, network};

use crate::view::Load;

/// The requests to pause, so that they can be refused.
pub(super) fn patterns(block: &[Load]) -> impl Iterator<Item = fetch::RequestPattern> {
    block.iter().filter_map(|load| resource_type(*load)).map(|kind| fetch::RequestPattern {
        resource_type: Some(kind),
        request_stage: Some(fetch::RequestStage::Request),
        ..Default::default()
    })
}

/// The protocol's names of the resource types to refuse.
pub(super) fn types(block: &[Load]) -> Vec<&'static str> {
    block
        .iter()
        .filter_map(|load| match load {
            Load::Images => Some("Image"),
            Load::Fonts => Some("Font"),
            Load::Media => Some("Media"),
            Load::Trackers => None,
        })
        .collect()
}

fn resource_type(load: Load) -> Option<network::ResourceType> {
    match load {
        Load::Images => Some(network::ResourceType::Image),
        Load::Fonts => Some(network::ResourceType::Font),
        Load::Media => Some(network::ResourceType::Media),
        Load::Trackers => None,
    }
}

/// Refuses the hosts of the shipped list and all below them.
pub(super) fn trackers() -> network::SetBlockedUrLsParams {
    let patterns = hosts(TRACKERS).flat_map(|host| [format!("*://{host}:*/*"), format!("*://*.{host}:*/*")]);
    network::SetBlockedUrLsParams {
        url_patterns: Some(patterns.map(|pattern| network::BlockPattern::new(pattern, true)).collect()),
    }
}

fn hosts(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|line| !line.is_empty())
}

const TRACKERS: &str = include_str!("../../../../profiles/blocking/trackers.txt");

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

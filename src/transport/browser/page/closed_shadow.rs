//! Searches closed shadow trees, which scripts cannot enter.

use std::time::Duration;

use chromiumoxide_cdp::cdp::js_protocol::runtime::RemoteObjectId;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::Page;
use super::command::command;
use super::isolated_world::{EvaluateReply, RemoteValue};
use crate::transport::chromium::error::CdpError;

impl Page {
    /// Whether an element of a closed shadow tree matches. The browser copies the whole page for it, so that it should not
    /// be called often.
    pub(super) async fn matches_in_closed_trees(
        &self,
        selector: &str,
        limit: Duration,
    ) -> Result<bool, CdpError> {
        let nodes = self.run(&CaptureSnapshot { computed_styles: [] }, limit).await?.closed_elements();
        if nodes.is_empty() {
            return Ok(false);
        }
        let execution_context_id = self.isolated_world((&self.session, &self.target), limit).await?;
        let resolve = |backend_node_id| async move {
            let resolve = ResolveNode { backend_node_id, execution_context_id, object_group: GROUP };
            self.run(&resolve, limit).await
        };
        let resolved = join_all(nodes.into_iter().map(resolve)).await;
        // A node that is gone has no object.
        let objects = resolved.into_iter().flatten().filter_map(|reply| reply.object.object_id);
        let objects = objects.map(|object_id| Argument::Object { object_id });
        let arguments = [Argument::Value { value: selector }].into_iter().chain(objects).collect();
        let find = CallFunction {
            function_declaration: FIND_IN_TREES,
            execution_context_id,
            arguments,
            return_by_value: true,
            silent: true,
        };
        let found = self.run(&find, limit).await;
        let release = ReleaseGroup { object_group: GROUP };
        self.connection.send_with_guard(Some(&self.session), &release, Box::new(()));
        Ok(found?.result.value == serde_json::Value::Bool(true))
    }
}

/// Whether an element of the trees of these nodes matches.
const FIND_IN_TREES: &str = "function (selector, ...nodes) {
    const trees = new Set(nodes.map(node => node.getRootNode()));
    return [...trees].some(tree => tree.querySelector(selector));
}";
/// The name of the objects that are released together.
const GROUP: &str = "closed";
/// Maximum of elements whose trees are searched.
const MAX_ELEMENTS: usize = 1000;

impl Snapshot {
    /// Returns elements of the closed shadow trees of the page. Of a large page, some.
    fn closed_elements(&self) -> Vec<i64> {
        let Some(SnapshotDocument { nodes }) = self.documents.first() else { return Vec::new() };
        let types = &nodes.shadow_root_type;
        let is_closed = |value: &i64| {
            let text = usize::try_from(*value).ok().and_then(|value| self.strings.get(value));
            text.is_some_and(|text| text == "closed")
        };
        let closed = types.index.iter().zip(&types.value).filter(|(_, value)| is_closed(value));
        let elements = closed.map(|(at, _)| *at).filter(|at| nodes.node_type.get(*at) == Some(&ELEMENT_NODE));
        elements.filter_map(|at| nodes.backend_node_id.get(at).copied()).take(MAX_ELEMENTS).collect()
    }
}

/// `Node.ELEMENT_NODE`.
const ELEMENT_NODE: i64 = 1;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CaptureSnapshot {
    computed_styles: [&'static str; 0],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResolveNode {
    backend_node_id: i64,
    execution_context_id: i64,
    object_group: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CallFunction<'a> {
    function_declaration: &'static str,
    execution_context_id: i64,
    arguments: Vec<Argument<'a>>,
    return_by_value: bool,
    silent: bool,
}

#[derive(Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Argument<'a> {
    Value { value: &'a str },
    Object { object_id: RemoteObjectId },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReleaseGroup {
    object_group: &'static str,
}

/// The nodes of a page as lists, one item for each node.
#[derive(Debug, Deserialize)]
struct Snapshot {
    /// The page, then the frames of its process.
    documents: Vec<SnapshotDocument>,
    strings: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct SnapshotDocument {
    nodes: SnapshotNodes,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotNodes {
    #[serde(default)]
    backend_node_id: Vec<i64>,
    #[serde(default)]
    node_type: Vec<i64>,
    /// The type of the shadow tree that a node is in.
    #[serde(default)]
    shadow_root_type: RareStrings,
}

/// The strings of the few nodes that have one.
#[derive(Debug, Default, Deserialize)]
struct RareStrings {
    index: Vec<usize>,
    /// Indexes into the strings of the page.
    value: Vec<i64>,
}

#[derive(Debug, Deserialize)]
struct ResolveNodeReply {
    object: RemoteValue,
}

#[derive(Debug, Deserialize)]
struct Nothing {}

command!(CaptureSnapshot, "DOMSnapshot.captureSnapshot", Snapshot);
command!(ResolveNode, "DOM.resolveNode", ResolveNodeReply);
command!(CallFunction<'_>, "Runtime.callFunctionOn", EvaluateReply);
command!(ReleaseGroup, "Runtime.releaseObjectGroup", Nothing);

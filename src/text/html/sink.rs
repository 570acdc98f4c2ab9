//! Builds the tree.

use std::borrow::Cow;

use ego_tree::NodeId;
use html5ever::tendril::StrTendril;
use html5ever::tree_builder::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::{Attribute, QualName};
use scraper::{Html, HtmlTreeSink};

/// The sink of `scraper`, except for moving children. There the tree sets the parent of the first and the last child
/// only, and the walk over a page with misnested tags leaves the element that it walks.
pub(super) struct PageSink(pub(super) HtmlTreeSink);

impl PageSink {
    pub(super) fn new() -> Self {
        Self(HtmlTreeSink::new(Html::new_document()))
    }
}

impl TreeSink for PageSink {
    type Output = Html;
    type Handle = NodeId;
    type ElemName<'a> = <HtmlTreeSink as TreeSink>::ElemName<'a>;

    fn reparent_children(&self, node: &NodeId, new_parent: &NodeId) {
        let mut html = self.0.0.borrow_mut();
        while let Some(child) =
            html.tree.get(*node).and_then(|node| node.first_child()).map(|child| child.id())
        {
            if let Some(mut parent) = html.tree.get_mut(*new_parent) {
                // Removes it from its old parent.
                parent.append_id(child);
            }
        }
    }

    fn finish(self) -> Html {
        self.0.finish()
    }

    fn parse_error(&self, message: Cow<'static, str>) {
        self.0.parse_error(message);
    }

    fn get_document(&self) -> NodeId {
        self.0.get_document()
    }

    fn elem_name<'a>(&'a self, target: &'a NodeId) -> Self::ElemName<'a> {
        self.0.elem_name(target)
    }

    fn create_element(&self, name: QualName, attributes: Vec<Attribute>, flags: ElementFlags) -> NodeId {
        self.0.create_element(name, attributes, flags)
    }

    fn create_comment(&self, text: StrTendril) -> NodeId {
        self.0.create_comment(text)
    }

    fn create_pi(&self, target: StrTendril, data: StrTendril) -> NodeId {
        self.0.create_pi(target, data)
    }

    fn append(&self, parent: &NodeId, child: NodeOrText<NodeId>) {
        self.0.append(parent, child);
    }

    fn append_based_on_parent_node(&self, element: &NodeId, previous: &NodeId, child: NodeOrText<NodeId>) {
        self.0.append_based_on_parent_node(element, previous, child);
    }

    fn append_doctype_to_document(&self, name: StrTendril, public_id: StrTendril, system_id: StrTendril) {
        self.0.append_doctype_to_document(name, public_id, system_id);
    }

    fn get_template_contents(&self, target: &NodeId) -> NodeId {
        self.0.get_template_contents(target)
    }

    fn same_node(&self, left: &NodeId, right: &NodeId) -> bool {
        self.0.same_node(left, right)
    }

    fn set_quirks_mode(&self, mode: QuirksMode) {
        self.0.set_quirks_mode(mode);
    }

    fn append_before_sibling(&self, sibling: &NodeId, node: NodeOrText<NodeId>) {
        self.0.append_before_sibling(sibling, node);
    }

    fn add_attrs_if_missing(&self, target: &NodeId, attributes: Vec<Attribute>) {
        self.0.add_attrs_if_missing(target, attributes);
    }

    fn remove_from_parent(&self, target: &NodeId) {
        self.0.remove_from_parent(target);
    }
}

//! The elements of a page in tree order, and their attributes as the DOM names them.

use ego_tree::NodeRef;
use html5ever::ns;
use scraper::{ElementRef, Node};

/// Iterates over the elements below `root` in tree order. The content of a template belongs to another document.
pub(super) fn elements_within(root: NodeRef<'_, Node>) -> impl Iterator<Item = ElementRef<'_>> {
    let mut next = root.first_child();
    std::iter::from_fn(move || {
        loop {
            let node = next?;
            next = following(node, root);
            if let Some(element) = ElementRef::wrap(node) {
                return Some(element);
            }
        }
    })
}

/// Returns the node after `node` in tree order, below `root`.
fn following<'a>(node: NodeRef<'a, Node>, root: NodeRef<'a, Node>) -> Option<NodeRef<'a, Node>> {
    if !node.value().is_fragment()
        && let Some(child) = node.first_child()
    {
        return Some(child);
    }
    let mut at = node;
    while at != root {
        if let Some(sibling) = at.next_sibling() {
            return Some(sibling);
        }
        at = at.parent()?;
    }
    None
}

/// Whether the element is an HTML element of this name.
pub(super) fn is_html(element: ElementRef<'_>, name: &str) -> bool {
    let qualified = &element.value().name;
    qualified.ns == ns!(html) && &*qualified.local == name
}

/// Returns an attribute by its qualified name, as `getAttribute` does: in lower case on HTML elements, and exactly on
/// others, for example `viewBox` or `xlink:href`.
pub(super) fn attribute<'a>(element: ElementRef<'a>, name: &str) -> Option<&'a str> {
    let is_html = element.value().name.ns == ns!(html);
    let lower = name.to_ascii_lowercase();
    let wanted = if is_html { lower.as_str() } else { name };
    let mut attributes = element.value().attrs.iter();
    attributes
        .find(|(name, _)| match &name.prefix {
            None => &*name.local == wanted,
            Some(prefix) if prefix.is_empty() => &*name.local == wanted,
            Some(prefix) => wanted
                .strip_prefix(&**prefix)
                .and_then(|rest| rest.strip_prefix(':'))
                .is_some_and(|local| local == &*name.local),
        })
        .map(|(_, value)| &**value)
}

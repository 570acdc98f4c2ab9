//! Declarative shadow roots: `<template shadowrootmode>`. Their content is shown, unlike that of other templates.

use std::collections::HashMap;

use ego_tree::NodeId;
use scraper::{ElementRef, Html};

use super::elements::is_html;

/// The shadow trees of a page. Their nodes are children of the host, before those of the page.
#[derive(Debug, Default)]
pub(super) struct ShadowRoots {
    /// The children of each shadow root, by host.
    roots: HashMap<NodeId, Vec<NodeId>>,
}

impl ShadowRoots {
    /// Moves the content of each declarative shadow root to its host.
    pub(super) fn attach(html: &mut Html) -> Self {
        let mut roots = Self::default();
        let templates = html.tree.nodes().filter_map(ElementRef::wrap).filter(|element| is_root(*element));
        let templates: Vec<NodeId> = templates.map(|element| element.id()).collect();
        for template in templates {
            roots.attach_one(html, template);
        }
        roots
    }

    pub(super) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Returns the children of the element's shadow root.
    pub(super) fn children(&self, host: NodeId) -> Option<&[NodeId]> {
        self.roots.get(&host).map(Vec::as_slice)
    }

    fn attach_one(&mut self, html: &mut Html, template: NodeId) {
        let Some(node) = html.tree.get(template) else { return };
        let Some(host) = node.parent().and_then(ElementRef::wrap).filter(|host| is_host(*host)) else {
            return;
        };
        let host = host.id();
        // Only the first one becomes the shadow root.
        if self.roots.contains_key(&host) {
            return;
        }
        let Some(content) = node.first_child().filter(|child| child.value().is_fragment()) else { return };
        let children: Vec<NodeId> = content.children().map(|child| child.id()).collect();
        let first = html.tree.get(host).and_then(|host| host.first_child()).map(|child| child.id());
        for child in &children {
            if let Some(mut before) = first.and_then(|first| html.tree.get_mut(first)) {
                before.insert_id_before(*child);
            }
        }
        if let Some(mut template) = html.tree.get_mut(template) {
            template.detach();
        }
        self.roots.insert(host, children);
    }
}

/// Whether the element is a template with a valid `shadowrootmode`.
fn is_root(element: ElementRef<'_>) -> bool {
    let mode = element.attr("shadowrootmode").unwrap_or_default();
    is_html(element, "template") && ["open", "closed"].iter().any(|valid| valid.eq_ignore_ascii_case(mode))
}

/// Whether the element may have a shadow root.
fn is_host(element: ElementRef<'_>) -> bool {
    let name = element.value().name();
    let is_custom = name.contains('-') && name.starts_with(|c: char| c.is_ascii_lowercase());
    is_html(element, name) && (is_custom || HOSTS.contains(&name))
}

/// Elements that may have a shadow root, besides custom elements.
const HOSTS: [&str; 18] = [
    "article",
    "aside",
    "blockquote",
    "body",
    "div",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "main",
    "nav",
    "p",
    "section",
    "span",
];

#[cfg(test)]
mod tests {
    use crate::extract::Extractor;

    #[test]
    fn only_a_declarative_shadow_root_of_a_host_is_content() {
        let url = "http://a.test/".parse().unwrap();
        let extractor =
            || Extractor::new().text(true).links(true).field("b=b").unwrap().field("in=x-a b").unwrap();
        for (page, expected) in [
            ("<x-a><template shadowrootmode=open><b>1</b><a href=/1>l</a></template></x-a>", true),
            ("<x-a><template shadowrootmode=CLOSED><b>1</b><a href=/1>l</a></template></x-a>", true),
            ("<x-a>light<template shadowrootmode=open><b>1</b><a href=/1>l</a></template></x-a>", true),
            ("<x-a><template><b>1</b><a href=/1>l</a></template></x-a>", false),
            ("<x-a><template shadowrootmode=none><b>1</b><a href=/1>l</a></template></x-a>", false),
            ("<ul><template shadowrootmode=open><x-a><b>1</b><a href=/1>l</a></x-a></template></ul>", false),
            (
                "<x-a><template shadowrootmode=open></template><template shadowrootmode=open><b>1</b><a href=/1>l</a></template></x-a>",
                false,
            ),
            (
                "<template><x-a><template shadowrootmode=open><b>1</b><a href=/1>l</a></template></x-a></template>",
                false,
            ),
            ("<template><x-a><b>1</b><a href=/1>l</a></x-a><template><b>2</b></template></template>", false),
        ] {
            let data = extractor().extract(page, &url);
            let found = (data.fields["b"] == "1", data.fields["in"] == "1", data.links.unwrap().len() == 1);
            assert_eq!(found, (expected, expected, expected), "{page}");
            assert_eq!(data.text.unwrap(), if expected { "1l" } else { "" }, "{page}");
        }
    }

    #[test]
    fn slots_show_the_children_of_the_host_in_the_order_of_the_shadow_tree() {
        let url = "http://a.test/".parse().unwrap();
        let page = "<x-a><template shadowrootmode=open><p><slot name=t>none</slot></p><p><slot></slot></p><slot name=u>fallback</slot>\
            <x-b><template shadowrootmode=open>[<slot></slot>]</template>in</x-b></template>one <i slot=t>title</i> two<u slot=gone>x</u></x-a>";
        let data = Extractor::new().text(true).field("i=x-a > i").unwrap().extract(page, &url);
        assert_eq!(data.text.unwrap(), "title\n\none two\n\nfallback[in]");
        assert_eq!(data.fields["i"], "title");
    }
}

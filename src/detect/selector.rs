//! The CSS selectors a rule may use: one compound selector, no combinators.
//!
//! Presence of one element is all a block rule needs to know, and a selector that looks at one
//! element cannot be made expensive by the page.

use select::node::Node;

/// `tag#id.class[attr][attr="v"][attr^="v"][attr*="v"]`, any part optional.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selector {
    text: String,
    tag: Option<String>,
    attributes: Vec<(String, Test)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Present,
    Is(String),
    Word(String),
    Starts(String),
    Has(String),
}

impl Selector {
    /// Reads a compound selector; the message says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("the selector `{text}` {why}");
        let mut rest = text;
        let tag = name(&mut rest).map(str::to_ascii_lowercase);
        let mut attributes = Vec::new();
        while let Some(mark) = rest.chars().next() {
            rest = &rest[mark.len_utf8()..];
            match mark {
                '#' => {
                    let id = name(&mut rest).ok_or_else(|| wrong("has `#` without an id"))?;
                    attributes.push(("id".to_owned(), Test::Is(id.to_owned())));
                }
                '.' => {
                    let class = name(&mut rest).ok_or_else(|| wrong("has `.` without a class"))?;
                    attributes.push(("class".to_owned(), Test::Word(class.to_owned())));
                }
                '[' => {
                    let (inside, after) = rest.split_once(']').ok_or_else(|| wrong("has `[` without `]`"))?;
                    rest = after;
                    attributes
                        .push(attribute(inside).ok_or_else(|| wrong("has an attribute it cannot read"))?);
                }
                _ => return Err(wrong("is not one compound selector such as `form#id.class[name=\"x\"]`")),
            }
        }
        if attributes.is_empty() {
            return Err(wrong("needs an id, a class or an attribute"));
        }
        Ok(Self { text: text.to_owned(), tag, attributes })
    }

    /// The selector as it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Text that stands in the page's bytes wherever this selector matches.
    pub(super) fn token(&self) -> &str {
        let value = |test: &'_ Test| match test {
            Test::Present => None,
            Test::Is(value) | Test::Word(value) | Test::Starts(value) | Test::Has(value) => Some(value.len()),
        };
        let longest = self.attributes.iter().max_by_key(|(_, test)| value(test).unwrap_or(0));
        match longest {
            Some((_, Test::Is(v) | Test::Word(v) | Test::Starts(v) | Test::Has(v))) if !v.is_empty() => v,
            Some((name, _)) => name,
            None => "",
        }
    }

    /// Whether the element matches.
    pub(super) fn matches(&self, node: &Node<'_>) -> bool {
        let Some(tag) = node.name() else { return false };
        self.tag.as_deref().is_none_or(|wanted| wanted == tag)
            && self
                .attributes
                .iter()
                .all(|(name, test)| node.attr(name).is_some_and(|value| test.passes(value)))
    }
}

impl Test {
    fn passes(&self, value: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Is(wanted) => value == wanted,
            Self::Word(wanted) => value.split_ascii_whitespace().any(|word| word == wanted),
            Self::Starts(wanted) => value.starts_with(wanted.as_str()),
            Self::Has(wanted) => value.contains(wanted.as_str()),
        }
    }
}

/// Takes an identifier off the front.
fn name<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    *rest = after;
    (!name.is_empty()).then_some(name)
}

fn attribute(inside: &str) -> Option<(String, Test)> {
    let mut rest = inside;
    let name = name(&mut rest)?.to_ascii_lowercase();
    let quoted = |value: &str| value.trim_matches(['"', '\'']).to_owned();
    let test = match rest.split_once('=') {
        None if rest.is_empty() => Test::Present,
        Some(("", value)) => Test::Is(quoted(value)),
        Some(("^", value)) if !quoted(value).is_empty() => Test::Starts(quoted(value)),
        Some(("*", value)) if !quoted(value).is_empty() => Test::Has(quoted(value)),
        _ => return None,
    };
    Some((name, test))
}

#[cfg(test)]
mod tests {
    use super::*;
    use select::document::Document;

    #[test]
    fn each_part_of_a_compound_selector_is_held_against_one_element() {
        let page = Document::from(
            r#"<form id="a" class="one two" action="/errors/validateCaptcha"><input hidden></form>"#,
        );
        let table = [
            ("form#a.two", true),
            ("#a", true),
            (".one.two", true),
            (".on", false),
            ("div#a", false),
            ("[action^=\"/errors/\"]", true),
            ("form[action*='Captcha']", true),
            ("[action=\"/errors\"]", false),
            ("input[hidden]", true),
        ];
        for (text, expected) in table {
            let selector = Selector::parse(text).unwrap();
            let found = page.find(|node: &Node<'_>| selector.matches(node)).next().is_some();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_selector_outside_the_grammar_is_refused_with_its_text() {
        for text in ["", "div", "a b", "a > .b", "#", ".", "[", "[=x]", "[a~=b]", "#é"] {
            let said = Selector::parse(text).unwrap_err();
            assert!(said.contains(&format!("`{text}`")), "{said}");
        }
    }

    #[test]
    fn the_token_stands_in_every_page_that_matches() {
        assert_eq!(Selector::parse("div#px-captcha").unwrap().token(), "px-captcha");
        assert_eq!(Selector::parse("[data-ray][hidden]").unwrap().token(), "hidden");
        assert_eq!(Selector::parse("form[action*=\"validateCaptcha\"]").unwrap().token(), "validateCaptcha");
    }
}

//! The CSS selectors that a rule may use: one compound selector, or two joined by a space or by `>`.
//!
//! A block rule only needs to know whether an element is present. A page cannot make selectors of this form
//! expensive.

use scraper::ElementRef;

/// A compound selector `tag#id.class[attr][attr="v"][attr^="v"][attr*="v"]`, any part optional. A second one before it
/// selects an ancestor (`a b`) or the parent (`a > b`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selector {
    text: String,
    subject: Compound,
    ancestor: Option<(Combinator, Compound)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Combinator {
    Descendant,
    Child,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Compound {
    tag: Option<String>,
    attributes: Vec<(String, AttributeMatch)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum AttributeMatch {
    Present,
    Is(String),
    Word(String),
    Starts(String),
    Has(String),
}

impl Selector {
    /// Parses a selector. The error message says why it is invalid.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let describe = |problem: &str| format!("the selector `{}` {problem}", text.escape_debug());
        let mut rest = text.trim();
        let mut subject = Compound::parse_prefix(&mut rest).map_err(describe)?;
        let mut ancestor = None;
        if !rest.is_empty() {
            let inner = rest.trim_start();
            let (combinator, mut inner) = match inner.strip_prefix('>') {
                Some(inner) => (Combinator::Child, inner.trim_start()),
                None => (Combinator::Descendant, inner),
            };
            let outer =
                std::mem::replace(&mut subject, Compound::parse_prefix(&mut inner).map_err(describe)?);
            if !inner.is_empty() {
                return Err(describe("has more than two parts"));
            }
            ancestor = Some((combinator, outer));
        }
        let selector = Self { text: text.to_owned(), subject, ancestor };
        if selector.token().is_empty() {
            return Err(describe("needs an id, a class or an attribute"));
        }
        Ok(selector)
    }

    /// Returns the selector as it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns a text that is in the bytes of every page with a matching element.
    pub(super) fn token(&self) -> &str {
        let outer_token = self.ancestor.as_ref().map_or("", |(_, outer)| outer.token());
        let token = self.subject.token();
        if outer_token.len() > token.len() { outer_token } else { token }
    }

    /// Whether the element matches.
    pub(super) fn matches(&self, element: ElementRef<'_>) -> bool {
        self.subject.matches(element)
            && match &self.ancestor {
                None => true,
                Some((Combinator::Child, outer)) => {
                    element.parent().and_then(ElementRef::wrap).is_some_and(|parent| outer.matches(parent))
                }
                Some((Combinator::Descendant, outer)) => {
                    element.ancestors().filter_map(ElementRef::wrap).any(|ancestor| outer.matches(ancestor))
                }
            }
    }
}

impl Compound {
    /// Takes a compound selector off the front of `rest`, up to a space or `>`.
    fn parse_prefix(rest: &mut &str) -> Result<Self, &'static str> {
        const INVALID: &str = "must consist of compound selectors such as `form#id.class[name=\"x\"]`";
        let tag = take_name(rest).map(str::to_ascii_lowercase);
        let mut attributes = Vec::new();
        while let Some(symbol) =
            rest.chars().next().filter(|symbol| !symbol.is_whitespace() && *symbol != '>')
        {
            *rest = &rest[symbol.len_utf8()..];
            match symbol {
                '#' => {
                    let id = take_name(rest).ok_or("has `#` without an id")?;
                    attributes.push(("id".to_owned(), AttributeMatch::Is(id.to_owned())));
                }
                '.' => {
                    let class = take_name(rest).ok_or("has `.` without a class")?;
                    attributes.push(("class".to_owned(), AttributeMatch::Word(class.to_owned())));
                }
                '[' => {
                    let (inside, after) = rest.split_once(']').ok_or("has `[` without `]`")?;
                    *rest = after;
                    attributes.push(parse_attribute(inside).ok_or("has an invalid attribute")?);
                }
                _ => return Err(INVALID),
            }
        }
        if tag.is_none() && attributes.is_empty() { Err(INVALID) } else { Ok(Self { tag, attributes }) }
    }

    /// Returns the longest text that is in the bytes of every page with a matching element.
    fn token(&self) -> &str {
        let texts = self.attributes.iter().map(|(name, test)| match test {
            AttributeMatch::Is(v)
            | AttributeMatch::Word(v)
            | AttributeMatch::Starts(v)
            | AttributeMatch::Has(v)
                if !v.is_empty() =>
            {
                v.as_str()
            }
            _ => name.as_str(),
        });
        texts.max_by_key(|text| text.len()).unwrap_or("")
    }

    fn matches(&self, element: ElementRef<'_>) -> bool {
        self.tag.as_deref().is_none_or(|expected| expected == element.value().name())
            && self
                .attributes
                .iter()
                .all(|(name, test)| element.attr(name).is_some_and(|value| test.matches(value)))
    }
}

impl AttributeMatch {
    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Is(expected) => value == expected,
            Self::Word(expected) => value.split_ascii_whitespace().any(|word| word == expected),
            Self::Starts(expected) => value.starts_with(expected.as_str()),
            Self::Has(expected) => value.contains(expected.as_str()),
        }
    }
}

/// Takes an identifier off the front of `rest`.
fn take_name<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    *rest = after;
    (!name.is_empty()).then_some(name)
}

fn parse_attribute(inside: &str) -> Option<(String, AttributeMatch)> {
    let mut rest = inside;
    let name = take_name(&mut rest)?.to_ascii_lowercase();
    let quoted = |value: &str| value.trim_matches(['"', '\'']).to_owned();
    let test = match rest.split_once('=') {
        None if rest.is_empty() => AttributeMatch::Present,
        Some(("", value)) => AttributeMatch::Is(quoted(value)),
        Some(("^", value)) if !quoted(value).is_empty() => AttributeMatch::Starts(quoted(value)),
        Some(("*", value)) if !quoted(value).is_empty() => AttributeMatch::Has(quoted(value)),
        _ => return None,
    };
    Some((name, test))
}

#[cfg(test)]
mod tests {
    use super::*;
    use scraper::Html;

    #[test]
    fn all_parts_of_a_selector_must_match_one_element() {
        let page = Html::parse_document(
            r#"<main><form id="a" class="one two" action="/errors/validateCaptcha"><p><input hidden></p></form></main>"#,
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
            ("main #a", true),
            ("main > #a", true),
            ("main input[hidden]", true),
            ("main>input[hidden]", false),
            ("#a p", true),
            ("div #a", false),
        ];
        for (text, expected) in table {
            let selector = Selector::parse(text).unwrap();
            let found =
                page.tree.nodes().filter_map(ElementRef::wrap).any(|element| selector.matches(element));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_selector_outside_the_grammar_is_an_error_with_its_text() {
        for text in
            ["", "div", "a b", "a + .b", "a .b .c", ".a >", "> .a", "#", ".", "[", "[=x]", "[a~=b]", "#é"]
        {
            let error = Selector::parse(text).unwrap_err();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn the_token_is_in_every_page_that_matches() {
        for (text, token) in [
            ("div#px-captcha", "px-captcha"),
            ("[data-ray][hidden]", "data-ray"),
            ("form[action*=\"validateCaptcha\"]", "validateCaptcha"),
            ("#turnstile-wrapper iframe", "turnstile-wrapper"),
        ] {
            assert_eq!(Selector::parse(text).unwrap().token(), token);
        }
    }
}

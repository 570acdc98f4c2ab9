//! The parts of a received response head that status and [`HeaderMap`] do not keep.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The reason phrase of a response, and the names of its header fields in their order and case. Default: nothing is
/// known, as over HTTP/2, which has neither a reason phrase nor names in upper case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceivedHead {
    reason: Option<Box<[u8]>>,
    /// The names, each followed by a line feed.
    names: Box<str>,
}

impl ReceivedHead {
    pub(crate) fn new<'a>(reason: Option<&[u8]>, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = String::new();
        for name in names {
            all.push_str(name);
            all.push('\n');
        }
        Self { reason: reason.map(Into::into), names: all.into() }
    }

    /// Returns the reason phrase, which may be empty.
    pub(crate) fn reason(&self) -> Option<&[u8]> {
        self.reason.as_deref()
    }

    /// Returns the fields of `headers` in the order received. Fields that were not received are last.
    pub(crate) fn fields<'a>(&'a self, headers: &'a HeaderMap) -> Vec<(&'a str, &'a HeaderValue)> {
        let mut fields = Vec::with_capacity(headers.len());
        let mut values = HashMap::new();
        for text in self.names.lines() {
            let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else { continue };
            let rest = values.entry(name.clone()).or_insert_with(|| headers.get_all(name).into_iter());
            fields.extend(rest.next().map(|value| (text, value)));
        }
        for name in headers.keys() {
            let rest = values.remove(name).unwrap_or_else(|| headers.get_all(name).into_iter());
            fields.extend(rest.map(|value| (name.as_str(), value)));
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_order_and_the_case_that_was_received() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("set-cookie", "a"), ("x-a", "1"), ("set-cookie", "b"), ("x-new", "2")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let names = ["Set-Cookie", "X-A", "X-Gone", "SET-COOKIE", "bad name", "set-cookie"];
        let head = ReceivedHead::new(Some(b"Fine"), names);
        let fields = |head: &ReceivedHead| -> Vec<String> {
            let all = head.fields(&headers).into_iter();
            all.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
        };
        assert_eq!(fields(&head), ["Set-Cookie: a", "X-A: 1", "SET-COOKIE: b", "x-new: 2"]);
        assert_eq!(head.reason(), Some(&b"Fine"[..]));
        let unknown = ReceivedHead::default();
        assert_eq!(fields(&unknown), ["set-cookie: a", "set-cookie: b", "x-a: 1", "x-new: 2"]);
        assert_eq!(unknown.reason(), None);
        headers.append("set-cookie", HeaderValue::from_static("c"));
        assert_eq!(head.fields(&headers)[3].1, "c");
    }
}

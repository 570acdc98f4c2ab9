//! Parses lines into tasks: a URL, or a JSON object with settings.

use std::fmt;
use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{BadLine, InputItem, InputProgress};
use crate::batch::queue::QueuedTask;
use crate::batch::task::Task;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::Context;
use crate::text::redact;

/// Iterates over the tasks in a reader's lines.
pub(super) struct Lines<R> {
    reader: R,
    name: String,
    number: u64,
    progress: Arc<InputProgress>,
    is_done: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) const fn new(reader: R, name: String, progress: Arc<InputProgress>) -> Self {
        Self { reader, name, number: 0, progress, is_done: false }
    }

    /// Reads the next line without its line end. Returns also whether it exceeds the limit.
    fn read_line(&mut self) -> io::Result<Option<(Vec<u8>, bool)>> {
        let (mut line, mut is_long, mut begun) = (Vec::new(), false, false);
        loop {
            let buffer = match self.reader.fill_buf() {
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if buffer.is_empty() {
                return Ok(begun.then_some((line, is_long)));
            }
            begun = true;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            let room = MAX_LINE - line.len();
            is_long |= part.len() > room;
            line.extend_from_slice(&part[..part.len().min(room)]);
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(used);
            self.progress.read.fetch_add(used as u64, Ordering::Relaxed);
            if end.is_some() {
                return Ok(Some((line, is_long)));
            }
        }
    }

    fn bad_line(&self, line: &[u8], reason: &str) -> InputItem {
        let beginning = &line[..line.len().min(SHOWN)];
        let text = String::from_utf8_lossy(beginning).into_owned();
        // An object may contain secrets anywhere.
        let text = if text.starts_with('{') { "{…}".to_owned() } else { redact::url_text(&text) };
        InputItem::BadLine(BadLine { text, message: format!("{}:{}: {reason}", self.name, self.number) })
    }

    fn parse_line(&self, line: &[u8], is_long: bool) -> Option<InputItem> {
        if is_long {
            return Some(self.bad_line(line, "the line exceeds 16 MiB"));
        }
        let Ok(text) = std::str::from_utf8(line) else {
            return Some(self.bad_line(line, "not UTF-8"));
        };
        let text = if self.number == 1 { text.trim_start_matches('\u{feff}') } else { text }.trim();
        if text.is_empty() || text.starts_with('#') {
            return None;
        }
        let task = if text.starts_with('{') { parse_object(text) } else { Ok(Task::from(text)) };
        let checked = task.and_then(|task| match QueuedTask::new(task) {
            Ok(work) => Ok(Box::new(work)),
            Err(error) => {
                Err(error.hint().map_or_else(|| error.chain(), |hint| format!("{}; {hint}", error.chain())))
            }
        });
        Some(checked.map_or_else(|reason| self.bad_line(text.as_bytes(), &reason), InputItem::Queued))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<InputItem>;

    fn next(&mut self) -> Option<Result<InputItem>> {
        while !self.is_done {
            match self.read_line() {
                Ok(Some((line, is_long))) => {
                    self.number += 1;
                    if let Some(item) = self.parse_line(&line, is_long) {
                        return Some(Ok(item));
                    }
                }
                Ok(None) => self.is_done = true,
                Err(cause) => {
                    self.is_done = true;
                    let message = format!("could not read {} after line {}", self.name, self.number);
                    return Some(Err(Error::new(ErrorKind::Io, message).with_source(cause)));
                }
            }
        }
        None
    }
}

/// The JSON object of a line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskLine {
    url: String,
    method: Option<String>,
    #[serde(default)]
    headers: HeaderPairs,
    body: Option<String>,
    body_base64: Option<String>,
    target: Option<String>,
    session: Option<String>,
    context: Option<Context>,
}

fn parse_object(text: &str) -> Result<Task, String> {
    // The message of serde may quote a value, which may be a secret.
    let parsed: TaskLine = serde_json::from_str(text).map_err(|cause| {
        if cause.is_data() {
            format!("invalid key or value before column {}; {KEYS}", cause.column())
        } else {
            format!("invalid JSON at column {}", cause.column())
        }
    })?;
    let body = match (parsed.body, parsed.body_base64) {
        (Some(_), Some(_)) => return Err("`body` and `body_base64` exclude each other".to_owned()),
        (Some(text), None) => Some(text.into_bytes()),
        (None, Some(text)) => {
            Some(BASE64_STANDARD.decode(text).map_err(|_| "`body_base64` is not Base64".to_owned())?)
        }
        (None, None) => None,
    };
    Ok(Task {
        url: parsed.url,
        method: parsed.method,
        headers: parsed.headers.0,
        body,
        target: parsed.target,
        session: parsed.session,
        context: parsed.context,
        tries: 0,
        depth: 0,
        seed_origin: None,
        allow_private: false,
        seed_has_credentials: false,
    })
}

/// Headers as an object or as a list of pairs, in order.
#[derive(Default)]
struct HeaderPairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for HeaderPairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = HeaderPairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object, or a list of pairs")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<HeaderPairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(HeaderPairs(pairs))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<HeaderPairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = list.next_element()? {
                    pairs.push(pair);
                }
                Ok(HeaderPairs(pairs))
            }
        }
        deserializer.deserialize_any(PairsVisitor)
    }
}

const KEYS: &str = "valid keys: url, method, headers, body, body_base64, target, session, context";
const MAX_LINE: usize = 16 << 20;
/// The number of bytes of a bad line that are reported.
const SHOWN: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<Result<Task, String>> {
        let lines = Lines::new(text, "list".to_owned(), Arc::default());
        lines
            .map(|item| match item.unwrap() {
                InputItem::Queued(work) => Ok(work.task),
                InputItem::Task(_) => panic!("a line is validated when it is read"),
                InputItem::BadLine(bad) => Err(bad.message),
            })
            .collect()
    }

    #[test]
    fn blank_lines_and_comments_are_ignored_and_bad_lines_are_reported() {
        let found = read(
            b"\xef\xbb\xbfhttp://a.test/1\r\n\n  # a remark\nno url\nhttp://a.test/2\n\xff\xfe\nftp://x/",
        );
        let urls: Vec<_> =
            found.iter().filter_map(|found| found.as_ref().ok()).map(|task| task.url.as_str()).collect();
        assert_eq!(urls, ["http://a.test/1", "http://a.test/2"]);
        let bad: Vec<_> = found.iter().filter_map(|found| found.as_ref().err()).collect();
        assert!(bad[0].starts_with("list:4: malformed URL `no url`"), "{bad:?}");
        assert_eq!(bad[1], "list:6: not UTF-8");
        assert!(bad[2].starts_with("list:7: unknown scheme `ftp`"), "{bad:?}");
    }

    #[test]
    fn an_object_has_settings_of_its_own() {
        let line = br#"{"url":"http://a.test/","method":"PUT","headers":{"b":"2","a":"1"},"body_base64":"AAE=","session":"s","context":"fetch","target":"t"}"#;
        let task = read(line).remove(0).unwrap();
        assert_eq!(task.headers, [("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())]);
        assert_eq!((task.method.as_deref(), task.body.as_deref()), (Some("PUT"), Some(&[0, 1][..])));
        assert_eq!((task.session.as_deref(), task.target.as_deref()), (Some("s"), Some("t")));
        assert_eq!(task.context, Some(Context::Fetch));
        let pairs = read(br#"{"url":"http://a.test/","headers":[["a","1"],["a","2"]]}"#).remove(0).unwrap();
        assert_eq!(pairs.headers.len(), 2);
    }

    #[test]
    fn an_invalid_object_is_reported_without_its_values() {
        for (line, expected) in [
            (r#"{"url":"http://a.test/","session":["hunter2"]}"#, "invalid key or value"),
            (r#"{"url":"http://a.test/","sesion":"hunter2"}"#, "valid keys: url"),
            (r#"{"url":"http://a.test/","body":"hunter2","body_base64":""}"#, "exclude each other"),
            (r#"{"url":"http://a.test/","body_base64":"hunter2!"}"#, "not Base64"),
            (r#"{"url":"http://a.test/""#, "invalid JSON"),
            (r#"{"method":"GET"}"#, "valid keys: url"),
            (r#"{"url":"http://a.test/","method":"a b"}"#, "is not a method"),
        ] {
            let error = read(line.as_bytes()).remove(0).unwrap_err();
            assert!(error.starts_with("list:1: ") && error.contains(expected), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_truncated_and_reported() {
        let mut text = vec![b'x'; MAX_LINE + 70_000];
        text.extend_from_slice(b"\nhttp://a.test/\n");
        let found = read(&text);
        assert_eq!(found[0], Err("list:1: the line exceeds 16 MiB".to_owned()));
        assert!(found[1].is_ok() && found.len() == 2);
    }
}

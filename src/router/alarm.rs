//! Pages that the structural detector refused, and how to recognise them in the browser. Pure.

use bytes::Bytes;

use crate::exchange::verdict::VerdictKind;
use crate::memory::AttemptSample;

/// What a response says about the structural detector.
pub(super) enum AlarmOutcome {
    Nothing,
    /// The detector refused this page below the browser tier.
    Raised(Bytes),
    /// The browser received a page that was refused, and shows it.
    Disproved,
}

/// A page that the structural detector refused below the browser tier.
pub(super) struct AlarmedPage {
    pub(super) attempt: AttemptSample,
    pub(super) kind: VerdictKind,
    pub(super) body: Bytes,
}

impl AlarmedPage {
    /// Whether the browser received this document, of `bytes` bytes, and shows it.
    pub(super) fn is_shown(&self, bytes: u64, shown: &[u8]) -> bool {
        is_same_size(self.body.len() as u64, bytes) && keeps_scripts(&self.body, shown)
    }
}

/// Whether two sizes can be of the same document. Tokens in it may differ in length.
const fn is_same_size(one: u64, other: u64) -> bool {
    one.abs_diff(other) <= one / 20 + SIZE_SLACK
}

/// Whether the page that the browser shows still has the scripts of the document. A challenge that writes another page in
/// its place removes them.
fn keeps_scripts(document: &[u8], shown: &[u8]) -> bool {
    let mut scripts = script_marks(document).take(MAX_SCRIPTS).peekable();
    scripts.peek().is_some() && scripts.all(|mark| memchr::memmem::find(shown, mark).is_some())
}

/// Returns a part of each script: its start tag, or the start of its text.
fn script_marks(document: &[u8]) -> impl Iterator<Item = &[u8]> {
    memchr::memmem::find_iter(document, b"<script").filter_map(|at| {
        let rest = &document[at + b"<script".len()..];
        let end = rest.iter().position(|byte| *byte == b'>')?;
        let text = rest[end + 1..].trim_ascii_start();
        let text = &text[..text.len().min(MAX_MARK)];
        let has_text = !text.starts_with(b"</") && !text.is_empty();
        let source = || {
            let tag = &rest[..end];
            let from = memchr::memmem::find(tag, b"src=")? + b"src=".len();
            let value = tag[from..].trim_ascii();
            let value = value.strip_prefix(b"\"").or_else(|| value.strip_prefix(b"'")).unwrap_or(value);
            let end = value.iter().position(|byte| b"\"' >&".contains(byte)).unwrap_or(value.len());
            (end > 0).then(|| &value[..end.min(MAX_MARK)])
        };
        if has_text { Some(text) } else { source() }
    })
}

/// Number of bytes that two answers for the same document may differ by.
const SIZE_SLACK: u64 = 64;
/// The number of scripts that are looked for, and the length of what is looked for.
const MAX_SCRIPTS: usize = 20;
const MAX_MARK: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_keeps_its_scripts_is_the_same() {
        let shell = b"<html><script src=\"/app.js?v=1&b=2\" defer></script><div id=app></div><script> boot(1 < 2)</script>";
        let shown = b"<html><head><script src=\"/app.js?v=1&amp;b=2\" defer=\"\"></script></head><body><div id=\"app\"><p>Hello</div>\
            <script> boot(1 < 2)</script></body></html>";
        assert!(keeps_scripts(shell, shown));
        assert!(!keeps_scripts(shell, b"<html><body><p>Hello</body></html>"));
        assert!(!keeps_scripts(b"<p>no script", b"<p>no script"), "nothing shows that they are the same");
        assert!(!keeps_scripts(b"<script></script>", b"<script></script>"));
        assert!(!keeps_scripts(b"<script", b"<script"));
    }

    #[test]
    fn sizes_of_the_same_document_differ_by_tokens_only() {
        for (one, other, same) in [
            (500, 560, true),
            (500, 600, false),
            (90_000, 94_000, true),
            (90_000, 80_000, false),
            (0, 64, true),
        ] {
            assert_eq!(is_same_size(one, other), same, "{one} {other}");
        }
    }
}

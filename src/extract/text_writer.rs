//! Writes the text of a page: line breaks between boxes and collapsed white space, as `innerText` has them.

use super::style::{Transform, WhiteSpace};

/// The text so far. A break between two boxes is written with the text after it.
#[derive(Debug, Default)]
pub(super) struct TextWriter {
    text: String,
    /// Line breaks that the next text needs before it.
    required_breaks: usize,
    /// Collapsed white space after the last text.
    has_space: bool,
    /// Whether a line has begun on which nothing is shown so far.
    is_line_begun: bool,
    /// Whether the last character belongs to a word.
    is_in_word: bool,
}

impl TextWriter {
    pub(super) const fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Requires at least `count` line breaks between the text before and the text after.
    pub(super) fn require_breaks(&mut self, count: usize) {
        self.required_breaks = self.required_breaks.max(count);
        self.start_line();
    }

    /// Writes a line break or a tab.
    pub(super) fn separate(&mut self, separator: char) {
        self.write_breaks();
        self.text.push(separator);
        self.start_line();
    }

    /// Begins a box inside a line.
    pub(super) fn begin_atomic(&mut self) {
        self.write_space();
        self.start_line();
    }

    /// Ends a box inside a line. Also a box without text separates the spaces before and after it.
    pub(super) fn end_atomic(&mut self) {
        self.has_space = false;
        self.is_line_begun = true;
        self.is_in_word = false;
    }

    pub(super) fn push_text(&mut self, text: &str, white_space: WhiteSpace, transform: Transform) {
        for c in text.chars() {
            match (c, white_space) {
                ('\n', WhiteSpace::KeepLines) => {
                    self.has_space = false;
                    self.separate('\n');
                }
                (' ' | '\t' | '\n' | '\r' | '\x0c', WhiteSpace::Collapse | WhiteSpace::KeepLines) => {
                    self.has_space |= self.is_line_begun;
                    self.is_in_word = false;
                }
                _ => self.push_char(c, transform),
            }
        }
    }

    fn push_char(&mut self, c: char, transform: Transform) {
        self.write_breaks();
        self.write_space();
        let starts_word = c.is_alphanumeric() && !std::mem::replace(&mut self.is_in_word, !c.is_whitespace());
        match transform {
            Transform::Upper => self.text.extend(c.to_uppercase()),
            Transform::Capitalize if starts_word => self.text.extend(c.to_uppercase()),
            Transform::Lower => self.text.extend(c.to_lowercase()),
            _ => self.text.push(c),
        }
        self.is_line_begun = c != '\n';
    }

    const fn start_line(&mut self) {
        self.has_space = false;
        self.is_line_begun = false;
        self.is_in_word = false;
    }

    fn write_breaks(&mut self) {
        let breaks = std::mem::take(&mut self.required_breaks);
        if !self.text.is_empty() {
            self.text.extend(std::iter::repeat_n('\n', breaks));
        }
    }

    fn write_space(&mut self) {
        if std::mem::take(&mut self.has_space) {
            self.write_breaks();
            self.text.push(' ');
        }
    }
}

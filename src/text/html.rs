//! Parses HTML of sites, with limits on size, depth, attributes and time. The only HTML reader.

pub(crate) mod markup;
mod names;
mod sink;
mod tags;
mod work;

use std::cell::Cell;

use html5ever::TokenizerResult;
use html5ever::buffer_queue::BufferQueue;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};
use html5ever::tree_builder::{TreeBuilder, TreeBuilderOpts, TreeSink};
use scraper::Html;

pub(crate) use work::WorkLimit;

use names::Names;
use sink::PageSink;
use tags::{Piece, Pieces};

/// The limits of one page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParseLimits {
    /// Maximum nodes of the tree.
    pub(crate) nodes: usize,
    /// Maximum levels of the tree.
    pub(crate) depth: usize,
}

/// Parses a page. Stops when the tree is too large or too deep, or when the work takes too long. A tag keeps its first
/// [`MAX_ATTRIBUTES`](tags::MAX_ATTRIBUTES) attributes. Returns also whether anything was left out.
///
/// Parsers compare each attribute of a tag with all before it, and misnested formatting is repeated in each block.
/// Without limits, time and memory grow with the square of the page's size.
pub(crate) fn parse(text: &str, limits: ParseLimits, work: &WorkLimit) -> (Html, bool) {
    parse_as(text, true, limits, work)
}

/// Parses a page like [`parse`]. Without `scripting`, the content of `noscript` is elements instead of text.
pub(crate) fn parse_as(text: &str, scripting: bool, limits: ParseLimits, work: &WorkLimit) -> (Html, bool) {
    let mut parser = Parser::new(limits, scripting);
    let mut pieces = Pieces::new(text);
    let mut is_cut = false;
    while let Some(piece) = pieces.next(parser.is_raw()) {
        let texts = match piece {
            Piece::Text(text) => [text, ""],
            Piece::CutTag { kept, end } => {
                is_cut = true;
                [kept, end]
            }
        };
        if !texts.into_iter().all(|text| parser.feed_within_limits(text, work)) {
            return (parser.finish(), true);
        }
    }
    let is_cut = is_cut || parser.tokenizer.sink.names.has_cut();
    (parser.finish(), is_cut)
}

/// The tokenizer and the tree, of which no input is pending between two pieces.
struct Parser {
    tokenizer: Tokenizer<StateSink>,
    input: BufferQueue,
    limits: ParseLimits,
    /// Nodes whose depth was checked.
    checked: usize,
}

/// Passes tokens to the tree, and records whether the tokenizer is inside an element of text, such as `script`.
struct StateSink {
    builder: TreeBuilder<ego_tree::NodeId, PageSink>,
    is_raw: Cell<bool>,
    names: Names,
}

impl Parser {
    fn new(limits: ParseLimits, scripting_enabled: bool) -> Self {
        let options = TreeBuilderOpts { scripting_enabled, ..TreeBuilderOpts::default() };
        let builder = TreeBuilder::new(PageSink::new(), options);
        let sink = StateSink { builder, is_raw: Cell::new(false), names: Names::default() };
        let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
        Self { tokenizer, input: BufferQueue::default(), limits, checked: 0 }
    }

    fn is_raw(&self) -> bool {
        self.tokenizer.sink.is_raw.get()
    }

    /// Feeds text in parts, and returns false at the first that exceeds a limit.
    fn feed_within_limits(&mut self, text: &str, work: &WorkLimit) -> bool {
        let mut rest = text;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(floor_char_boundary(rest, MAX_PART));
            self.input.push_back(StrTendril::from(part));
            self.tokenize();
            if !self.is_within_limits() || work.is_over() {
                return false;
            }
            rest = after;
        }
        true
    }

    /// Reads all input. The tokenizer stops at each script, which is not run, and at each `meta` that names an encoding,
    /// which is known already.
    fn tokenize(&self) {
        while !matches!(self.tokenizer.feed(&self.input), TokenizerResult::Done) {}
    }

    /// Whether the tree is within the limits of nodes, depth and names.
    fn is_within_limits(&mut self) -> bool {
        if self.tokenizer.sink.names.is_full() {
            return false;
        }
        let html = self.tokenizer.sink.builder.sink.0.0.borrow();
        let nodes = html.tree.nodes();
        let count = nodes.len();
        let new = count - std::mem::replace(&mut self.checked, count);
        let max = self.limits.depth;
        let is_deep = nodes.rev().take(new).any(|node| node.ancestors().take(max + 1).count() > max);
        count <= self.limits.nodes && !is_deep
    }

    fn finish(self) -> Html {
        self.tokenize();
        self.tokenizer.end();
        self.tokenizer.sink.builder.sink.finish()
    }
}

impl TokenSink for StateSink {
    type Handle = ego_tree::NodeId;

    fn process_token(&self, mut token: Token, line: u64) -> TokenSinkResult<Self::Handle> {
        let is_tag = match &mut token {
            Token::TagToken(tag) => {
                self.names.add(tag);
                true
            }
            _ => false,
        };
        let result = self.builder.process_token(token, line);
        if is_tag {
            let is_raw = matches!(result, TokenSinkResult::RawData(_) | TokenSinkResult::Plaintext);
            self.is_raw.set(is_raw);
        }
        result
    }

    fn end(&self) {
        self.builder.end();
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.builder.adjusted_current_node_present_but_not_in_html_namespace()
    }
}

/// Returns the last character boundary at or before `index`.
pub(crate) fn floor_char_boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Maximum bytes that are fed between two checks of the time. Only one long tag, comment or text has as many.
const MAX_PART: usize = 16 * 1024;

#[cfg(test)]
mod tests;

//! An HPACK encoder (RFC 7541) that indexes and Huffman-codes as a browser does.

use std::collections::{HashMap, VecDeque};
use std::sync::LazyLock;

use crate::fingerprint::hpack::FieldEncoding;
use crate::fingerprint::hpack_tables::{CODE_LENGTHS, STATIC};
use crate::fingerprint::profile::{Hpack, Huffman};

/// The encoding side of one connection's HPACK state.
#[derive(Debug)]
pub(crate) struct HpackEncoder {
    style: Hpack,
    /// The dynamic table, newest first.
    table: VecDeque<(Vec<u8>, Vec<u8>)>,
    size: usize,
    limit: usize,
    /// The smallest and the latest table size that the peer allowed since the last block.
    pending_resize: Option<(usize, usize)>,
}

impl HpackEncoder {
    pub(crate) const fn new(style: Hpack) -> Self {
        Self { style, table: VecDeque::new(), size: 0, limit: DEFAULT_TABLE, pending_resize: None }
    }

    /// Applies the peer's SETTINGS_HEADER_TABLE_SIZE. The next block starts with the size update.
    pub(crate) fn resize(&mut self, allowed: u32) {
        let allowed = usize::try_from(allowed).unwrap_or(MAX_TABLE).min(MAX_TABLE);
        if allowed == self.limit && self.pending_resize.is_none() {
            return;
        }
        let smallest = self.pending_resize.map_or(self.limit, |(smallest, _)| smallest).min(allowed);
        self.pending_resize = Some((smallest, allowed));
        self.limit = allowed;
        self.evict(smallest);
    }

    /// Appends a header block of `fields` to `out`.
    pub(crate) fn encode<'a>(
        &mut self,
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        out: &mut Vec<u8>,
    ) {
        if let Some((smallest, last)) = self.pending_resize.take() {
            if smallest < last {
                write_integer(out, 0x20, 5, smallest);
            }
            write_integer(out, 0x20, 5, last);
        }
        for (name, value) in fields {
            self.encode_field(name, value, out);
        }
    }

    fn encode_field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let encoding = self.literal_encoding(name);
        if encoding != FieldEncoding::NeverIndexed
            && let Some(index) = self.find_entry(name, value)
        {
            return write_integer(out, 0x80, 7, index);
        }
        let (pattern, prefix) = match encoding {
            FieldEncoding::Incremental | FieldEncoding::Indexed => (0x40, 6),
            FieldEncoding::WithoutIndexing => (0x00, 4),
            FieldEncoding::NeverIndexed => (0x10, 4),
        };
        match self.find_name(name) {
            Some(index) => write_integer(out, pattern, prefix, index),
            None => {
                out.push(pattern);
                write_string(out, name, self.style.huffman);
            }
        }
        write_string(out, value, self.style.huffman);
        if encoding == FieldEncoding::Incremental {
            self.insert(name, value);
        }
    }

    /// Returns the representation of a field that is in neither table.
    fn literal_encoding(&self, name: &[u8]) -> FieldEncoding {
        let holds = |list: &[String], name: &[u8]| list.iter().any(|other| other.as_bytes() == name);
        match name.strip_prefix(b":") {
            Some(pseudo) if holds(&self.style.indexed_pseudo, pseudo) => FieldEncoding::Incremental,
            Some(_) => FieldEncoding::WithoutIndexing,
            None if holds(&self.style.never_indexed, name) => FieldEncoding::NeverIndexed,
            None if holds(&self.style.unindexed, name) => FieldEncoding::WithoutIndexing,
            None => FieldEncoding::Incremental,
        }
    }

    /// Returns the index of an entry with this name and value.
    fn find_entry(&self, name: &[u8], value: &[u8]) -> Option<usize> {
        if let Some(index) = STATIC_NAMES.get(name).and_then(|first| {
            (*first..=STATIC.len())
                .take_while(|at| STATIC[at - 1].0.as_bytes() == name)
                .find(|at| STATIC[at - 1].1.as_bytes() == value)
        }) {
            return Some(index);
        }
        let index = self.reusable_entries().position(|(other, stored)| other == name && stored == value)?;
        Some(STATIC.len() + 1 + index)
    }

    /// Returns the index of an entry with this name, the static table first.
    fn find_name(&self, name: &[u8]) -> Option<usize> {
        if let Some(index) = STATIC_NAMES.get(name) {
            return Some(*index);
        }
        let index = self.reusable_entries().position(|(other, _)| other == name)?;
        Some(STATIC.len() + 1 + index)
    }

    /// The dynamic entries that may be referenced, newest first.
    fn reusable_entries(&self) -> impl Iterator<Item = &(Vec<u8>, Vec<u8>)> {
        self.table.iter().take(if self.style.table_reuse { usize::MAX } else { 0 })
    }

    fn insert(&mut self, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + ENTRY_OVERHEAD;
        self.evict(self.limit.saturating_sub(size));
        if size <= self.limit {
            self.size += size;
            self.table.push_front((name.to_vec(), value.to_vec()));
        }
    }

    fn evict(&mut self, down_to: usize) {
        while self.size > down_to {
            let Some((name, value)) = self.table.pop_back() else { return };
            self.size -= name.len() + value.len() + ENTRY_OVERHEAD;
        }
    }
}

/// Writes an integer with its pattern in the bits above the prefix (section 5.1).
pub(super) fn write_integer(out: &mut Vec<u8>, pattern: u8, prefix: u32, value: usize) {
    let mask = (1_usize << prefix) - 1;
    let low = |value: usize| u8::try_from(value & 0xff).unwrap_or(0);
    if value < mask {
        return out.push(pattern | low(value));
    }
    out.push(pattern | low(mask));
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(low(rest & 0x7f) | 0x80);
        rest >>= 7;
    }
    out.push(low(rest));
}

/// Writes a string, Huffman-coded as `style` requires.
fn write_string(out: &mut Vec<u8>, text: &[u8], style: Huffman) {
    let bits: usize = text.iter().map(|byte| usize::from(CODE_LENGTHS[usize::from(*byte)])).sum();
    let coded = bits.div_ceil(8);
    let plain = match style {
        Huffman::Always => false,
        Huffman::Shorter => coded >= text.len(),
        Huffman::Never => true,
    };
    if plain {
        write_integer(out, 0x00, 7, text.len());
        return out.extend_from_slice(text);
    }
    write_integer(out, 0x80, 7, coded);
    let (mut pending, mut pending_bits) = (0_u64, 0_u32);
    for byte in text {
        let length = u32::from(CODE_LENGTHS[usize::from(*byte)]);
        pending = pending << length | u64::from(HUFFMAN_CODES[usize::from(*byte)]);
        pending_bits += length;
        while pending_bits >= 8 {
            pending_bits -= 8;
            out.push((pending >> pending_bits & 0xff) as u8);
        }
    }
    if pending_bits > 0 {
        // The padding is the most significant bits of the EOS code: all ones.
        out.push((pending << (8 - pending_bits) & 0xff) as u8 | (0xff >> pending_bits));
    }
}

/// The canonical Huffman code of each symbol (appendix B), derived from the code lengths.
static HUFFMAN_CODES: LazyLock<[u32; 257]> = LazyLock::new(|| {
    let mut codes = [0; 257];
    let mut code = 0_u32;
    for length in 1..=30 {
        code <<= 1;
        for symbol in 0..codes.len() {
            if CODE_LENGTHS[symbol] == length {
                codes[symbol] = code;
                code += 1;
            }
        }
    }
    codes
});

/// The first static entry of each name.
static STATIC_NAMES: LazyLock<HashMap<&'static [u8], usize>> = LazyLock::new(|| {
    let mut names = HashMap::new();
    for (index, (name, _)) in STATIC.iter().enumerate() {
        names.entry(name.as_bytes()).or_insert(index + 1);
    }
    names
});

const DEFAULT_TABLE: usize = 4096;
/// A peer may allow more; browsers do not need it.
const MAX_TABLE: usize = 64 * 1024;
const ENTRY_OVERHEAD: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::hpack::{HpackDecoder, HpackField};

    fn blocks(encoder: &mut HpackEncoder, lists: &[&[(&str, &str)]]) -> Vec<Vec<HpackField>> {
        let mut decoder = HpackDecoder::default();
        lists
            .iter()
            .map(|fields| {
                let mut block = Vec::new();
                encoder.encode(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())), &mut block);
                decoder.decode(&block).unwrap()
            })
            .collect()
    }

    const FIELDS: &[(&str, &str)] = &[
        (":method", "GET"),
        (":authority", "site.example"),
        (":scheme", "https"),
        (":path", "/page?q=1"),
        ("sec-ch-ua-mobile", "?0"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
        ("accept", "*/*"),
        ("cookie", "a=1"),
        ("cookie", "b=\u{e9}"),
    ];

    #[test]
    fn encoded_fields_decode_to_the_same_with_chromes_representations() {
        let read = blocks(&mut HpackEncoder::new(Hpack::default()), &[FIELDS, FIELDS]);
        for block in &read {
            let pairs: Vec<_> = block.iter().map(|f| (f.name.as_str(), f.value.as_str())).collect();
            assert_eq!(pairs, FIELDS);
        }
        let forms = |block: &[HpackField]| block.iter().map(|f| f.form).collect::<Vec<_>>();
        let (inc, idx, not) =
            (FieldEncoding::Incremental, FieldEncoding::Indexed, FieldEncoding::WithoutIndexing);
        assert_eq!(forms(&read[0]), [idx, inc, idx, not, inc, inc, inc, inc, inc]);
        assert_eq!(forms(&read[1]), [idx, idx, idx, not, idx, idx, idx, idx, idx]);
        let huffman = |name: &str| read[0].iter().find(|f| f.name == name).unwrap().value_huffman;
        assert_eq!(huffman("sec-ch-ua-mobile"), Some(false), "coding does not shorten `?0`");
        assert_eq!(huffman("user-agent"), Some(true));
        assert_eq!(huffman("accept"), Some(false));
    }

    #[test]
    fn other_encoding_styles_are_supported() {
        let text = |name: &str| vec![name.to_owned()];
        let style = Hpack {
            indexed_pseudo: text("path"),
            unindexed: text("accept"),
            never_indexed: text("cookie"),
            huffman: Huffman::Always,
            table_reuse: false,
        };
        let read = blocks(&mut HpackEncoder::new(style), &[FIELDS, FIELDS]);
        let (inc, idx, not, never) = (
            FieldEncoding::Incremental,
            FieldEncoding::Indexed,
            FieldEncoding::WithoutIndexing,
            FieldEncoding::NeverIndexed,
        );
        for block in &read {
            let pairs: Vec<_> = block.iter().map(|f| (f.name.as_str(), f.value.as_str())).collect();
            assert_eq!(pairs, FIELDS);
            let forms: Vec<_> = block.iter().map(|f| f.form).collect();
            assert_eq!(forms, [idx, not, idx, inc, inc, inc, not, never, never]);
            assert!(block.iter().all(|f| f.value_huffman != Some(false)));
        }
        let plain = Hpack { huffman: Huffman::Never, ..Hpack::default() };
        let read = blocks(&mut HpackEncoder::new(plain), &[FIELDS]);
        assert!(read[0].iter().all(|f| f.name_huffman != Some(true) && f.value_huffman != Some(true)));
    }

    #[test]
    fn the_rfcs_huffman_examples_are_reproduced() {
        let mut out = Vec::new();
        write_string(&mut out, b"www.example.com", Huffman::Shorter);
        assert_eq!(out, [0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff]);
        out.clear();
        write_integer(&mut out, 0, 5, 1337);
        assert_eq!(out, [0x1f, 0x9a, 0x0a]);
    }

    #[test]
    fn a_table_size_change_is_announced_and_obeyed() {
        let mut encoder = HpackEncoder::new(Hpack::default());
        let mut decoder = HpackDecoder::default();
        for allowed in [4096, 0, 100, 4096, 65_536] {
            encoder.resize(allowed);
            let mut block = Vec::new();
            encoder.encode(FIELDS.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())), &mut block);
            let read = decoder.decode(&block).unwrap();
            assert_eq!(read.len(), FIELDS.len(), "{allowed}");
            assert!(encoder.size <= allowed as usize, "{allowed}");
        }
    }

    #[test]
    fn the_tables_of_encoder_and_decoder_stay_equal_over_many_blocks() {
        let (mut encoder, mut decoder) = (HpackEncoder::new(Hpack::default()), HpackDecoder::default());
        for number in 0..2000_u32 {
            let value = format!("{}{number}", "v".repeat((number % 200) as usize));
            let fields = [("x-first", value.as_str()), ("x-second", "same"), ("x-first", "again")];
            let mut block = Vec::new();
            encoder.encode(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())), &mut block);
            let read = decoder.decode(&block).unwrap();
            let read: Vec<_> = read.iter().map(|f| (f.name.as_str(), f.value.as_str())).collect();
            assert_eq!(read, fields);
        }
    }
}

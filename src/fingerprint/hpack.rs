//! An HPACK decoder (RFC 7541) that also reports the representation of each field.
//!
//! Two clients that send the same headers still differ in which fields they index and Huffman-code. A
//! decoder for fingerprints must report this.

use std::collections::VecDeque;
use std::fmt;
use std::sync::LazyLock;

use serde::Serialize;

use super::hpack_tables::{CODE_LENGTHS, STATIC};

/// The maximum number of fields in a header block.
pub const MAX_FIELDS: usize = 1000;
/// The maximum decoded size of the fields of a header block, in bytes.
pub const MAX_LIST_BYTES: usize = 512 * 1024;

const MAX_TABLE: usize = 64 * 1024;
const ENTRY_OVERHEAD: usize = 32;
const DEFAULT_TABLE: usize = 4096;
const MAX_CODE_LEN: usize = 30;

/// The HPACK representation of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldEncoding {
    /// Name and value from a table.
    Indexed,
    /// A literal that is added to the dynamic table.
    Incremental,
    /// A literal that is not added to the table.
    WithoutIndexing,
    /// A literal that intermediaries must not index either.
    NeverIndexed,
}

/// A decoded field and its representation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct HpackField {
    /// The name.
    pub name: String,
    /// The value; bytes that are not UTF-8 are replaced.
    pub value: String,
    /// The representation.
    pub form: FieldEncoding,
    /// Whether the name came from a table.
    pub name_from_table: bool,
    /// Whether the name was Huffman-coded; absent when it came from a table.
    pub name_huffman: Option<bool>,
    /// Whether the value was Huffman-coded; absent when it came from a table.
    pub value_huffman: Option<bool>,
}

/// The reason that a header block could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HpackError {
    /// The block ends inside a field.
    Truncated,
    /// An index refers to an entry that does not exist.
    BadIndex,
    /// An integer is too large.
    BadInteger,
    /// An invalid Huffman code.
    BadHuffman,
    /// A dynamic table size update that is too large, or not at the start of the block.
    BadTableSize,
    /// The block exceeds [`MAX_FIELDS`] or [`MAX_LIST_BYTES`].
    TooLarge,
}

impl fmt::Display for HpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the header block ends inside a field",
            Self::BadIndex => "the header block refers to an entry that does not exist",
            Self::BadInteger => "the header block contains an integer that is too large",
            Self::BadHuffman => "the header block contains an invalid Huffman code",
            Self::BadTableSize => "the header block sets a table size that is not allowed",
            Self::TooLarge => "the header block is too large",
        })
    }
}

impl std::error::Error for HpackError {}

/// The decoding side of one connection's HPACK state.
#[derive(Debug)]
pub struct HpackDecoder {
    table: VecDeque<(Vec<u8>, Vec<u8>)>,
    size: usize,
    limit: usize,
}

impl Default for HpackDecoder {
    fn default() -> Self {
        Self { table: VecDeque::new(), size: 0, limit: DEFAULT_TABLE }
    }
}

impl HpackDecoder {
    /// Decodes one complete header block. After an error the state of the connection is unusable.
    ///
    /// # Errors
    /// The reason, if the block is invalid.
    pub fn decode(&mut self, block: &[u8]) -> Result<Vec<HpackField>, HpackError> {
        Ok(self.decode_bytes(block)?.into_iter().map(HpackField::from).collect())
    }

    /// Like [`decode`](Self::decode), but returns names and values as bytes.
    pub(crate) fn decode_bytes(&mut self, block: &[u8]) -> Result<Vec<RawField>, HpackError> {
        let mut input = BlockReader(block);
        let mut fields = Vec::new();
        let mut total = 0;
        while let Some(&first) = input.0.first() {
            if first & 0xe0 == 0x20 {
                let size = input.integer(5)?;
                if size > MAX_TABLE || !fields.is_empty() {
                    return Err(HpackError::BadTableSize);
                }
                self.limit = size;
                self.evict();
                continue;
            }
            let field = self.field(&mut input, first)?;
            total += field.name.len() + field.value.len() + ENTRY_OVERHEAD;
            if fields.len() >= MAX_FIELDS || total > MAX_LIST_BYTES {
                return Err(HpackError::TooLarge);
            }
            fields.push(field);
        }
        Ok(fields)
    }

    fn field(&mut self, input: &mut BlockReader<'_>, first: u8) -> Result<RawField, HpackError> {
        if first & 0x80 != 0 {
            let index = input.integer(7)?;
            let (name, value) = self.entry(index)?;
            return Ok(RawField {
                name: name.to_vec(),
                value: value.to_vec(),
                form: FieldEncoding::Indexed,
                name_from_table: true,
                name_huffman: None,
                value_huffman: None,
            });
        }
        let (form, prefix) = match first {
            0x40.. => (FieldEncoding::Incremental, 6),
            0x10.. => (FieldEncoding::NeverIndexed, 4),
            _ => (FieldEncoding::WithoutIndexing, 4),
        };
        let index = input.integer(prefix)?;
        let (name, name_huffman) = if index == 0 {
            let (name, huffman) = input.string()?;
            (name, Some(huffman))
        } else {
            (self.entry(index)?.0.to_vec(), None)
        };
        let (value, huffman) = input.string()?;
        if form == FieldEncoding::Incremental {
            self.size += name.len() + value.len() + ENTRY_OVERHEAD;
            self.table.push_front((name.clone(), value.clone()));
            self.evict();
        }
        Ok(RawField {
            name,
            value,
            form,
            name_from_table: index != 0,
            name_huffman,
            value_huffman: Some(huffman),
        })
    }

    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), HpackError> {
        let offset = index.checked_sub(1).ok_or(HpackError::BadIndex)?;
        if let Some((name, value)) = STATIC.get(offset) {
            return Ok((name.as_bytes(), value.as_bytes()));
        }
        let (name, value) = self.table.get(offset - STATIC.len()).ok_or(HpackError::BadIndex)?;
        Ok((name, value))
    }

    fn evict(&mut self) {
        while self.size > self.limit {
            let Some((name, value)) = self.table.pop_back() else { return };
            self.size -= name.len() + value.len() + ENTRY_OVERHEAD;
        }
    }
}

/// A decoded field as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawField {
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
    form: FieldEncoding,
    name_from_table: bool,
    name_huffman: Option<bool>,
    value_huffman: Option<bool>,
}

impl From<RawField> for HpackField {
    fn from(raw: RawField) -> Self {
        Self {
            name: lossy_text(&raw.name),
            value: lossy_text(&raw.value),
            form: raw.form,
            name_from_table: raw.name_from_table,
            name_huffman: raw.name_huffman,
            value_huffman: raw.value_huffman,
        }
    }
}

fn lossy_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct BlockReader<'a>(&'a [u8]);

impl BlockReader<'_> {
    fn byte(&mut self) -> Result<u8, HpackError> {
        let (&byte, rest) = self.0.split_first().ok_or(HpackError::Truncated)?;
        self.0 = rest;
        Ok(byte)
    }

    fn integer(&mut self, prefix: u32) -> Result<usize, HpackError> {
        let mask = (1_u8 << prefix) - 1;
        let mut value = usize::from(self.byte()? & mask);
        if value < usize::from(mask) {
            return Ok(value);
        }
        // Four more bytes hold 28 bits, which is more than any limit here.
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(HpackError::BadInteger)
    }

    fn string(&mut self) -> Result<(Vec<u8>, bool), HpackError> {
        let huffman = self.0.first().ok_or(HpackError::Truncated)? & 0x80 != 0;
        let len = self.integer(7)?;
        let (head, rest) = self.0.split_at_checked(len).ok_or(HpackError::Truncated)?;
        self.0 = rest;
        Ok((if huffman { huffman_decode(head)? } else { head.to_vec() }, huffman))
    }
}

/// The canonical Huffman code: symbols in code order, and the first code of each length.
struct HuffmanCodes {
    first_code: [u32; MAX_CODE_LEN + 1],
    first_symbol: [usize; MAX_CODE_LEN + 1],
    count: [usize; MAX_CODE_LEN + 1],
    symbols: Vec<usize>,
}

impl HuffmanCodes {
    fn symbol(&self, code: u32, len: usize) -> Option<usize> {
        let offset = usize::try_from(code.checked_sub(self.first_code[len])?).ok()?;
        (offset < self.count[len]).then(|| self.symbols[self.first_symbol[len] + offset])
    }
}

static HUFFMAN_CODES: LazyLock<HuffmanCodes> = LazyLock::new(|| {
    let mut codes = HuffmanCodes {
        first_code: [0; MAX_CODE_LEN + 1],
        first_symbol: [0; MAX_CODE_LEN + 1],
        count: [0; MAX_CODE_LEN + 1],
        symbols: Vec::with_capacity(CODE_LENGTHS.len()),
    };
    let mut code = 0;
    for len in 1..=MAX_CODE_LEN {
        code <<= 1;
        codes.first_code[len] = code;
        codes.first_symbol[len] = codes.symbols.len();
        let of_this_length =
            CODE_LENGTHS.iter().enumerate().filter(|(_, l)| usize::from(**l) == len).map(|(s, _)| s);
        codes.symbols.extend(of_this_length);
        codes.count[len] = codes.symbols.len() - codes.first_symbol[len];
        code += u32::try_from(codes.count[len]).expect("there are 257 symbols");
    }
    codes
});

fn huffman_decode(bytes: &[u8]) -> Result<Vec<u8>, HpackError> {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    let (mut code, mut len) = (0_u32, 0_usize);
    for byte in bytes {
        for bit in (0..8).rev() {
            code = code << 1 | u32::from(byte >> bit & 1);
            len += 1;
            match HUFFMAN_CODES.symbol(code, len) {
                // The end-of-string symbol is the only one above 255. RFC 7541 forbids it in a string.
                Some(symbol) => {
                    out.push(u8::try_from(symbol).map_err(|_| HpackError::BadHuffman)?);
                    (code, len) = (0, 0);
                }
                None if len == MAX_CODE_LEN => return Err(HpackError::BadHuffman),
                None => {}
            }
        }
    }
    // The remaining bits must be padding: fewer than eight, all ones.
    if len < 8 && code == (1 << len) - 1 { Ok(out) } else { Err(HpackError::BadHuffman) }
}

#[cfg(test)]
mod tests {
    use super::super::sample::bytes;
    use super::*;

    fn pairs(fields: &[HpackField]) -> Vec<(&str, &str)> {
        fields.iter().map(|f| (f.name.as_str(), f.value.as_str())).collect()
    }

    // RFC 7541, C.4: three requests on one connection, Huffman-coded.
    #[test]
    fn the_huffman_examples_of_the_rfc_are_decoded() {
        let mut decoder = HpackDecoder::default();
        let first = decoder.decode(&bytes("828684418cf1e3c2e5f23a6ba0ab90f4ff")).unwrap();
        let common =
            [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
        assert_eq!(pairs(&first), common);
        assert_eq!((first[3].form, first[3].name_from_table), (FieldEncoding::Incremental, true));
        assert_eq!((first[3].name_huffman, first[3].value_huffman), (None, Some(true)));

        let second = decoder.decode(&bytes("828684be5886a8eb10649cbf")).unwrap();
        assert_eq!(pairs(&second)[..4], common);
        assert_eq!(pairs(&second)[4], ("cache-control", "no-cache"));
        assert_eq!(second[3].form, FieldEncoding::Indexed);

        let third = decoder.decode(&bytes("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf")).unwrap();
        assert_eq!(pairs(&third)[4], ("custom-key", "custom-value"));
        assert_eq!(third[4].name_huffman, Some(true));
        assert_eq!(decoder.size, 164);
    }

    // RFC 7541, C.2: the four representations.
    #[test]
    fn the_encoding_of_each_field_is_reported() {
        let mut decoder = HpackDecoder::default();
        let cases = [
            ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", FieldEncoding::Incremental),
            ("040c2f73616d706c652f70617468", FieldEncoding::WithoutIndexing),
            ("100870617373776f726406736563726574", FieldEncoding::NeverIndexed),
            ("82", FieldEncoding::Indexed),
        ];
        for (block, form) in cases {
            assert_eq!(decoder.decode(&bytes(block)).unwrap()[0].form, form);
        }
    }

    #[test]
    fn a_smaller_table_evicts_entries() {
        let mut decoder = HpackDecoder::default();
        decoder.decode(&bytes("400a637573746f6d2d6b65790d637573746f6d2d686561646572")).unwrap();
        assert_eq!(decoder.decode(&bytes("be")).unwrap().len(), 1);
        assert_eq!(decoder.decode(&bytes("20be")), Err(HpackError::BadIndex));
    }

    #[test]
    fn invalid_blocks_are_errors() {
        let cases = [
            ("80", HpackError::BadIndex),
            ("ff00", HpackError::BadIndex),
            ("ffffffffffffff", HpackError::BadInteger),
            ("8220", HpackError::BadTableSize),
            ("3fe1ffff7f", HpackError::BadTableSize),
            ("40", HpackError::Truncated),
            ("400a6375", HpackError::Truncated),
            // Padding that is not all ones, padding of a full byte, and the end-of-string code.
            ("40811800", HpackError::BadHuffman),
            ("4082ffff00", HpackError::BadHuffman),
            ("4084ffffffff00", HpackError::BadHuffman),
        ];
        for (block, error) in cases {
            assert_eq!(HpackDecoder::default().decode(&bytes(block)), Err(error), "{block}");
        }
    }

    #[test]
    fn a_small_block_cannot_become_a_large_list() {
        let mut decoder = HpackDecoder::default();
        assert_eq!(decoder.decode(&[0x82; MAX_FIELDS + 1]), Err(HpackError::TooLarge));
    }

    #[test]
    fn no_block_of_two_bytes_panics() {
        for block in 0..=u16::MAX {
            let _ = HpackDecoder::default().decode(&block.to_be_bytes());
        }
    }
}

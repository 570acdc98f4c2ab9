//! Derives a profile's HPACK settings from recorded header blocks. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::recording::RecordedConnection;
use crate::fingerprint::hpack::{FieldEncoding, HpackField};
use crate::fingerprint::hpack_tables::{CODE_LENGTHS, STATIC};
use crate::fingerprint::profile::{Hpack, Huffman};

/// Derives the client's HPACK settings from all recorded header fields.
///
/// # Errors
/// The part that the recording lacks, or the setting that it contradicts.
pub(super) fn hpack<'a>(connections: impl Iterator<Item = &'a RecordedConnection>) -> Result<Hpack, String> {
    let mut usage = HpackUsage::default();
    for connection in connections {
        let mut table = BTreeSet::new();
        for field in connection.requests.iter().flat_map(|request| &request.hpack) {
            usage.add_field(field, &mut table)?;
        }
    }
    usage.into_hpack()
}

#[derive(Default)]
struct HpackUsage<'a> {
    /// The representation of the literals of each name.
    forms: BTreeMap<&'a str, FieldEncoding>,
    /// Huffman rules that at least one string contradicts.
    contradicted: BTreeSet<&'static str>,
    strings: usize,
    /// Fields that were indexed and sent again, and how often these used an index.
    repeated: usize,
    reused: usize,
}

impl<'a> HpackUsage<'a> {
    fn add_field(
        &mut self,
        field: &'a HpackField,
        table: &mut BTreeSet<(&'a str, &'a str)>,
    ) -> Result<(), String> {
        let (name, value) = (field.name.as_str(), field.value.as_str());
        if table.contains(&(name, value)) {
            self.repeated += 1;
            self.reused += usize::from(field.form == FieldEncoding::Indexed);
        }
        if field.form == FieldEncoding::Indexed {
            return Ok(());
        }
        if *self.forms.entry(name).or_insert(field.form) != field.form {
            return Err(format!("a consistent HPACK representation for {name}"));
        }
        // Static entries are used independently of the dynamic table.
        if field.form == FieldEncoding::Incremental && !STATIC.contains(&(name, value)) {
            table.insert((name, value));
        }
        self.add_string(name, field.name_huffman);
        self.add_string(value, field.value_huffman);
        Ok(())
    }

    fn add_string(&mut self, text: &str, huffman: Option<bool>) {
        // Bytes that are not UTF-8 were replaced, and an empty string has the same length either way.
        let Some(coded) = huffman.filter(|_| !text.is_empty() && !text.contains('\u{fffd}')) else { return };
        let bits: usize = text.bytes().map(|byte| usize::from(CODE_LENGTHS[usize::from(byte)])).sum();
        self.strings += 1;
        let rules = [(ALWAYS, true), (SHORTER, bits.div_ceil(8) < text.len()), (NEVER, false)];
        self.contradicted
            .extend(rules.into_iter().filter(|(_, codes)| *codes != coded).map(|(rule, _)| rule));
    }

    fn into_hpack(self) -> Result<Hpack, String> {
        let consistent: Vec<_> =
            [ALWAYS, SHORTER, NEVER].into_iter().filter(|r| !self.contradicted.contains(r)).collect();
        let huffman = match consistent[..] {
            [ALWAYS] => Huffman::Always,
            [SHORTER] => Huffman::Shorter,
            [NEVER] => Huffman::Never,
            _ => return Err(format!("a consistent Huffman rule in {} strings", self.strings)),
        };
        if self.repeated == 0 {
            return Err("a header field that is sent twice on one HTTP/2 connection".to_owned());
        }
        if let Some((name, _)) = self
            .forms
            .iter()
            .find(|(name, form)| name.starts_with(':') && **form == FieldEncoding::NeverIndexed)
        {
            return Err(format!("a supported HPACK representation for {name}"));
        }
        let names_with = |form: FieldEncoding, pseudo: bool| {
            let names = self
                .forms
                .iter()
                .filter(move |(name, seen)| **seen == form && name.starts_with(':') == pseudo);
            names.map(|(name, _)| name.trim_start_matches(':').to_owned()).collect::<Vec<_>>()
        };
        Ok(Hpack {
            indexed_pseudo: names_with(FieldEncoding::Incremental, true),
            unindexed: names_with(FieldEncoding::WithoutIndexing, false),
            never_indexed: names_with(FieldEncoding::NeverIndexed, false),
            huffman,
            table_reuse: self.reused > 0,
        })
    }
}

const ALWAYS: &str = "always";
const SHORTER: &str = "shorter";
const NEVER: &str = "never";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::driver::RecorderSet;
    use super::super::hellos;
    use super::*;
    use crate::fingerprint::Profile;

    fn literal(name: &str, value: &str, form: FieldEncoding, huffman: bool) -> HpackField {
        HpackField {
            name: name.to_owned(),
            value: value.to_owned(),
            form,
            name_from_table: true,
            name_huffman: None,
            value_huffman: Some(huffman),
        }
    }

    fn measure(fields: &[HpackField]) -> Result<Hpack, String> {
        let (mut usage, mut table) = (HpackUsage::default(), BTreeSet::new());
        for field in fields {
            usage.add_field(field, &mut table)?;
        }
        usage.into_hpack()
    }

    #[test]
    fn inconsistent_and_missing_hpack_data_are_errors() {
        let inc = |value: &str, huffman| literal("accept", value, FieldEncoding::Incremental, huffman);
        for (fields, expected) in [
            (vec![], "a consistent Huffman rule in 0 strings"),
            (vec![inc("text/html", true)], "a consistent Huffman rule in 1 strings"),
            (vec![inc("text/html", true), inc("text/css", false)], "a consistent Huffman rule in 2 strings"),
            (
                vec![inc("text/html", true), inc("?0", false)],
                "a header field that is sent twice on one HTTP/2 connection",
            ),
            (
                vec![inc("a", false), literal("accept", "b", FieldEncoding::NeverIndexed, false)],
                "a consistent HPACK representation for accept",
            ),
        ] {
            assert_eq!(measure(&fields).unwrap_err(), expected);
        }
        let twice = [inc("text/html", true), inc("?0", false), inc("?0", false)];
        assert!(!measure(&twice).unwrap().table_reuse);
    }

    /// Records the engine and derives its settings as for a browser.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_engine_sends_what_the_profile_says() {
        let chrome = Profile::named("chrome-156-linux").unwrap();
        let mut other = Profile::clone(&chrome);
        other.name = "other".to_owned();
        other.http2.hpack = Hpack {
            indexed_pseudo: vec!["path".to_owned()],
            unindexed: vec!["accept".to_owned(), "user-agent".to_owned()],
            never_indexed: vec!["cookie".to_owned()],
            huffman: Huffman::Always,
            table_reuse: false,
        };
        for profile in [chrome, Arc::new(other)] {
            let recorders = RecorderSet::new().await.unwrap();
            let recording = recorders.record_impersonate(Arc::clone(&profile), &|_| ()).await.unwrap();
            assert_eq!(hellos::tls(&recording).unwrap(), profile.tls);
            assert_eq!(hpack(recording.scenarios.values().flatten()).unwrap(), profile.http2.hpack);
        }
    }
}

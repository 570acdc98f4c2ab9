//! The order of a script's headers: Chrome keeps them in a hash table and writes them in table order.
//!
//! The order therefore depends on the set of headers: the script's own, the requested client hints, the user
//! agent. A profile whose script template is in table order comes from such a browser. Any other set of
//! headers can then be put in order without a recording of it. Pure.

use http::{HeaderName, header};

use crate::exchange::request::Context;
use crate::fingerprint::Profile;
use crate::fingerprint::profile::{HeaderTemplate, TemplateField, WireProtocol};

/// Returns the fields of a script's request in order: those of `template`, the hints for which `is_requested`
/// holds, and the script's `own`. `has_body` adds the content type. `None` when `template` is not in table
/// order.
pub(crate) fn arrange(
    profile: &Profile,
    template: &HeaderTemplate,
    is_requested: impl Fn(&str) -> bool,
    own: &[&HeaderName],
    has_body: bool,
) -> Option<Vec<TemplateField>> {
    let is = |field: &TemplateField, name: &HeaderName| field.name.eq_ignore_ascii_case(name.as_str());
    let begin = template.fields.iter().position(|field| !LEADING.iter().any(|name| is(field, name)))?;
    let end = template.fields.iter().position(|field| is(field, &header::ACCEPT))?;
    let recorded = template.fields.get(begin..end)?;
    let is_fetch = template.context == Context::Fetch.name();
    if recorded.is_empty() || sort_in_table_order(profile, recorded.to_vec(), is_fetch) != recorded {
        return None;
    }
    let mut tail = template.fields[end..].to_vec();
    let mut inside = recorded.to_vec();
    // A header that is not sent is not in the table.
    inside.retain(|field| has_body || !is(field, &header::CONTENT_TYPE));
    for name in own.iter().filter(|name| !is_written_elsewhere(name)) {
        // A header that the script sets is in the table, whatever its usual position.
        tail.retain(|field| !is(field, name));
        if !inside.iter().any(|field| is(field, name)) {
            inside.push(TemplateField { name: name.as_str().to_owned(), value: None });
        }
    }
    for name in profile.hints.keys().filter(|name| is_requested(name)) {
        inside.push(TemplateField { name: name.clone(), value: None });
    }
    let mut fields = template.fields[..begin].to_vec();
    fields.extend(sort_in_table_order(profile, inside, is_fetch));
    fields.extend(tail);
    Some(fields)
}

/// Sorts fields in table order.
///
/// The script's own are inserted first: those of a fetch by name, those of an XHR in the order of a table of
/// their own. The client hints follow, in the order of a navigation; the user agent is last.
fn sort_in_table_order(profile: &Profile, fields: Vec<TemplateField>, is_fetch: bool) -> Vec<TemplateField> {
    let navigation = profile.headers(Context::Navigation, WireProtocol::Http2, false);
    let insertion_key = |field: &TemplateField| {
        let at =
            |name: &str| navigation?.fields.iter().position(|other| other.name.eq_ignore_ascii_case(name));
        let name = field.name.to_ascii_lowercase();
        let rank = if name == "user-agent" {
            (2, 0)
        } else if name.starts_with("sec-ch-") {
            (1, at(&name).unwrap_or(usize::MAX))
        } else {
            (0, 0)
        };
        (rank, is_fetch.then_some(name))
    };
    let (own, mut fields): (Vec<TemplateField>, Vec<TemplateField>) =
        fields.into_iter().partition(|field| insertion_key(field).0.0 == 0);
    fields.splice(0..0, if is_fetch { own } else { pass_through_table(own) });
    fields.sort_by_cached_key(insertion_key);
    pass_through_table(fields)
}

fn pass_through_table(fields: Vec<TemplateField>) -> Vec<TemplateField> {
    let mut table = BlinkHashTable::new();
    for field in fields {
        table.insert(field);
    }
    table.slots.into_iter().flatten().collect()
}

/// Whether a later stage of the browser writes the header, at a fixed position.
fn is_written_elsewhere(name: &HeaderName) -> bool {
    LEADING.contains(name) || TRAILING.contains(name) || name.as_str().starts_with("sec-fetch-")
}

const LEADING: [HeaderName; 3] = [header::HOST, header::CONNECTION, header::CONTENT_LENGTH];
const TRAILING: [HeaderName; 5] =
    [header::ORIGIN, header::REFERER, header::ACCEPT_ENCODING, header::COOKIE, header::PROXY_AUTHORIZATION];

/// An open-addressing hash table that grows when it is half full, like Blink's.
struct BlinkHashTable {
    slots: Vec<Option<TemplateField>>,
    used: usize,
}

impl BlinkHashTable {
    fn new() -> Self {
        Self { slots: vec![None; INITIAL_CAPACITY], used: 0 }
    }

    fn insert(&mut self, field: TemplateField) {
        self.put(field);
        if self.used * 2 >= self.slots.len() {
            let larger = vec![None; self.slots.len() * 2];
            self.used = 0;
            for field in std::mem::replace(&mut self.slots, larger).into_iter().flatten() {
                self.put(field);
            }
        }
    }

    fn put(&mut self, field: TemplateField) {
        let mask = self.slots.len() - 1;
        let mut at = hash(&field.name) & mask;
        let mut probes = 0;
        // The table is at most half full, so the probing finds a free slot.
        while self.slots[at].is_some() {
            probes += 1;
            at = (at + probes) & mask;
        }
        self.slots[at] = Some(field);
        self.used += 1;
    }
}

/// Returns the 24 bits that the table uses of a name's hash: rapidhash of the lower-case name in UTF-16.
fn hash(name: &str) -> usize {
    let text: Vec<u8> = name.bytes().flat_map(|byte| [byte.to_ascii_lowercase(), 0]).collect();
    let hash = usize::try_from(rapidhash(&text) & 0x00ff_ffff).unwrap_or(0);
    if hash == 0 { 0x0080_0000 } else { hash }
}

/// rapidhash, first version (Nicolas De Carli, 2024), for input of even length.
fn rapidhash(text: &[u8]) -> u64 {
    let word = |at: usize| read_le(text, at, 8);
    let half = |at: usize| read_le(text, at, 4);
    let len = text.len();
    let mut seed = SEED ^ mix(SEED ^ SECRET[0], SECRET[1]) ^ len as u64;
    let (a, b) = if (4..=16).contains(&len) {
        let last = len - 4;
        let step = (len & 0x18) >> (len >> 3);
        (half(0) << 32 | half(last), half(step) << 32 | half(last - step))
    } else if len <= 16 {
        (read_le(text, 0, 2), 0)
    } else {
        let mut at = 0;
        if len > 48 {
            let (mut second, mut third) = (seed, seed);
            while len - at >= 48 {
                seed = mix(word(at) ^ SECRET[0], word(at + 8) ^ seed);
                second = mix(word(at + 16) ^ SECRET[1], word(at + 24) ^ second);
                third = mix(word(at + 32) ^ SECRET[2], word(at + 40) ^ third);
                at += 48;
            }
            seed ^= second ^ third;
        }
        if len - at > 16 {
            seed = mix(word(at) ^ SECRET[2], word(at + 8) ^ seed ^ SECRET[1]);
            if len - at > 32 {
                seed = mix(word(at + 16) ^ SECRET[2], word(at + 24) ^ seed);
            }
        }
        (word(len - 16), word(len - 8))
    };
    let (low, high) = product(a ^ SECRET[1], b ^ seed);
    mix(low ^ SECRET[0] ^ len as u64, high ^ SECRET[1])
}

/// Reads up to eight bytes from `at`, little-endian.
fn read_le(text: &[u8], at: usize, len: usize) -> u64 {
    text.iter().skip(at).take(len).rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn mix(a: u64, b: u64) -> u64 {
    let (low, high) = product(a, b);
    low ^ high
}

/// Returns the lower and the upper half of the product.
fn product(a: u64, b: u64) -> (u64, u64) {
    (a.wrapping_mul(b), high_half(a, b))
}

/// Returns the upper 64 bits of the product.
fn high_half(a: u64, b: u64) -> u64 {
    u64::try_from((u128::from(a) * u128::from(b)) >> 64).expect("the upper half has 64 bits")
}

const INITIAL_CAPACITY: usize = 8;
const SEED: u64 = 0xbdd8_9aa9_8270_4029;
const SECRET: [u64; 3] = [0x2d35_8dcc_aa6c_78a5, 0x8bb8_4b93_962e_acc9, 0x4b33_a62e_d433_d4a3];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(requested: &[&str], own: &[&str], over: WireProtocol) -> Option<Vec<String>> {
        let profile = Profile::named("chrome-156-linux").unwrap();
        let template = profile.headers(Context::Fetch, over, false).unwrap();
        let own: Vec<HeaderName> = own.iter().map(|name| name.parse().unwrap()).collect();
        let own: Vec<&HeaderName> = own.iter().collect();
        let fields = arrange(&profile, template, |name| requested.contains(&name), &own, true)?;
        Some(fields.into_iter().map(|field| field.name).take_while(|name| name != "sec-fetch-site").collect())
    }

    /// The orders that Chromium 156 was recorded to write.
    #[test]
    fn any_set_of_headers_is_ordered_as_recorded_from_chromium() {
        for (requested, own, recorded) in [
            (
                vec![],
                vec![],
                "content-length sec-ch-ua-platform user-agent sec-ch-ua content-type sec-ch-ua-mobile accept origin",
            ),
            (
                vec!["sec-ch-ua-model", "sec-ch-ua-platform-version"],
                vec!["content-type"],
                "content-length sec-ch-ua-platform user-agent sec-ch-ua content-type sec-ch-ua-model sec-ch-ua-mobile sec-ch-ua-platform-version accept origin",
            ),
            (
                vec!["sec-ch-ua-arch", "sec-ch-ua-bitness", "sec-ch-ua-platform-version", "sec-ch-ua-wow64"],
                vec!["content-type"],
                "content-length sec-ch-ua-platform sec-ch-ua sec-ch-ua-bitness sec-ch-ua-wow64 sec-ch-ua-mobile sec-ch-ua-arch user-agent content-type sec-ch-ua-platform-version accept origin",
            ),
            (
                vec![],
                vec!["x-csrf-token", "accept", "content-type", "authorization"],
                "content-length sec-ch-ua-platform authorization x-csrf-token sec-ch-ua sec-ch-ua-mobile user-agent accept content-type origin",
            ),
        ] {
            assert_eq!(
                names(&requested, &own, WireProtocol::Http2).unwrap().join(" "),
                recorded,
                "{requested:?} {own:?}"
            );
        }
    }

    #[test]
    fn a_template_in_another_order_is_not_rearranged() {
        let mut profile = Profile::clone(&Profile::named("chrome-156-linux").unwrap());
        let at = profile
            .headers
            .iter()
            .position(|h| h.context == "fetch" && h.over == WireProtocol::Http2)
            .unwrap();
        profile.headers[at].fields.swap(1, 2);
        assert!(arrange(&profile, &profile.headers[at], |_| false, &[], true).is_none());
    }

    #[test]
    fn names_of_every_length_are_hashed_without_panic() {
        for len in 0..200 {
            let name = "x".repeat(len);
            assert_eq!(hash(&name), hash(&name.to_uppercase()));
        }
    }
}

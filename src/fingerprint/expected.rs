//! The fingerprints that a server will compute for a profile, derived from its data alone.

use md5::{Digest, Md5};
use serde::Serialize;

use super::akamai::Http2Fingerprint;
use super::hello::{ClientHello, Extension};
use super::hpack::{FieldEncoding, HpackField};
use super::profile::{Http2, Profile, Tls};
use super::{Ja3, extension_bodies, ja3, ja4, ja4_r};
use crate::text::hex;

/// The fingerprints of a profile's first connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fingerprints {
    /// JA4.
    pub ja4: String,
    /// JA4_r.
    pub ja4_r: String,
    /// The MD5 of the JA3.
    pub ja3: String,
    /// The text of the JA3, its extensions in ascending order.
    pub ja3_text: String,
    /// Whether `ja3` is only one of many, because the extension order differs per connection.
    pub ja3_varies: bool,
    /// Akamai's HTTP/2 text.
    pub akamai: String,
    /// The MD5 of Akamai's text.
    pub akamai_hash: String,
}

impl Fingerprints {
    /// Computes the fingerprints of `profile`.
    #[must_use]
    pub fn for_profile(profile: &Profile) -> Self {
        let hello = expected_hello(&profile.tls);
        let Ja3 { text, hash } = ja3(&hello);
        let akamai = expected_http2(&profile.http2).akamai();
        Self {
            ja4: ja4(&hello),
            ja4_r: ja4_r(&hello),
            ja3: hash,
            ja3_text: text,
            ja3_varies: profile.tls.permute_extensions,
            akamai_hash: hex::encode(&Md5::digest(&akamai)),
            akamai,
        }
    }
}

/// The ClientHello that fingerprints see: without keys and GREASE, extensions in ascending order.
fn expected_hello(tls: &Tls) -> ClientHello {
    let body = |id: u16| extension_bodies::body(tls, id).unwrap_or_default();
    ClientHello {
        record_version: tls.record_version,
        legacy_version: 0x0303,
        session_id_len: usize::from(tls.session_id_length),
        ciphers: tls.ciphers.clone(),
        compression: vec![0],
        extensions: tls.extensions.iter().map(|id| Extension { id: *id, body: body(*id) }).collect(),
    }
}

fn expected_http2(http2: &Http2) -> Http2Fingerprint {
    let pseudo = |name: &String| HpackField {
        name: format!(":{name}"),
        value: String::new(),
        form: FieldEncoding::Indexed,
        name_from_table: true,
        name_huffman: None,
        value_huffman: None,
    };
    let mut opening = Http2Fingerprint::default();
    opening.settings.clone_from(&http2.settings);
    opening.window_update = http2.window_update;
    opening.fields = http2.pseudo_order.iter().map(pseudo).collect();
    opening
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn the_expected_fingerprints_equal_the_recorded_ones() {
        let expected = Fingerprints::for_profile(&Profile::named("chrome-156-linux").unwrap());
        assert_eq!(expected.ja4, "t13d1517h2_8daaf6152771_cb7bf5808d99");
        assert_eq!(expected.ja4_r, ja4_r(&sample::chrome()));
        assert_eq!(expected.akamai, "1:65536;2:0;4:6291456;6:262144|15663105|0|m,a,s,p");
        assert_eq!(expected.akamai_hash, "52d84b11737d980aef856699f885ca86");
        assert!(expected.ja3_varies);
        // JA3 keeps the wire order, which is random here. Only the sets can be compared.
        let recorded = ja3(&sample::chrome()).text;
        let sorted = |text: &str| -> Vec<Vec<String>> {
            let part = |part: &str| {
                let mut ids: Vec<String> = part.split('-').map(str::to_owned).collect();
                ids.sort();
                ids
            };
            text.split(',').map(part).collect()
        };
        assert_eq!(sorted(&expected.ja3_text), sorted(&recorded));
    }

    #[test]
    fn all_shipped_chromium_profiles_have_the_same_fingerprints() {
        let chrome = Fingerprints::for_profile(&Profile::named("chrome-156-linux").unwrap());
        for profile in Profile::shipped().iter().filter(|profile| profile.provenance.derived) {
            assert_eq!(Fingerprints::for_profile(profile), chrome, "{}", profile.name);
        }
        assert_ne!(Fingerprints::for_profile(&Profile::named("plain").unwrap()).ja4, chrome.ja4);
    }

    #[test]
    fn lists_too_long_for_a_hello_do_not_panic() {
        let mut profile = Profile::clone(&Profile::named("chrome-156-linux").unwrap());
        profile.tls.groups = vec![29; 70_000];
        profile.tls.signature_algorithms = vec![0x0403; 70_000];
        profile.tls.alpn = vec!["x".repeat(300); 300];
        profile.tls.versions = vec!["1.3".to_owned(); 300];
        let _ = Fingerprints::for_profile(&profile);
    }
}

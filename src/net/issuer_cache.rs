//! The issuers that certificates name, and those whose certificates were fetched.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use boring::x509::{X509, X509Ref};
use tokio::time::Instant;
use url::Url;

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::sync::lock_unpoisoned;

/// An issuer whose certificate is neither trusted nor among those that the server sent.
#[derive(Clone, Debug)]
pub(super) struct MissingIssuer {
    /// Its name, for messages.
    pub(super) name: String,
    /// Where its certificate is, as the certificate that it signed states. Only http URLs.
    pub(super) urls: Vec<Url>,
}

impl MissingIssuer {
    /// Returns the issuer of `certificate`.
    pub(super) fn of(certificate: &X509Ref, info_access: &[u8]) -> Self {
        let urls = ca_issuers(info_access).filter_map(|url| Url::parse(url).ok());
        let urls = urls.filter(|url| url.scheme() == "http" && url.has_host()).take(MAX_URLS).collect();
        Self { name: issuer_name(certificate), urls }
    }
}

/// The certificates that were fetched.
#[derive(Default)]
pub(super) struct IssuerCache {
    /// By URL. `None` for one that could not be fetched.
    by_url: Mutex<HashMap<String, (Instant, Option<X509>)>>,
    /// Those that complete the chain of an origin.
    by_origin: Mutex<HashMap<String, Vec<X509>>>,
}

impl IssuerCache {
    /// The certificates that complete the chain of `origin`.
    pub(super) fn for_origin(&self, origin: &str) -> Vec<X509> {
        lock_unpoisoned(&self.by_origin).get(origin).cloned().unwrap_or_default()
    }

    /// Adds a certificate to those of `origin`. Returns whether it is a new one.
    pub(super) fn add(&self, origin: &str, certificate: X509) -> bool {
        let mut origins = lock_unpoisoned(&self.by_origin);
        if origins.len() >= MAX_ENTRIES && !origins.contains_key(origin) {
            origins.clear();
        }
        let known = origins.entry(origin.to_owned()).or_default();
        let der = certificate.to_der().ok();
        if known.iter().any(|other| other.to_der().ok() == der) {
            return false;
        }
        if known.len() >= MAX_ISSUERS {
            known.remove(0);
        }
        known.push(certificate);
        true
    }

    /// Returns the certificate that was fetched from `url`, or an error if that failed. `None` if it is too long ago.
    pub(super) fn fetched(&self, url: &Url) -> Option<Result<X509>> {
        let entries = lock_unpoisoned(&self.by_url);
        let (at, certificate) = entries.get(url.as_str())?;
        let lifetime = if certificate.is_some() { LIFETIME } else { RETRY_AFTER };
        let failed = || {
            let message = format!("the issuer's certificate could not be fetched from {url}");
            Error::new(ErrorKind::Tls, message)
        };
        (at.elapsed() < lifetime).then(|| certificate.clone().ok_or_else(failed))
    }

    pub(super) fn store(&self, url: &Url, certificate: Option<X509>) {
        let mut entries = lock_unpoisoned(&self.by_url);
        if entries.len() >= MAX_ENTRIES {
            entries.clear();
        }
        entries.insert(url.to_string(), (Instant::now(), certificate));
    }
}

/// Returns the common name of the issuer, or its organization.
fn issuer_name(certificate: &X509Ref) -> String {
    let issuer = certificate.issuer_name();
    let entry = |nid| issuer.entries_by_nid(nid).next().and_then(|entry| entry.data().as_utf8().ok());
    let name = entry(boring::nid::Nid::COMMONNAME).or_else(|| entry(boring::nid::Nid::ORGANIZATIONNAME));
    let name: String = name.iter().flat_map(|name| name.chars()).take(MAX_NAME_CHARS).collect();
    name.escape_debug().to_string()
}

/// Returns the URLs of the issuer's certificate in an authority information access extension.
fn ca_issuers(extension: &[u8]) -> impl Iterator<Item = &str> {
    let mut list = Der::new(extension).next(SEQUENCE).map(Der::new).unwrap_or_default();
    std::iter::from_fn(move || list.next(SEQUENCE)).filter_map(|description| {
        let mut parts = Der::new(description);
        let is_issuer = parts.next(OBJECT_ID)? == CA_ISSUERS;
        std::str::from_utf8(parts.next(URL_NAME)?).ok().filter(|_| is_issuer)
    })
}

/// Reads DER elements with short or two-byte lengths.
#[derive(Default)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns the content of the next element if it has this tag.
    fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (length, rest) = match self.0 {
            [found, length @ 0..=0x7f, rest @ ..] if *found == tag => (usize::from(*length), rest),
            [found, 0x81, length, rest @ ..] if *found == tag => (usize::from(*length), rest),
            [found, 0x82, high, low, rest @ ..] if *found == tag => {
                (usize::from(u16::from_be_bytes([*high, *low])), rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some(content)
    }
}

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
/// The `uniformResourceIdentifier` of a `GeneralName`.
const URL_NAME: u8 = 0x86;
/// `id-ad-caIssuers`, 1.3.6.1.5.5.7.48.2
const CA_ISSUERS: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 0x30, 2];
const MAX_NAME_CHARS: usize = 100;
/// How many URLs of one certificate are tried.
const MAX_URLS: usize = 2;
/// How many certificates are fetched for one chain.
pub(super) const MAX_ISSUERS: usize = 3;
/// How many URLs, and how many origins, are remembered.
const MAX_ENTRIES: usize = 256;
/// How long a certificate is used before it is fetched again.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How long a URL without a certificate is not requested again.
const RETRY_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_issuers_are_read_and_malformed_extensions_are_ignored() {
        let url = |tag: u8, last: u8, text: &str| {
            let mut inner =
                vec![OBJECT_ID, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, last, tag, u8::try_from(text.len()).unwrap()];
            inner.extend_from_slice(text.as_bytes());
            [vec![SEQUENCE, u8::try_from(inner.len()).unwrap()], inner].concat()
        };
        let list = [
            url(URL_NAME, 1, "http://ocsp/"),
            url(URL_NAME, 2, "http://a/"),
            url(0x82, 2, "x"),
            url(URL_NAME, 2, "ldap://b/"),
        ]
        .concat();
        let whole = [vec![SEQUENCE, 0x81, u8::try_from(list.len()).unwrap()], list].concat();
        assert_eq!(ca_issuers(&whole).collect::<Vec<_>>(), ["http://a/", "ldap://b/"]);
        for end in 0..whole.len() {
            assert!(ca_issuers(&whole[..end]).count() <= 2);
        }
        for bytes in [&b""[..], b"\x30", b"\x30\x82\xff\xff\x30", b"\x30\x84\0\0\0\x01", b"\x30\x02\x30\x7f"]
        {
            assert_eq!(ca_issuers(bytes).count(), 0, "{bytes:?}");
        }
    }

    #[test]
    fn a_chain_is_completed_with_a_limited_number_of_certificates() {
        let cache = IssuerCache::default();
        let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
        let certificate = |at: usize| X509::from_der(roots[at].as_ref()).unwrap();
        assert!(cache.add("a:443", certificate(0)));
        assert!(!cache.add("a:443", certificate(0)), "it is known");
        for at in 1..MAX_ISSUERS {
            assert!(cache.add("a:443", certificate(at)));
        }
        assert!(cache.add("a:443", certificate(MAX_ISSUERS)), "it replaces the oldest");
        assert_eq!(cache.for_origin("a:443").len(), MAX_ISSUERS);
        assert!(cache.for_origin("b:443").is_empty());
    }
}

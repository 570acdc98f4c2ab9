//! The rules for certificates that Chromium has and BoringSSL's verifier has not.
//!
//! BoringSSL builds and verifies the chain. Then [`find_fault`] applies these rules to it. A certificate that
//! Chromium refuses is refused on the HTTP tiers too, so that a fetch is not less safe on a cheaper tier.

use std::collections::HashSet;
use std::sync::LazyLock;

use boring::asn1::Asn1Time;
use boring::error::ErrorStack;
use boring::ex_data::Index;
use boring::nid::Nid;
use boring::pkey::Id;
use boring::ssl::{Ssl, SslContextBuilder, SslRef};
use boring::x509::{X509, X509Ref, X509StoreContext, X509StoreContextRef, X509VerifyError};

use super::issuer_cache::MissingIssuer;
use super::{ffi, host_name};

/// Why a certificate is refused although its chain is valid.
#[derive(Clone, Debug)]
pub(super) struct CertificateFault {
    /// Continues "the certificate of HOST:PORT".
    pub(super) reason: String,
    /// What the certificate needs instead.
    pub(super) hint: String,
}

/// Makes all connections of a context verify certificates by these rules.
pub(super) fn apply_rules(builder: &mut SslContextBuilder) {
    builder.set_cert_verify_callback(verify);
}

/// Returns the fault that ended a connection's handshake, if it was one of these rules.
pub(super) fn fault_of(ssl: &SslRef) -> Option<&CertificateFault> {
    ssl.ex_data(*FAULT_INDEX)
}

/// Adds fetched certificates to those that the server sends.
pub(super) fn complete_chain(ssl: &mut SslRef, certificates: Vec<X509>) {
    if !certificates.is_empty() {
        ssl.set_ex_data(*FETCHED_INDEX, certificates);
    }
}

/// Returns the issuer that a connection's chain lacks, if that ended its handshake.
pub(super) fn missing_issuer_of(ssl: &SslRef) -> Option<&MissingIssuer> {
    ssl.ex_data(*MISSING_INDEX)
}

/// Makes a connection accept certificates of `host` only: a name or an address, without brackets.
pub(super) fn expect_host(ssl: &mut SslRef, host: &str) {
    ssl.set_ex_data(*HOST_INDEX, host.strip_suffix('.').unwrap_or(host).to_owned());
}

fn verify(context: &mut X509StoreContextRef) -> bool {
    let Ok(ssl_index) = X509StoreContext::ssl_idx() else { return false };
    let fetched = context.ex_data(ssl_index).and_then(|ssl| ssl.ex_data(*FETCHED_INDEX)).cloned();
    let valid = match fetched {
        Some(fetched) => ffi::verify_with(context, &fetched).unwrap_or(false),
        None => context.verify_cert().unwrap_or(false),
    };
    if !valid && let Some(missing) = find_missing_issuer(context) {
        if let Some(ssl) = context.ex_data_mut(ssl_index) {
            ssl.set_ex_data(*MISSING_INDEX, missing);
        }
        return false;
    }
    let Some(host) = context.ex_data(ssl_index).and_then(|ssl| ssl.ex_data(*HOST_INDEX)) else {
        return false;
    };
    let is_for_host = context.cert().is_some_and(|leaf| host_name::matches(leaf, host));
    let fault = if !valid {
        explain_failure(context)
    } else if is_for_host {
        let chain: Vec<&X509Ref> = context.chain().into_iter().flatten().collect();
        find_fault(&chain, host, is_public)
    } else {
        context.cert().and_then(check_names)
    };
    let Some(fault) = fault else {
        if valid && !is_for_host {
            context.set_error(Err(X509VerifyError::HOSTNAME_MISMATCH));
        }
        return valid && is_for_host;
    };
    context.set_error(Err(X509VerifyError::APPLICATION_VERIFICATION));
    if let Some(ssl) = context.ex_data_mut(ssl_index) {
        ssl.set_ex_data(*FAULT_INDEX, fault);
    }
    false
}

fn find_missing_issuer(context: &X509StoreContextRef) -> Option<MissingIssuer> {
    let is_missing = matches!(
        context.verify_result().err()?,
        X509VerifyError::UNABLE_TO_GET_ISSUER_CERT
            | X509VerifyError::UNABLE_TO_GET_ISSUER_CERT_LOCALLY
            | X509VerifyError::UNABLE_TO_VERIFY_LEAF_SIGNATURE
    );
    let last = context.current_cert().filter(|_| is_missing)?;
    Some(MissingIssuer::of(last, &ffi::extension_data(last, Nid::INFO_ACCESS)))
}

/// Returns the rule behind a failure that BoringSSL describes with less detail.
fn explain_failure(context: &X509StoreContextRef) -> Option<CertificateFault> {
    match context.verify_result().err()? {
        X509VerifyError::CERT_SIGNATURE_FAILURE => {
            check_signature(context.current_cert()?, usize::try_from(context.error_depth()).ok()?)
        }
        _ => None,
    }
}

/// Returns the first rule that a valid chain breaks. It begins with the certificate of `host`, and ends with the trust
/// anchor.
fn find_fault(
    chain: &[&X509Ref],
    host: &str,
    is_public: impl Fn(&X509Ref) -> bool,
) -> Option<CertificateFault> {
    let (leaf, anchor) = (*chain.first()?, *chain.last()?);
    let public = is_public(anchor);
    let signed = &chain[..chain.len() - 1];
    check_names(leaf)
        .or_else(|| check_wildcard(leaf, host))
        .or_else(|| {
            signed.iter().zip(0..).find_map(|(certificate, depth)| check_signature(certificate, depth))
        })
        .or_else(|| {
            chain.iter().zip(0..).find_map(|(certificate, depth)| {
                let must_be_long = public && depth < signed.len();
                check_key(certificate, depth, if must_be_long { PUBLIC_RSA_BITS } else { RSA_BITS })
            })
        })
        .or_else(|| if public { check_validity(leaf) } else { check_anchor(signed, anchor) })
}

fn check_names(leaf: &X509Ref) -> Option<CertificateFault> {
    let names = leaf.subject_alt_names();
    let is_named = names.iter().flatten().any(|name| name.dnsname().is_some() || name.ipaddress().is_some());
    if !is_named {
        return fault(0, "has no subject alternative name, and a common name is not enough", NEEDS_NAME);
    }
    let has_subject = leaf.subject_name().entries().next().is_some();
    if !has_subject && !ffi::is_critical(leaf, Nid::SUBJECT_ALT_NAME) {
        let reason = "has an empty subject, and its subject alternative name is not critical";
        return fault(0, reason, "a subject, or a critical `subjectAltName`");
    }
    None
}

/// Refuses `*.co.uk`: a wildcard for all names of a registry. A name of the certificate matches `host`.
fn check_wildcard(leaf: &X509Ref, host: &str) -> Option<CertificateFault> {
    let (_, parent) = host.split_once('.')?;
    let suffix = psl::suffix(parent.as_bytes())?;
    if suffix.typ() != Some(psl::Type::Icann) || suffix.as_bytes() != parent.as_bytes() {
        return None;
    }
    let names = leaf.subject_alt_names()?;
    if names.iter().filter_map(|name| name.dnsname()).any(|name| name.eq_ignore_ascii_case(host)) {
        return None;
    }
    let reason = format!("is for `*.{parent}`, which is every name of a registry");
    fault(0, &reason, "the name itself in `subjectAltName`")
}

fn check_signature(certificate: &X509Ref, depth: usize) -> Option<CertificateFault> {
    let algorithm = certificate.signature_algorithm().object().nid();
    if SIGNATURES.contains(&algorithm) {
        return None;
    }
    let name = algorithm.long_name().unwrap_or("an unknown algorithm");
    let needed = "a signature by RSA or ECDSA with SHA-256, SHA-384 or SHA-512";
    fault(depth, &format!("is signed with {name}, which is not accepted"), needed)
}

fn check_key(certificate: &X509Ref, depth: usize, rsa_bits: u32) -> Option<CertificateFault> {
    let needed =
        format!("an RSA key of {PUBLIC_RSA_BITS} bits or more, or an EC key on P-256, P-384 or P-521");
    let Ok(key) = certificate.public_key() else {
        return fault(depth, "has a key of an unknown kind", &needed);
    };
    match key.id() {
        Id::RSA if key.bits() >= rsa_bits => None,
        Id::RSA => {
            let reason = format!("has an RSA key of {} bits, and the minimum is {rsa_bits}", key.bits());
            fault(depth, &reason, &needed)
        }
        Id::EC => {
            let curve = key.ec_key().ok().and_then(|key| key.group().curve_name());
            if curve.is_some_and(|curve| CURVES.contains(&curve)) {
                return None;
            }
            fault(depth, "has a key on an elliptic curve that is not accepted", &needed)
        }
        _ => fault(depth, "has a key that is neither RSA nor EC", &needed),
    }
}

/// Checks the validity that the CA/Browser Forum allows. It binds publicly trusted authorities only.
fn check_validity(leaf: &X509Ref) -> Option<CertificateFault> {
    let (limit, days) = validity_days(leaf).ok()?;
    if days <= limit {
        return None;
    }
    let reason = format!("is valid for {days} days, and the limit of public authorities is {limit}");
    fault(0, &reason, "a shorter validity")
}

/// Returns the maximum and the actual validity in days. A day that has begun counts.
fn validity_days(leaf: &X509Ref) -> Result<(i32, i32), ErrorStack> {
    let valid = leaf.not_before().diff(leaf.not_after())?;
    let days = valid.days.saturating_add(i32::from(valid.secs > 0));
    for (from, limit) in VALIDITY_LIMITS {
        if *leaf.not_before() >= *Asn1Time::from_unix(from)? {
            return Ok((limit, days));
        }
    }
    Ok((i32::MAX, days))
}

/// Applies the constraints of a private trust anchor, which BoringSSL ignores.
fn check_anchor(signed: &[&X509Ref], anchor: &X509Ref) -> Option<CertificateFault> {
    // A self-signed certificate that is trusted itself is no authority.
    let intermediates = signed.get(1..)?;
    let depth = signed.len();
    let flags = ffi::extension_flags(anchor);
    if flags.has_unknown_critical {
        return fault(depth, "has a critical extension that is not known", "an authority without it");
    }
    if flags.has_basic_constraints && !flags.is_authority {
        return fault(depth, "is not an authority", "an authority with `basicConstraints = CA:TRUE`");
    }
    if !ffi::allows_servers(anchor) {
        return fault(depth, "is not for TLS servers", "an authority for `serverAuth`");
    }
    let length =
        intermediates.iter().filter(|certificate| !ffi::extension_flags(certificate).is_self_issued).count();
    if ffi::path_length(anchor).is_some_and(|limit| length > limit) {
        let reason = "allows fewer intermediate certificates than the chain has";
        return fault(depth, reason, "an authority with a longer `pathlen`");
    }
    None
}

#[expect(clippy::unnecessary_wraps, reason = "each rule returns it as its result")]
fn fault(depth: usize, reason: &str, needed: &str) -> Option<CertificateFault> {
    let reason =
        if depth == 0 { reason.to_owned() } else { format!("has an issuer whose certificate {reason}") };
    let hint = format!("the site needs another certificate, with {needed}; `-k` accepts any certificate");
    Some(CertificateFault { reason, hint })
}

/// Whether browsers trust this anchor by default. The system's roots may contain private ones in addition.
fn is_public(anchor: &X509Ref) -> bool {
    anchor.to_der().is_ok_and(|der| PUBLIC_ROOTS.contains(der.as_slice()))
}

static PUBLIC_ROOTS: LazyLock<HashSet<&'static [u8]>> =
    LazyLock::new(|| webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(AsRef::as_ref).collect());

static FETCHED_INDEX: LazyLock<Index<Ssl, Vec<X509>>> =
    LazyLock::new(|| Ssl::new_ex_index().expect("an index fails only without memory"));

static MISSING_INDEX: LazyLock<Index<Ssl, MissingIssuer>> =
    LazyLock::new(|| Ssl::new_ex_index().expect("an index fails only without memory"));

static HOST_INDEX: LazyLock<Index<Ssl, String>> =
    LazyLock::new(|| Ssl::new_ex_index().expect("an index fails only without memory"));

static FAULT_INDEX: LazyLock<Index<Ssl, CertificateFault>> =
    LazyLock::new(|| Ssl::new_ex_index().expect("an index fails only without memory"));

const NEEDS_NAME: &str = "the host in `subjectAltName`";

/// The minimum size of an RSA key, as in Chromium.
const RSA_BITS: u32 = 1024;

/// The minimum size of an RSA key below a publicly trusted root, as in the CA/Browser Forum's requirements.
const PUBLIC_RSA_BITS: u32 = 2048;

/// The signature algorithms that Chromium accepts. BoringSSL accepts RSASSA-PSS with these digests only.
const SIGNATURES: [Nid; 7] = [
    Nid::SHA256WITHRSAENCRYPTION,
    Nid::SHA384WITHRSAENCRYPTION,
    Nid::SHA512WITHRSAENCRYPTION,
    Nid::RSASSAPSS,
    Nid::ECDSA_WITH_SHA256,
    Nid::ECDSA_WITH_SHA384,
    Nid::ECDSA_WITH_SHA512,
];

const CURVES: [Nid; 3] = [Nid::X9_62_PRIME256V1, Nid::SECP384R1, Nid::SECP521R1];

/// The maximum validity in days of certificates issued from a time (Unix seconds) on, latest first.
const VALIDITY_LIMITS: [(i64, i32); 4] = [
    (1_868_227_200, 47),  // 2029-03-15
    (1_805_068_800, 100), // 2027-03-15
    (1_773_532_800, 200), // 2026-03-15
    (1_598_918_400, 398), // 2020-09-01
];

#[cfg(test)]
mod tests {
    use boring::asn1::Asn1Integer;
    use boring::bn::BigNum;
    use boring::ec::{EcGroup, EcKey};
    use boring::hash::MessageDigest;
    use boring::pkey::{PKey, Private};
    use boring::rsa::Rsa;
    use boring::x509::extension::{BasicConstraints, SubjectAlternativeName};
    use boring::x509::{X509, X509Name};

    use super::*;

    const DAY: i64 = 24 * 60 * 60;

    /// 2025-01-01, in Unix seconds.
    const IN_2025: i64 = 1_735_689_600;

    fn ec_key() -> PKey<Private> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
    }

    fn certificate(names: &[&str], key: &PKey<Private>, from: i64, seconds: i64) -> X509 {
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        let serial = BigNum::from_u32(7).and_then(|number| number.to_asn1_integer()).unwrap();
        let serial: Asn1Integer = serial;
        builder.set_serial_number(&serial).unwrap();
        let mut subject = X509Name::builder().unwrap();
        subject.append_entry_by_nid(Nid::COMMONNAME, "a site").unwrap();
        let subject = subject.build();
        builder.set_subject_name(&subject).unwrap();
        builder.set_issuer_name(&subject).unwrap();
        builder.set_pubkey(key).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(from).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_unix(from + seconds).unwrap()).unwrap();
        if names.is_empty() {
            let extension = BasicConstraints::new().critical().ca().build().unwrap();
            builder.append_extension(&extension).unwrap();
        } else {
            let mut alternative = SubjectAlternativeName::new();
            for name in names {
                alternative.dns(name);
            }
            let extension = alternative.build(&builder.x509v3_context(None, None)).unwrap();
            builder.append_extension(&extension).unwrap();
        }
        builder.sign(key, MessageDigest::sha256()).unwrap();
        builder.build()
    }

    fn reason(leaf: &X509, host: &str, public: bool) -> String {
        let anchor = certificate(&[], &ec_key(), IN_2025, 3650 * DAY);
        find_fault(&[leaf, &anchor], host, |_| public).map(|fault| fault.reason).unwrap_or_default()
    }

    #[test]
    fn a_key_below_a_public_root_has_2048_bits_and_below_a_private_one_1024() {
        for (bits, public, private) in [
            (
                896,
                "has an RSA key of 896 bits, and the minimum is 2048",
                "has an RSA key of 896 bits, and the minimum is 1024",
            ),
            (1024, "has an RSA key of 1024 bits, and the minimum is 2048", ""),
            (2048, "", ""),
        ] {
            let key = PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap();
            let leaf = certificate(&["site.example"], &key, IN_2025, 90 * DAY);
            assert_eq!(reason(&leaf, "site.example", true), public, "{bits}");
            assert_eq!(reason(&leaf, "site.example", false), private, "{bits}");
        }
    }

    #[test]
    fn the_validity_is_limited_below_a_public_root_only() {
        let key = ec_key();
        for (from, limit) in [
            (1_598_918_400, 398),
            (1_773_532_799, 398),
            (1_773_532_800, 200),
            (1_805_068_799, 200),
            (1_805_068_800, 100),
            (1_868_227_199, 100),
            (1_868_227_200, 47),
        ] {
            for (over, refused) in [(0, false), (1, true)] {
                let leaf = certificate(&["site.example"], &key, from, limit * DAY + over);
                let found = reason(&leaf, "site.example", true);
                let expected = format!(
                    "is valid for {} days, and the limit of public authorities is {limit}",
                    limit + 1
                );
                assert_eq!(
                    found,
                    if refused { expected } else { String::new() },
                    "{from} + {limit} days + {over} s"
                );
                assert_eq!(reason(&leaf, "site.example", false), "", "a private root");
            }
        }
        // Before the first limit, Chromium's were years. All those certificates have expired.
        let old = certificate(&["site.example"], &key, 1_598_918_399, 825 * DAY);
        assert_eq!(reason(&old, "site.example", true), "");
    }

    #[test]
    fn a_wildcard_for_a_registry_is_refused() {
        let key = ec_key();
        for (names, host, refused) in [
            (&["*.co.uk"][..], "shop.co.uk", true),
            (&["*.CO.UK"], "shop.co.uk", true),
            (&["*.co.uk", "shop.co.uk"], "shop.co.uk", false),
            (&["*.co.uk", "SHOP.co.uk"], "shop.co.uk", false),
            (&["*.co.uk", "other.co.uk"], "shop.co.uk", true),
            (&["*.shop.co.uk"], "www.shop.co.uk", false),
            (&["*.github.io"], "me.github.io", false),
            (&["site.example"], "site.example", false),
            (&["*.site.test"], "www.site.test", false),
            (&["*.site.test"], "", false),
        ] {
            let leaf = certificate(names, &key, IN_2025, 90 * DAY);
            let found = reason(&leaf, host, false);
            assert_eq!(found.contains("every name of a registry"), refused, "{names:?} {host}: {found}");
        }
    }

    #[test]
    fn the_bundled_roots_are_public() {
        let root = webpki_root_certs::TLS_SERVER_ROOT_CERTS.first().unwrap();
        assert!(is_public(&X509::from_der(root).unwrap()));
        assert!(!is_public(&certificate(&[], &ec_key(), IN_2025, DAY)));
    }

    #[test]
    fn a_fault_of_an_issuer_says_so() {
        let found = fault(2, "is wrong", "a right one").unwrap();
        assert_eq!(found.reason, "has an issuer whose certificate is wrong");
        assert!(found.hint.contains("a right one") && found.hint.contains("`-k`"), "{}", found.hint);
    }
}

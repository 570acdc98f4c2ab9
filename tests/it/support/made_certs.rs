//! Certificates with any key, signature, extension and validity, including those that are wrong.

use std::fs;
use std::path::PathBuf;

use boring::asn1::Asn1Time;
use boring::bn::{BigNum, MsbOption};
use boring::ec::{EcGroup, EcKey};
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::{PKey, Private};
use boring::rsa::Rsa;
use boring::x509::extension::{AuthorityKeyIdentifier, SubjectKeyIdentifier};
use boring::x509::{X509, X509Extension, X509Name};
use tempfile::TempDir;

use super::certs::Leaf;

/// What a certificate is to contain.
#[derive(Clone)]
pub(crate) struct Draft {
    common_name: String,
    extensions: Vec<(&'static str, &'static str)>,
    key: PKey<Private>,
    digest: MessageDigest,
    /// From and until, in Unix seconds.
    valid: (i64, i64),
}

/// A certificate with its key, and the certificates that a server sends after it.
#[derive(Clone)]
pub(crate) struct Made {
    certificate: X509,
    key: PKey<Private>,
    issuers: Vec<X509>,
}

/// Writes certificates into a folder of its own.
pub(crate) struct CertFolder(TempDir);

impl Draft {
    /// An authority with an EC key, valid from 2024 to 2074.
    pub(crate) fn authority(common_name: &str) -> Self {
        let extensions =
            vec![("basicConstraints", "critical,CA:TRUE"), ("keyUsage", "critical,keyCertSign,cRLSign")];
        let key = ec_key(Nid::X9_62_PRIME256V1);
        let (common_name, digest) = (common_name.to_owned(), MessageDigest::sha256());
        Self { common_name, extensions, key, digest, valid: (1_704_067_200, 3_281_904_000) }
    }

    /// A server's certificate without names, otherwise as an authority's.
    pub(crate) fn server(common_name: &str) -> Self {
        let extensions = vec![
            ("basicConstraints", "CA:FALSE"),
            ("keyUsage", "digitalSignature,keyEncipherment"),
            ("extendedKeyUsage", "serverAuth"),
        ];
        Self { extensions, ..Self::authority(common_name) }
    }

    /// With an extension, in the notation of `openssl.cnf`. It replaces one of the same name.
    pub(crate) fn with(self, name: &'static str, value: &'static str) -> Self {
        let mut draft = self.without(name);
        draft.extensions.push((name, value));
        draft
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.extensions.retain(|(other, _)| *other != name);
        self
    }

    pub(crate) fn key(self, key: PKey<Private>) -> Self {
        Self { key, ..self }
    }

    /// The digest of the signature on this certificate.
    pub(crate) fn signed_with(self, digest: MessageDigest) -> Self {
        Self { digest, ..self }
    }

    /// Valid from one time until another, in Unix seconds.
    pub(crate) fn valid(self, from: i64, until: i64) -> Self {
        Self { valid: (from, until), ..self }
    }

    /// Signed by itself.
    pub(crate) fn self_signed(&self) -> Made {
        self.build(None)
    }

    /// Signed by an authority. The server sends the authority's certificate too, unless it is self-signed.
    pub(crate) fn signed_by(&self, issuer: &Made) -> Made {
        self.build(Some(issuer))
    }

    fn build(&self, issuer: Option<&Made>) -> Made {
        let mut builder = X509::builder().expect("a certificate can be begun");
        let mut serial = BigNum::new().expect("a number");
        serial.rand(120, MsbOption::ONE, false).expect("random bits");
        builder.set_version(2).expect("version 3");
        builder.set_serial_number(&serial.to_asn1_integer().expect("a number")).expect("a serial number");
        let mut name = X509Name::builder().expect("a name");
        if !self.common_name.is_empty() {
            name.append_entry_by_nid(Nid::COMMONNAME, &self.common_name).expect("a common name");
        }
        let name = name.build();
        builder.set_subject_name(&name).expect("a subject");
        builder
            .set_issuer_name(issuer.map_or(&name, |issuer| issuer.certificate.subject_name()))
            .expect("an issuer");
        builder.set_pubkey(&self.key).expect("a key");
        let time = |seconds| Asn1Time::from_unix(seconds).expect("a time");
        builder.set_not_before(&time(self.valid.0)).expect("a start");
        builder.set_not_after(&time(self.valid.1)).expect("an end");
        for (name, value) in &self.extensions {
            let extension = X509Extension::new(None, Some(&builder.x509v3_context(None, None)), name, value);
            builder.append_extension(&extension.expect("an extension")).expect("room for it");
        }
        let own = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None));
        builder.append_extension(&own.expect("an identifier")).expect("room for it");
        if let Some(issuer) = issuer {
            let context = builder.x509v3_context(Some(&issuer.certificate), None);
            let theirs = AuthorityKeyIdentifier::new().keyid(true).build(&context);
            builder.append_extension(&theirs.expect("an identifier")).expect("room for it");
        }
        builder.sign(issuer.map_or(&self.key, |issuer| &issuer.key), self.digest).expect("a signature");
        let issuers = issuer.filter(|issuer| !issuer.is_self_signed()).map_or_else(Vec::new, |issuer| {
            [issuer.certificate.clone()].into_iter().chain(issuer.issuers.iter().cloned()).collect()
        });
        Made { certificate: builder.build(), key: self.key.clone(), issuers }
    }
}

impl Made {
    pub(crate) fn der(&self) -> Vec<u8> {
        self.certificate.to_der().expect("a certificate can be encoded")
    }

    /// Sends this certificate without its issuers.
    pub(crate) fn alone(self) -> Self {
        Self { issuers: Vec::new(), ..self }
    }

    /// As PEM, for `--cacert`.
    pub(crate) fn pem(&self) -> String {
        pem(&self.certificate)
    }

    /// Sends another certificate in addition.
    pub(crate) fn sending(mut self, other: &Made) -> Self {
        self.issuers.push(other.certificate.clone());
        self
    }

    /// Names MD5 where the certificate names SHA-256 with RSA: BoringSSL makes no signature with MD5.
    pub(crate) fn claiming_md5(self) -> Self {
        const SHA256_WITH_RSA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
        let mut der = self.certificate.to_der().expect("a certificate is DER");
        let found: Vec<usize> =
            (0..der.len()).filter(|&start| der[start..].starts_with(&SHA256_WITH_RSA)).collect();
        assert_eq!(found.len(), 2, "the algorithm is named inside and outside of the signed part");
        for start in found {
            der[start + SHA256_WITH_RSA.len() - 1] = 4;
        }
        Self { certificate: X509::from_der(&der).expect("a certificate"), ..self }
    }

    fn is_self_signed(&self) -> bool {
        self.certificate.verify(&self.key).unwrap_or(false)
    }
}

impl CertFolder {
    pub(crate) fn new() -> Self {
        Self(tempfile::Builder::new().prefix("rungs-made-").tempdir().expect("a folder for certificates"))
    }

    /// Writes a server's chain and key.
    pub(crate) fn leaf(&self, stem: &str, made: &Made) -> Leaf {
        let chain: String = [&made.certificate].into_iter().chain(&made.issuers).map(pem).collect();
        let key = made.key.private_key_to_pem_pkcs8().expect("a key is text");
        Leaf { chain: self.file(&format!("{stem}.pem"), chain), key: self.file(&format!("{stem}.key"), key) }
    }

    /// Writes the certificates that a client trusts.
    pub(crate) fn trusted(&self, certificates: &[Made]) -> String {
        let all: String = certificates.iter().map(Made::pem).collect();
        self.file("trusted.pem", all).to_str().expect("the temp folder's path is text").to_owned()
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).expect("a certificate is written");
        path
    }
}

/// A new EC key.
pub(crate) fn ec_key(curve: Nid) -> PKey<Private> {
    let group = EcGroup::from_curve_name(curve).expect("BoringSSL has this curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

/// A new RSA key.
pub(crate) fn rsa_key(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).expect("a key")).expect("a key")
}

fn pem(certificate: &X509) -> String {
    String::from_utf8(certificate.to_pem().expect("a certificate is text")).expect("PEM is ASCII")
}

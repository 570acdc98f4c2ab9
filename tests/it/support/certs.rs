//! A certificate authority for one test, a valid leaf, and leaves that are wrong in one way each.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

/// The host names of the valid leaf, in addition to 127.0.0.1, ::1 and localhost.
pub(crate) const NAMES: [&str; 3] = ["site.test", "www.site.test", "other.test"];

/// The only name of the wrong-name leaf.
pub(crate) const ELSEWHERE: &str = "elsewhere.test";

/// An authority and its leaves, as PEM files in a temporary folder.
pub(crate) struct Certs {
    /// For [`NAMES`] and loopback.
    pub(crate) valid: Leaf,
    /// The same, but expired in 2021.
    pub(crate) expired: Leaf,
    /// The same, but self-signed.
    pub(crate) self_signed: Leaf,
    /// For [`ELSEWHERE`] alone.
    pub(crate) wrong_name: Leaf,
    ca: PathBuf,
    _folder: TempDir,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    /// The certificate, followed by the authority's if that signed it.
    pub(crate) chain: PathBuf,
    /// The private key.
    pub(crate) key: PathBuf,
}

impl Certs {
    pub(crate) fn new() -> Self {
        let folder =
            tempfile::Builder::new().prefix("rungs-certs-").tempdir().expect("a folder for certificates");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "rungs test authority");
        let key = KeyPair::generate().expect("a key can be made");
        let ca_pem = params.self_signed(&key).expect("the authority signs itself").pem();
        let ca = folder.path().join("ca.pem");
        fs::write(&ca, &ca_pem).expect("the authority is written");
        let authority = Issuer::new(params, key);

        let ours = || NAMES.iter().copied().chain(["localhost", "127.0.0.1", "::1"]);
        let signed = |stem: &str, params: CertificateParams| {
            let key = KeyPair::generate().expect("a key can be made");
            let leaf = params.signed_by(&key, &authority).expect("the authority signs").pem();
            Leaf::write(folder.path(), stem, &format!("{leaf}{ca_pem}"), &key)
        };
        let valid = signed("valid", leaf(ours()));
        let wrong_name = signed("wrong-name", leaf([ELSEWHERE].into_iter()));
        let mut past = leaf(ours());
        past.not_before = date_time_ymd(2020, 1, 1);
        past.not_after = date_time_ymd(2021, 1, 1);
        let expired = signed("expired", past);
        let key = KeyPair::generate().expect("a key can be made");
        let mut own = leaf(ours());
        // Like those of `openssl req -x509`: with key usages for signatures only, it could not sign itself.
        own.key_usages.clear();
        let own = own.self_signed(&key).expect("a leaf signs itself").pem();
        let self_signed = Leaf::write(folder.path(), "self-signed", &own, &key);

        Self { valid, expired, self_signed, wrong_name, ca, _folder: folder }
    }

    /// The authority's certificate, for `--cacert`.
    pub(crate) fn ca(&self) -> &str {
        self.ca.to_str().expect("the temp folder's path is text")
    }
}

impl Leaf {
    fn write(folder: &Path, stem: &str, chain: &str, key: &KeyPair) -> Self {
        let leaf =
            Self { chain: folder.join(format!("{stem}.pem")), key: folder.join(format!("{stem}.key")) };
        fs::write(&leaf.chain, chain).expect("a certificate is written");
        fs::write(&leaf.key, key.serialize_pem()).expect("a key is written");
        leaf
    }
}

/// The parameters of a server certificate for `names`, valid from 2024 to 2124.
fn leaf<'a>(names: impl Iterator<Item = &'a str>) -> CertificateParams {
    let names: Vec<String> = names.map(str::to_owned).collect();
    let common_name = names[0].clone();
    let mut params = CertificateParams::new(names).expect("the names are valid");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2124, 1, 1);
    params
}

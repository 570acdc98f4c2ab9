//! A certificate authority that is created at every start, and the leaf certificate that it signs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use boring::pkey::{PKey, Private};
use boring::ssl::{AlpnError, SslAcceptor, SslMethod, SslVersion};
use boring::x509::X509;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use sha2::{Digest, Sha256};

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

/// A temporary certificate authority with a leaf for the lab's host names.
pub struct Authority {
    ca_pem: String,
    ca: X509,
    leaf: X509,
    key: PKey<Private>,
}

impl Authority {
    /// Creates an authority whose leaf is valid for `names` (DNS names or IP addresses).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when a name is not a DNS name, [`ErrorKind::Tls`] when BoringSSL rejects it.
    pub fn new(names: &[&str]) -> Result<Self> {
        let ca_key = KeyPair::generate().map_err(certificate_error)?;
        let mut params = CertificateParams::new(Vec::<String>::new()).map_err(certificate_error)?;
        params.distinguished_name.push(DnType::CommonName, "rungs lab");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, ca_key).map_err(certificate_error)?;

        let key = KeyPair::generate().map_err(certificate_error)?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).map_err(certificate_error)?;
        params.distinguished_name.push(DnType::CommonName, "rungs lab origin");
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &issuer).map_err(certificate_error)?;

        let ca_pem = issuer.pem();
        Ok(Self {
            ca: X509::from_pem(ca_pem.as_bytes()).map_err(tls_error)?,
            leaf: X509::from_der(leaf.der()).map_err(tls_error)?,
            key: PKey::private_key_from_pem(key.serialize_pem().as_bytes()).map_err(tls_error)?,
            ca_pem,
        })
    }

    /// The authority's certificate, for `--cacert`.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The pin of the leaf's key, for Chromium's `--ignore-certificate-errors-spki-list`.
    ///
    /// # Errors
    /// [`ErrorKind::Tls`] when the key cannot be encoded.
    pub fn pin(&self) -> Result<String> {
        let key = self.leaf.public_key().and_then(|key| key.public_key_to_der()).map_err(tls_error)?;
        Ok(STANDARD.encode(Sha256::digest(key)))
    }

    /// A TLS acceptor that offers `protocols` over ALPN and issues session tickets.
    pub(super) fn acceptor(&self, protocols: &[&str]) -> Result<SslAcceptor> {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).map_err(tls_error)?;
        builder.set_certificate(&self.leaf).map_err(tls_error)?;
        builder.set_private_key(&self.key).map_err(tls_error)?;
        builder.add_extra_chain_cert(self.ca.clone()).map_err(tls_error)?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(tls_error)?;
        builder.set_session_id_context(b"rungs lab").map_err(tls_error)?;
        let ours: Vec<String> = protocols.iter().map(|name| (*name).to_owned()).collect();
        builder.set_alpn_select_callback(move |_, theirs| pick(&ours, theirs).ok_or(AlpnError::NOACK));
        Ok(builder.build())
    }
}

/// Returns the first of `ours` that is in `theirs`, an ALPN list of length-prefixed names.
fn pick<'a>(ours: &[String], theirs: &'a [u8]) -> Option<&'a [u8]> {
    ours.iter().find_map(|wanted| {
        let mut rest = theirs;
        while let Some((&len, tail)) = rest.split_first() {
            let (name, tail) = tail.split_at_checked(usize::from(len))?;
            if name == wanted.as_bytes() {
                return Some(name);
            }
            rest = tail;
        }
        None
    })
}

fn certificate_error(cause: rcgen::Error) -> Error {
    Error::new(ErrorKind::Config, "could not create the lab's certificate").with_source(cause)
}

fn tls_error(cause: boring::error::ErrorStack) -> Error {
    Error::new(ErrorKind::Tls, "BoringSSL rejected the lab's certificate").with_source(cause)
}

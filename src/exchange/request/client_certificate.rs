//! Client certificates: a certificate chain and its private key.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use boring::pkcs12::Pkcs12;
use boring::pkey::{PKey, Private};
use boring::x509::X509;

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::text::redact::Secret;

/// A certificate with its private key, for servers that request one.
pub struct ClientCertificate {
    /// The number of this certificate in the process. Connections with other certificates are not shared.
    id: u64,
    chain: Vec<X509>,
    key: PKey<Private>,
}

impl ClientCertificate {
    /// Parses a certificate in PEM, followed by its intermediate certificates, and a private key in PEM. Both may be in
    /// the same text. `password` decrypts the key.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if one is missing or malformed, or if the key is that of another certificate.
    pub fn from_pem(chain: &[u8], key: &[u8], password: Option<&Secret>) -> Result<Self> {
        let chain = X509::stack_from_pem(chain).map_err(|cause| invalid("is not valid PEM", cause))?;
        let password = password.map_or("", Secret::expose);
        let key = PKey::private_key_from_pem_passphrase(key, password.as_bytes()).map_err(|cause| {
            invalid("has a private key that is not valid PEM, or its password is wrong", cause)
        })?;
        Self::new(chain, key)
    }

    /// Parses a certificate and a private key in DER.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] as in [`from_pem`](Self::from_pem).
    pub fn from_der(certificate: &[u8], key: &[u8]) -> Result<Self> {
        let certificate = X509::from_der(certificate).map_err(|cause| invalid("is not valid DER", cause))?;
        let key = PKey::private_key_from_der(key)
            .map_err(|cause| invalid("has a private key that is not valid DER", cause))?;
        Self::new(vec![certificate], key)
    }

    /// Parses a PKCS #12 file (`.p12`, `.pfx`).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if it is malformed, or if the password is wrong.
    pub fn from_pkcs12(file: &[u8], password: Option<&Secret>) -> Result<Self> {
        let failed = |cause| invalid("is not valid PKCS #12, or its password is wrong", cause);
        let parsed = Pkcs12::from_der(file)
            .and_then(|file| file.parse(password.map_or("", Secret::expose)))
            .map_err(failed)?;
        let mut chain = vec![parsed.cert];
        chain.extend(parsed.chain.into_iter().flatten());
        Self::new(chain, parsed.pkey)
    }

    fn new(chain: Vec<X509>, key: PKey<Private>) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let Some(first) = chain.first() else {
            return Err(Error::new(ErrorKind::Config, "the client certificate is missing from its file"));
        };
        let public = first.public_key().map_err(|cause| invalid("has an unknown public key", cause))?;
        if !public.public_eq(&key) {
            let message = "the private key does not belong to the client certificate";
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(Self { id: NEXT.fetch_add(1, Ordering::Relaxed), chain, key })
    }

    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// The certificate, then its intermediates.
    pub(crate) fn chain(&self) -> &[X509] {
        &self.chain
    }

    pub(crate) const fn key(&self) -> &PKey<Private> {
        &self.key
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(***)")
    }
}

fn invalid(problem: &str, cause: boring::error::ErrorStack) -> Error {
    Error::new(ErrorKind::Config, format!("the client certificate {problem}")).with_source(cause)
}

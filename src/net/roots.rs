//! Selects root certificates: the user's file, else the system's roots, else the bundled ones.

use std::path::{Path, PathBuf};

use boring::x509::X509;
use boring::x509::store::{X509Store, X509StoreBuilder};

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

/// Returns the trust store for `--cacert FILE`, or the default one.
///
/// # Errors
/// [`ErrorKind::Config`] when the user's file cannot be read or contains no certificate.
pub(crate) fn build_trust_store(ca_file: Option<&Path>) -> Result<X509Store> {
    if let Some(path) = ca_file {
        return from_file(path).map_err(|cause| {
            Error::new(ErrorKind::Config, format!("the CA file {} cannot be used", path.display()))
                .with_source(cause)
                .with_hint("use a file with certificates in PEM format")
        });
    }
    for path in candidates() {
        if path.is_file() {
            match from_file(&path) {
                Ok(store) => return Ok(store),
                Err(cause) => {
                    tracing::warn!(path = %path.display(), %cause, "skipped unreadable system roots");
                }
            }
        }
    }
    tracing::debug!("no system roots found, using the bundled ones");
    let certificates =
        webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().filter_map(|der| X509::from_der(der).ok());
    build_store(certificates).map_err(|cause| {
        Error::new(ErrorKind::Tls, "the bundled root certificates cannot be loaded").with_source(cause)
    })
}

/// Returns the file of the system's roots, if there is one.
pub(crate) fn find_system_bundle() -> Option<PathBuf> {
    candidates().find(|path| path.is_file())
}

fn candidates() -> impl Iterator<Item = PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named.into_iter().chain(SYSTEM_BUNDLES.iter().map(PathBuf::from))
}

fn from_file(path: &Path) -> std::io::Result<X509Store> {
    let pem = std::fs::read(path)?;
    let certificates = X509::stack_from_pem(&pem).map_err(std::io::Error::other)?;
    if certificates.is_empty() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "the file contains no certificate"));
    }
    build_store(certificates).map_err(std::io::Error::other)
}

fn build_store(certificates: impl IntoIterator<Item = X509>) -> Result<X509Store, boring::error::ErrorStack> {
    let mut builder = X509StoreBuilder::new()?;
    for certificate in certificates {
        builder.add_cert(&certificate)?;
    }
    Ok(builder.build())
}

/// The bundles of Debian, Fedora, openSUSE, Alpine and macOS.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

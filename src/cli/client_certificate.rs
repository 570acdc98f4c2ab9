//! The client certificate of the arguments.

use std::path::Path;
use std::sync::Arc;

use rungs::{ClientCertificate, Secret};

use super::args::{AuthenticationArgs, CertificateFormat};
use super::exit::Failure;

/// Reads the certificate of `-E` and the key of `--key`.
pub(crate) fn read(args: &AuthenticationArgs) -> Result<Option<Arc<ClientCertificate>>, Failure> {
    let Some(text) = &args.cert else { return Ok(None) };
    let (file, password) = split_password(text);
    let password = args.pass.clone().or(password).map(Secret::new);
    let read = |flag: &str, path: &Path| {
        std::fs::read(path)
            .map_err(|cause| Failure::Config(format!("{flag}: could not read {}: {cause}", path.display())))
    };
    let chain = read("-E/--cert", Path::new(&file))?;
    let key = args.key.as_deref().map(|path| read("--key", path)).transpose()?;
    let key = key.as_deref().unwrap_or(&chain);
    let certificate = match args.cert_type.unwrap_or(CertificateFormat::Pem) {
        CertificateFormat::Pem => ClientCertificate::from_pem(&chain, key, password.as_ref()),
        CertificateFormat::Der => ClientCertificate::from_der(&chain, key),
        CertificateFormat::P12 => ClientCertificate::from_pkcs12(&chain, password.as_ref()),
    };
    let failed = |error: rungs::Error| Failure::Config(format!("-E/--cert: {}", error.chain()));
    certificate.map(|certificate| Some(Arc::new(certificate))).map_err(failed)
}

/// Splits `FILE[:PASSWORD]` at the first colon without a backslash.
fn split_password(text: &str) -> (String, Option<String>) {
    let mut file = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ':' => return (file, Some(text[at + 1..].to_owned())),
            '\\' => match chars.next() {
                Some((_, escaped @ (':' | '\\'))) => file.push(escaped),
                other => file.extend(std::iter::once('\\').chain(other.map(|(_, c)| c))),
            },
            _ => file.push(c),
        }
    }
    (file, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_follows_the_first_colon() {
        for (text, file, password) in [
            ("a.pem", "a.pem", None),
            ("a.pem:", "a.pem", Some("")),
            ("a.pem:x:y", "a.pem", Some("x:y")),
            ("c\\:a\\\\b\\n:p", "c:a\\b\\n", Some("p")),
        ] {
            assert_eq!(split_password(text), (file.to_owned(), password.map(ToOwned::to_owned)), "{text}");
        }
    }
}

//! Extra certificate authorities for the browser (`--cacert`).
//!
//! Chromium on Linux reads them from an NSS database below its HOME. It has no other source that is limited
//! to one process. `--ignore-certificate-errors-spki-list` is not a substitute, because it accepts any chain
//! that merely contains the certificate. So the browser gets a separate HOME with a database created by NSS's
//! `certutil`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use boring::x509::X509;

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::child_environment::restrict_environment;
use crate::transport::chromium::user_data_dir::{create_dir, create_file};

/// Creates a HOME below `scratch` in which the certificates of `ca_file` (PEM) are trusted.
pub(super) fn create_home(scratch: &Path, ca_file: &Path) -> Result<PathBuf> {
    let unreadable =
        || Error::new(ErrorKind::Config, format!("could not read certificates from {}", ca_file.display()));
    let pem = std::fs::read(ca_file).map_err(|cause| unreadable().with_source(cause))?;
    let certificates = X509::stack_from_pem(&pem).map_err(|cause| unreadable().with_source(cause))?;
    if certificates.is_empty() {
        return Err(unreadable().with_hint("use a file with PEM certificates: this one contains none"));
    }
    let home = scratch.join("home");
    let database = home.join(".pki/nssdb");
    let local = |cause: std::io::Error| {
        Error::new(ErrorKind::Io, "could not write the browser's certificate database").with_source(cause)
    };
    for folder in [&home, &home.join(".pki"), &database] {
        create_dir(folder).map_err(local)?;
    }
    let location = format!("sql:{}", database.display());
    certutil(&["-N", "--empty-password", "-d", &location])?;
    for (index, certificate) in certificates.iter().enumerate() {
        let der = certificate.to_der().map_err(|cause| unreadable().with_source(cause))?;
        let file = home.join(format!("ca-{index}.der"));
        create_file(&file).and_then(|mut file| file.write_all(&der)).map_err(local)?;
        let name = format!("rungs-{index}");
        let file = file.display().to_string();
        // `C`: trusted to issue server certificates. `P`: trusted as a server, for a self-signed leaf.
        certutil(&["-A", "-d", &location, "-n", &name, "-t", "CP,,", "-i", &file])?;
    }
    Ok(home)
}

fn certutil(args: &[&str]) -> Result<()> {
    let mut command = Command::new("certutil");
    restrict_environment(&mut command);
    let output = command.args(args).stdin(Stdio::null()).output().map_err(|cause| {
        Error::new(ErrorKind::Browser, "the browser tier needs `certutil` to trust a CA file")
            .with_source(cause)
            .with_hint("install it (`apt install libnss3-tools`), or stay below the browser tier with `--max-tier impersonate`")
    })?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(ErrorKind::Browser, "`certutil` could not create the browser's certificate database")
        .with_source(crate::text::redact::escape_terminal(stderr.trim())))
}

//! Arguments that authenticate the client to a site, and the HTTP version.

/// User, password and client certificate.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Request")]
pub(crate) struct AuthenticationArgs {
    /// User and password for the site
    ///
    /// Sent as Basic authentication, or with --digest, to the origin of the URL only. Takes precedence over the credentials
    /// in a URL. Without ':', the terminal asks for the password.
    #[arg(short = 'u', long, value_name = "USER[:PASSWORD]")]
    pub(crate) user: Option<String>,

    /// Send -u as Digest authentication
    ///
    /// The password does not travel: the request is sent again with an answer to the site's challenge.
    #[arg(long, overrides_with = "basic")]
    pub(crate) digest: bool,

    /// Send -u as Basic authentication (default)
    #[arg(long, overrides_with = "digest")]
    pub(crate) basic: bool,

    /// Client certificate (PEM), for the URL's origin
    ///
    /// The file also has the intermediate certificates and, without --key, the private key. PASSWORD decrypts the key. The
    /// browser tier cannot send it, so the fetch ends below.
    #[arg(short = 'E', long, value_name = "FILE[:PASSWORD]")]
    pub(crate) cert: Option<String>,

    /// Private key of the client certificate
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<std::path::PathBuf>,

    /// Format of the certificate
    #[arg(long, value_name = "TYPE", value_enum, ignore_case = true, requires = "cert")]
    pub(crate) cert_type: Option<CertificateFormat>,

    /// Password of the private key
    #[arg(long, value_name = "PASSWORD", requires = "cert")]
    pub(crate) pass: Option<String>,

    /// Offer HTTP/1.1 only (HTTP tiers)
    ///
    /// Changes the TLS fingerprint of a browser profile, which offers HTTP/2.
    #[arg(long = "http1.1", overrides_with = "http2")]
    pub(crate) http1: bool,

    /// Offer HTTP/2 and HTTP/1.1 (default)
    #[arg(long, overrides_with = "http1")]
    pub(crate) http2: bool,
}

/// The format of a client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CertificateFormat {
    /// Text
    Pem,
    /// Binary, with the key in --key
    Der,
    /// PKCS #12, with the key in the same file
    P12,
}

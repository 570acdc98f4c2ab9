//! TLS as a browser profile defines it: one connector per profile, session tickets per identity.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use boring::error::ErrorStack;
use boring::ex_data::Index;
use boring::ssl::{
    CertificateCompressionAlgorithm, CertificateCompressor, ErrorCode, Ssl, SslConnector, SslMethod, SslRef,
    SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use boring::x509::store::X509Store;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_boring::{HandshakeError, SslStream, SslStreamBuilder};

use super::issuer_cache::{IssuerCache, MissingIssuer};
use super::{certificates, ffi, roots};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::ClientCertificate;
use crate::fingerprint::{Profile, ciphers};
use crate::identity::Identity;
use crate::identity::session_tickets::SessionTickets;
use crate::os::sync::lock_unpoisoned;

/// A byte stream that TLS or HTTP can run over.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A boxed byte stream.
pub(crate) type BoxIo = Pin<Box<dyn Io>>;

/// How certificates are verified.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustConfig {
    pub(crate) ca_file: Option<PathBuf>,
    /// Accept any certificate (`-k`).
    pub(crate) insecure: bool,
}

/// What a request asks of a handshake.
#[derive(Clone, Copy, Default)]
pub(crate) struct HandshakeOptions<'a> {
    /// Offer HTTP/1.1 only.
    pub(crate) only_http1: bool,
    /// The certificate for a server that requests one.
    pub(crate) certificate: Option<&'a ClientCertificate>,
}

/// Why a handshake failed.
pub(super) struct HandshakeFailure {
    pub(super) error: Error,
    /// The issuer whose certificate may complete the chain.
    pub(super) missing: Option<MissingIssuer>,
}

impl From<Error> for HandshakeFailure {
    fn from(error: Error) -> Self {
        Self { error, missing: None }
    }
}

pub(crate) struct TlsConnector {
    trust: TrustConfig,
    store: X509Store,
    issuers: IssuerCache,
    connectors: Mutex<HashMap<String, SslConnector>>,
}

impl TlsConnector {
    pub(crate) fn new(trust: TrustConfig) -> Result<Self> {
        let store = roots::build_trust_store(trust.ca_file.as_deref())?;
        Ok(Self { trust, store, issuers: IssuerCache::default(), connectors: Mutex::default() })
    }

    /// The certificates that were fetched to complete chains.
    pub(super) const fn issuers(&self) -> &IssuerCache {
        &self.issuers
    }

    /// Performs the TLS handshake with a host and port over `io` as `identity`'s browser does. `only_http1` offers no
    /// other protocol.
    pub(crate) async fn handshake(
        &self,
        identity: &Identity,
        (host, port): (&str, u16),
        options: HandshakeOptions<'_>,
        io: BoxIo,
        within: Duration,
    ) -> Result<SslStream<BoxIo>, HandshakeFailure> {
        let origin = format!("{host}:{port}");
        let ssl = self.configure(identity, host, &origin, options).map_err(|cause| {
            Error::new(ErrorKind::Tls, format!("could not set up TLS for {origin}")).with_source(cause)
        })?;
        let handshake = SslStreamBuilder::new(ssl, io).connect();
        let outcome = timeout(within, handshake).await.map_err(|_| {
            Error::new(
                ErrorKind::Timeout,
                format!("timed out after {within:?} during the TLS handshake with {origin}"),
            )
        })?;
        let stream = outcome.map_err(|failure| {
            let missing = failure.ssl().and_then(certificates::missing_issuer_of).cloned();
            HandshakeFailure { error: handshake_error(&origin, &failure), missing }
        })?;
        if stream.ssl().selected_alpn_protocol() != Some(b"h2") {
            ffi::allow_renegotiation(stream.ssl());
        }
        Ok(stream)
    }

    fn configure(
        &self,
        identity: &Identity,
        host: &str,
        origin: &str,
        options: HandshakeOptions<'_>,
    ) -> Result<Ssl, ErrorStack> {
        let profile = identity.profile();
        let mut configuration = self.connector_for(profile)?.configure()?;
        if self.trust.insecure {
            configuration.set_verify(SslVerifyMode::NONE);
        }
        if options.only_http1 {
            configuration.set_alpn_protos(b"\x08http/1.1")?;
        } else if let Some(alps) = &profile.tls.alps {
            ffi::add_application_settings(&mut configuration, alps)?;
        }
        configuration.set_enable_ech_grease(profile.tls.ech_grease);
        // A session belongs to the certificate that it was opened with.
        let mut ticket_key = origin.to_owned();
        if let Some(certificate) = options.certificate {
            set_certificate(&mut configuration, certificate)?;
            ticket_key = format!("{origin} certificate {}", certificate.id());
        }
        if let Some(session) = identity.tickets().take(&ticket_key) {
            ffi::set_session(&mut configuration, &session)?;
        }
        let slot = TicketKey { tickets: identity.tickets().clone(), origin: ticket_key };
        configuration.set_ex_data(*TICKET_KEY_INDEX, slot);
        certificates::complete_chain(&mut configuration, self.issuers.for_origin(origin));
        // As in Chrome, SNI has the host as it is, and the certificate is compared without a trailing dot.
        configuration.set_verify_hostname(false);
        let host = host.trim_matches(['[', ']']);
        certificates::expect_host(&mut configuration, host);
        configuration.into_ssl(host)
    }

    fn connector_for(&self, profile: &Profile) -> Result<SslConnector, ErrorStack> {
        let mut connectors = lock_unpoisoned(&self.connectors);
        if let Some(connector) = connectors.get(&profile.name) {
            return Ok(connector.clone());
        }
        let connector = build_connector(profile, &self.store)?;
        connectors.insert(profile.name.clone(), connector.clone());
        Ok(connector)
    }
}

/// Sets the certificate that is sent when the server requests one.
fn set_certificate(ssl: &mut SslRef, certificate: &ClientCertificate) -> Result<(), ErrorStack> {
    let mut chain = certificate.chain().iter();
    if let Some(first) = chain.next() {
        ssl.set_certificate(first)?;
    }
    for intermediate in chain {
        ssl.add_chain_cert(intermediate)?;
    }
    ssl.set_private_key(certificate.key())
}

/// Builds the connector that all connections of a profile share.
fn build_connector(profile: &Profile, store: &X509Store) -> Result<SslConnector, ErrorStack> {
    let tls = &profile.tls;
    let mut builder = SslConnector::builder(SslMethod::tls())?;
    builder.set_cert_store_ref(store);
    builder.set_verify(SslVerifyMode::PEER);
    certificates::apply_rules(&mut builder);
    builder.set_min_proto_version(tls.versions.first().and_then(|name| ssl_version(name)))?;
    builder.set_max_proto_version(tls.versions.last().and_then(|name| ssl_version(name)))?;
    builder.set_cipher_list(&ciphers::cipher_list(&tls.ciphers))?;
    ffi::set_groups(&mut builder, &tls.groups)?;
    ffi::set_signature_algorithms(&mut builder, &tls.signature_algorithms)?;
    let mut alpn = Vec::new();
    for protocol in &tls.alpn {
        alpn.push(u8::try_from(protocol.len()).unwrap_or(0));
        alpn.extend_from_slice(protocol.as_bytes());
    }
    builder.set_alpn_protos(&alpn)?;
    builder.set_grease_enabled(tls.grease);
    builder.set_permute_extensions(tls.permute_extensions);
    if tls.ocsp_stapling {
        builder.enable_ocsp_stapling();
    }
    if tls.signed_certificate_timestamps {
        builder.enable_signed_cert_timestamps();
    }
    if tls.certificate_compression.iter().any(|name| name == "brotli") {
        builder.add_certificate_compression_algorithm(Brotli)?;
    }
    if let Some(anchors) = tls.trust_anchor_ids() {
        ffi::set_trust_anchors(&mut builder, &anchors)?;
    }
    builder.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
    builder.set_new_session_callback(|ssl, session| {
        if let Some(slot) = ssl.ex_data(*TICKET_KEY_INDEX) {
            slot.tickets.insert(&slot.origin, session);
        }
    });
    Ok(builder.build())
}

fn ssl_version(name: &str) -> Option<SslVersion> {
    match name {
        "1.2" => Some(SslVersion::TLS1_2),
        "1.3" => Some(SslVersion::TLS1_3),
        _ => None,
    }
}

/// Where a connection's new session tickets are stored.
struct TicketKey {
    tickets: SessionTickets,
    origin: String,
}

static TICKET_KEY_INDEX: LazyLock<Index<Ssl, TicketKey>> =
    LazyLock::new(|| Ssl::new_ex_index().expect("an index fails only without memory"));

/// Decompresses brotli certificates (RFC 8879), which Chrome offers.
struct Brotli;

impl CertificateCompressor for Brotli {
    const ALGORITHM: CertificateCompressionAlgorithm = CertificateCompressionAlgorithm::BROTLI;
    const CAN_COMPRESS: bool = false;
    const CAN_DECOMPRESS: bool = true;

    fn decompress<W: Write>(&self, input: &[u8], output: &mut W) -> std::io::Result<()> {
        // The output is limited by the length that the peer announced, which BoringSSL caps.
        std::io::copy(&mut brotli::Decompressor::new(input, 4096), output).map(|_| ())
    }
}

/// Converts a handshake failure. A certificate error is described by BoringSSL's verification result.
pub(super) fn handshake_error(origin: &str, failure: &HandshakeError<BoxIo>) -> Error {
    if let Some(fault) = failure.ssl().and_then(certificates::fault_of) {
        let message = format!("the certificate of {origin} {}", fault.reason);
        return Error::new(ErrorKind::Tls, message).with_hint(fault.hint.clone());
    }
    let verified = failure.ssl().map(SslRef::verify_result);
    if let Some(verify_error) = verified.and_then(Result::err).and_then(ffi::describe_verify_error) {
        let missing = failure.ssl().and_then(certificates::missing_issuer_of);
        let issuer =
            missing.map(|issuer| format!(": `{}`, whose certificate the server did not send", issuer.name));
        let message = format!("the certificate of {origin} {verify_error}{}", issuer.unwrap_or_default());
        return Error::new(ErrorKind::Tls, message).with_hint(
            "check the host name and the clock; trust another CA with `--cacert FILE`, or any certificate with `-k`",
        );
    }
    if let Some(cause) = failure.as_io_error() {
        let io_error = std::io::Error::new(cause.kind(), cause.to_string());
        let message = format!("{origin} aborted the TLS handshake");
        return Error::new(ErrorKind::Tls, message).with_source(io_error);
    }
    let hint = "check that the port speaks TLS, or use an http:// URL";
    if failure.code() == Some(ErrorCode::SYSCALL) || failure.code() == Some(ErrorCode::ZERO_RETURN) {
        let message = format!("{origin} closed the connection during the TLS handshake");
        let io_error = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, failure.to_string());
        return Error::new(ErrorKind::Tls, message).with_source(io_error).with_hint(hint);
    }
    Error::new(ErrorKind::Tls, format!("the TLS handshake with {origin} failed"))
        .with_source(failure.to_string())
        .with_hint(hint)
}

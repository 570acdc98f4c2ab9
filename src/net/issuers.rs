//! Fetches the certificate of an issuer that a server did not send, as Chromium does (RFC 5280, section 4.2.2.1).
//!
//! The server's certificate names the URL, so it is hostile: only http, few bytes, little time, over the route of the
//! identity and under the address rule of its fetch. The fetched certificate is not trusted. It only completes a chain.

use std::time::Duration;

use boring::x509::X509;
use futures_util::future::BoxFuture;
use http::{HeaderName, StatusCode, header};
use tokio::time::Instant;
use tokio_boring::SslStream;
use url::Url;

use super::connect::ConnectTarget;
use super::issuer_cache::{MAX_ISSUERS, MissingIssuer};
use super::pool::ConnectionKey;
use super::tls::{BoxIo, HandshakeFailure, HandshakeOptions};
use super::{AttemptRequest, HttpClient, RequestHooks};
use crate::exchange::address_rule::{AddressRule, AddressSpace};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::Request;
use crate::exchange::trace::Timings;
use crate::identity::Identity;
use crate::settings::limits::Limits;
use crate::settings::render::RenderOptions;

impl HttpClient {
    /// Performs the TLS handshake on a connection to `target`. When the server did not send an intermediate certificate,
    /// fetches it and connects again.
    pub(super) async fn handshake(
        &self,
        call: &AttemptRequest<'_>,
        key: &ConnectionKey,
        target: &ConnectTarget<'_>,
        first: (BoxIo, AddressSpace),
        timings: &mut Timings,
    ) -> Result<(SslStream<BoxIo>, AddressSpace)> {
        let (mut io, mut space) = first;
        let identity = call.identity;
        let options = HandshakeOptions {
            only_http1: key.only_http1 || self.pool.requires_http1(key),
            certificate: call.request.client_certificate.as_deref(),
        };
        let mut fetched_issuers = 0;
        loop {
            let started = Instant::now();
            let origin = (&*key.host, key.port);
            let outcome = self.tls.handshake(identity, origin, options, io, target.limits.tls).await;
            timings.tls += started.elapsed();
            let (error, missing) = match outcome {
                Ok(stream) => return Ok((stream, space)),
                Err(HandshakeFailure { error, missing: Some(missing) }) if fetched_issuers < MAX_ISSUERS => {
                    (error, missing)
                }
                Err(HandshakeFailure { error, .. }) => return Err(error),
            };
            // A public site may not lead to a private address.
            let may_be_private = space == AddressSpace::Private && !target.requires_public;
            let fetched = Box::pin(self.fetch_issuer(identity, &missing, may_be_private)).await;
            let certificate = match fetched {
                Ok(certificate) => certificate,
                Err(None) => return Err(error),
                Err(Some(cause)) => return Err(error.with_source(cause)),
            };
            let origin = format!("{}:{}", key.host, key.port);
            // One that is known already did not complete the chain.
            if !self.tls.issuers().add(&origin, certificate) {
                return Err(error);
            }
            fetched_issuers += 1;
            (io, space) = self.connector.dial(target, timings).await?;
        }
    }

    /// Fetches the certificate of an issuer from the first URL that has it. `Err(None)` if there is no URL.
    async fn fetch_issuer(
        &self,
        identity: &Identity,
        missing: &MissingIssuer,
        may_be_private: bool,
    ) -> Result<X509, Option<Error>> {
        let mut last = None;
        for url in &missing.urls {
            let fetched = match self.tls.issuers().fetched(url) {
                Some(fetched) => fetched,
                None => {
                    let outcome = self.request_certificate(identity, url, may_be_private).await;
                    self.tls.issuers().store(url, outcome.as_ref().ok().cloned());
                    outcome
                }
            };
            match fetched {
                Ok(certificate) => return Ok(certificate),
                Err(error) => last = Some(error),
            }
        }
        Err(last)
    }

    async fn request_certificate(
        &self,
        identity: &Identity,
        url: &Url,
        may_be_private: bool,
    ) -> Result<X509> {
        let failed = |cause: Error| {
            let message = format!("the issuer's certificate could not be fetched from {url}");
            Error::new(ErrorKind::Tls, message).with_source(cause)
        };
        let address_rule = if may_be_private {
            let rule = AddressRule::default();
            rule.decide(AddressSpace::Private);
            rule.into()
        } else {
            AddressRule::public_only()
        };
        let mut request = Request { address_rule, ..Request::get(url.clone()) };
        // Chromium sends none of these.
        request.removed.extend([header::ACCEPT, header::COOKIE, header::UPGRADE_INSECURE_REQUESTS]);
        request.removed.extend(CLIENT_HEADERS.map(HeaderName::from_static));
        let limits = Limits {
            http_total: MAX_TIME,
            max_body: MAX_BYTES,
            max_redirects: MAX_REDIRECTS,
            ..Limits::default()
        };
        let fetcher = Identity::new("issuers", identity.profile().clone(), None)
            .with_proxy_rules(identity.proxy_rules().clone());
        let call = AttemptRequest {
            request: &request,
            identity: &fetcher,
            limits: &limits,
            render: RenderOptions::NONE,
            streaming: false,
            hooks: Some(&HttpOnly),
        };
        let outcome = async {
            let response = self.execute(call).await?;
            if response.status != StatusCode::OK {
                let message = format!("the server answered with status {}", response.status.as_u16());
                return Err(Error::new(ErrorKind::Protocol, message));
            }
            // The body ends with an error at its limit.
            let bytes = response.body.read_start(usize::MAX).await?;
            parse_certificate(&bytes)
                .ok_or_else(|| Error::new(ErrorKind::Decode, "the response is not a certificate"))
        };
        let outcome = outcome.await;
        self.drop_identity(fetcher.key());
        tracing::debug!(%url, ok = outcome.is_ok(), "fetched the certificate of an issuer");
        outcome.map_err(failed)
    }
}

/// Parses a certificate in DER or PEM.
fn parse_certificate(bytes: &[u8]) -> Option<X509> {
    X509::from_der(bytes).or_else(|_| X509::from_pem(bytes)).ok()
}

/// Permits redirects to http only: a handshake inside a handshake could go on without end.
struct HttpOnly;

impl RequestHooks for HttpOnly {
    fn before_request<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<()>> {
        let is_http = url.scheme() == "http";
        let message = "redirected to another scheme than http";
        Box::pin(async move { if is_http { Ok(()) } else { Err(Error::new(ErrorKind::Redirect, message)) } })
    }
}

/// What a navigation says of the client.
const CLIENT_HEADERS: [&str; 7] = [
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-site",
    "sec-fetch-mode",
    "sec-fetch-user",
    "sec-fetch-dest",
];
/// The limits of one request.
const MAX_TIME: Duration = Duration::from_secs(5);
const MAX_BYTES: u64 = 64 * 1024;
const MAX_REDIRECTS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_parsed_in_both_formats() {
        let der = webpki_root_certs::TLS_SERVER_ROOT_CERTS[0].as_ref();
        let pem = X509::from_der(der).unwrap().to_pem().unwrap();
        assert!(parse_certificate(der).is_some() && parse_certificate(&pem).is_some());
        assert!(parse_certificate(b"<html>").is_none() && parse_certificate(&der[..der.len() / 2]).is_none());
    }
}

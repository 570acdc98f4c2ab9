//! BoringSSL calls that `boring` does not wrap. This is the only unsafe code of the engine.
#![expect(unsafe_code, reason = "boring wraps none of these calls; each takes plain pointers and lengths")]

use boring::error::ErrorStack;
use boring::nid::Nid;
use boring::ssl::{SslContextBuilder, SslRef, SslSessionRef};
use boring::stack::Stack;
use boring::x509::{X509, X509Ref, X509StoreContextRef, X509VerifyError};
use boring_sys as sys;
use foreign_types::ForeignTypeRef;

use crate::fingerprint::profile::Alps;

/// Sets the supported groups, and with them the key shares, in order.
pub(super) fn set_groups(builder: &mut SslContextBuilder, ids: &[u16]) -> Result<(), ErrorStack> {
    // SAFETY: the context is alive and the slice is read before the call returns.
    check_result(unsafe { sys::SSL_CTX_set1_group_ids(builder.as_ptr(), ids.as_ptr(), ids.len()) })
}

/// Sets the signature algorithms, in order, including unknown ones.
pub(super) fn set_signature_algorithms(
    builder: &mut SslContextBuilder,
    ids: &[u16],
) -> Result<(), ErrorStack> {
    // SAFETY: the context is alive and the slice is read before the call returns.
    check_result(unsafe {
        sys::SSL_CTX_set_verify_algorithm_prefs(builder.as_ptr(), ids.as_ptr(), ids.len())
    })
}

/// Sets the requested trust anchor ids, in wire format.
pub(super) fn set_trust_anchors(builder: &mut SslContextBuilder, ids: &[u8]) -> Result<(), ErrorStack> {
    // SAFETY: the context is alive and the slice is read before the call returns.
    check_result(unsafe {
        sys::SSL_CTX_set1_requested_trust_anchors(builder.as_ptr(), ids.as_ptr(), ids.len())
    })
}

/// Adds empty application-layer protocol settings (ALPS) for each protocol, as Chrome does.
pub(super) fn add_application_settings(ssl: &mut SslRef, alps: &Alps) -> Result<(), ErrorStack> {
    for protocol in &alps.protocols {
        // SAFETY: the connection is alive; both slices are copied before the call returns.
        check_result(unsafe {
            sys::SSL_add_application_settings(
                ssl.as_ptr(),
                protocol.as_ptr(),
                protocol.len(),
                std::ptr::null(),
                0,
            )
        })?;
    }
    // SAFETY: the connection is alive; the call sets a flag.
    unsafe { sys::SSL_set_alps_use_new_codepoint(ssl.as_ptr(), i32::from(alps.codepoint == NEW_CODEPOINT)) };
    Ok(())
}

/// Lets a server renegotiate a TLS 1.2 connection, as Chrome does for HTTP/1.1. BoringSSL requires the server's
/// certificate to stay the same.
pub(super) fn allow_renegotiation(ssl: &SslRef) {
    // SAFETY: the connection is alive; the call sets a flag.
    unsafe {
        sys::SSL_set_renegotiate_mode(ssl.as_ptr(), sys::ssl_renegotiate_mode_t::ssl_renegotiate_freely);
    };
}

/// Offers a session for resumption.
pub(super) fn set_session(ssl: &mut SslRef, session: &SslSessionRef) -> Result<(), ErrorStack> {
    // SAFETY: the session comes from a connection of the same profile, hence of the same context.
    unsafe { ssl.set_session(session) }
}

/// Describes BoringSSL's verification error; `None` when no certificate was verified.
pub(super) fn describe_verify_error(verify_error: X509VerifyError) -> Option<String> {
    Some(match verify_error.as_raw() {
        sys::X509_V_ERR_INVALID_CALL => return None,
        sys::X509_V_ERR_CERT_HAS_EXPIRED => "has expired".to_owned(),
        sys::X509_V_ERR_CERT_NOT_YET_VALID => "is not valid yet".to_owned(),
        sys::X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT => "is self-signed".to_owned(),
        sys::X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN => {
            "ends in a self-signed certificate that is not trusted".to_owned()
        }
        sys::X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT | sys::X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY => {
            "is signed by an issuer that is not trusted".to_owned()
        }
        sys::X509_V_ERR_HOSTNAME_MISMATCH | sys::X509_V_ERR_IP_ADDRESS_MISMATCH => {
            "is for another name".to_owned()
        }
        _ => format!("is not valid: {verify_error}"),
    })
}

/// What a certificate's extensions say of it.
pub(super) struct ExtensionFlags {
    pub(super) has_basic_constraints: bool,
    pub(super) is_authority: bool,
    pub(super) is_self_issued: bool,
    pub(super) has_unknown_critical: bool,
}

/// Reads what BoringSSL found in a certificate's extensions.
pub(super) fn extension_flags(certificate: &X509Ref) -> ExtensionFlags {
    // SAFETY: the certificate is alive; the call reads it.
    let bits = unsafe { sys::X509_get_extension_flags(certificate.as_ptr()) };
    let has = |flag: i32| bits & flag.cast_unsigned() != 0;
    ExtensionFlags {
        has_basic_constraints: has(sys::EXFLAG_BCONS),
        is_authority: has(sys::EXFLAG_CA),
        is_self_issued: has(sys::EXFLAG_SI),
        has_unknown_critical: has(sys::EXFLAG_CRITICAL),
    }
}

/// Whether the extended key usage permits TLS servers. Without that extension, it does.
pub(super) fn allows_servers(certificate: &X509Ref) -> bool {
    // SAFETY: the certificate is alive; the call reads it.
    let bits = unsafe { sys::X509_get_extended_key_usage(certificate.as_ptr()) };
    bits & (sys::XKU_SSL_SERVER | sys::XKU_ANYEKU).cast_unsigned() != 0
}

/// The maximum number of intermediate certificates below an authority, if it has one.
pub(super) fn path_length(certificate: &X509Ref) -> Option<usize> {
    // SAFETY: the certificate is alive; the call reads it.
    let length = unsafe { sys::X509_get_pathlen(certificate.as_ptr()) };
    usize::try_from(length).ok()
}

/// Returns the value of a certificate's extension, which is empty without it.
pub(super) fn extension_data(certificate: &X509Ref, extension: Nid) -> Vec<u8> {
    // SAFETY: the certificate is alive and owns what the calls return; `X509_get_ext` returns null for an index that is
    // out of range, and the bytes are copied.
    unsafe {
        let index = sys::X509_get_ext_by_NID(certificate.as_ptr(), extension.as_raw(), -1);
        let found = sys::X509_get_ext(certificate.as_ptr(), index);
        if found.is_null() {
            return Vec::new();
        }
        let value = sys::X509_EXTENSION_get_data(found);
        let (bytes, length) =
            (sys::ASN1_STRING_get0_data(value.cast()), sys::ASN1_STRING_length(value.cast()));
        match usize::try_from(length) {
            Ok(length) if length > 0 && !bytes.is_null() => {
                std::slice::from_raw_parts(bytes, length).to_vec()
            }
            _ => Vec::new(),
        }
    }
}

/// Verifies a chain with certificates in addition to those that the server sent. None of them is trusted.
pub(super) fn verify_with(context: &mut X509StoreContextRef, others: &[X509]) -> Result<bool, ErrorStack> {
    let mut untrusted = Stack::new()?;
    for certificate in context.untrusted().into_iter().flatten() {
        untrusted.push(certificate.to_owned())?;
    }
    for certificate in others {
        untrusted.push(certificate.clone())?;
    }
    // SAFETY: the context does not own the stack. It lives until the context has its former one again.
    let sent = unsafe { sys::X509_STORE_CTX_get0_untrusted(context.as_ptr()) };
    unsafe { sys::X509_STORE_CTX_set_chain(context.as_ptr(), untrusted.as_ptr()) };
    let verified = context.verify_cert();
    unsafe { sys::X509_STORE_CTX_set_chain(context.as_ptr(), sent) };
    verified
}

/// Whether a certificate has an extension that is marked critical.
pub(super) fn is_critical(certificate: &X509Ref, extension: Nid) -> bool {
    // SAFETY: the certificate is alive; `X509_get_ext` returns null for an index that is out of range.
    unsafe {
        let index = sys::X509_get_ext_by_NID(certificate.as_ptr(), extension.as_raw(), -1);
        let found = sys::X509_get_ext(certificate.as_ptr(), index);
        !found.is_null() && sys::X509_EXTENSION_get_critical(found) != 0
    }
}

fn check_result(returned: std::ffi::c_int) -> Result<(), ErrorStack> {
    if returned == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

const NEW_CODEPOINT: u16 = 17613;

//! Text: what may be shown of it, its character encoding, and HTML.

pub(crate) mod charset;
pub(crate) mod hex;
pub(crate) mod html;
pub(crate) mod quoted_string;
pub mod redact;

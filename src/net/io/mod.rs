//! Stream wrappers: between TCP and TLS, and between TLS and HTTP.

pub(super) mod metered;
pub(super) mod read_ahead;
pub(super) mod read_limit;

//! One exchange with a site: the request, the response or the error, and the trace of its attempts.

pub(crate) mod address_rule;
pub(crate) mod credentials;
pub(crate) mod digest_auth;
pub(crate) mod error;
pub(crate) mod error_kind;
pub(crate) mod phase;
pub(crate) mod registrable_domain;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod robots_policy;
pub(crate) mod tier;
pub(crate) mod trace;
pub(crate) mod verdict;

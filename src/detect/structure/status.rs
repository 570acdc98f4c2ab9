//! Features of a status.

use super::feature_set::FeatureSet;

/// Adds the features of the status of a page.
pub(super) fn add_features(features: &mut FeatureSet, status: u16) {
    features.add_if("refused", REFUSALS.contains(&status));
    features.add_if("odd_ok", matches!(status, 202 | 203 | 206));
    features.add_if("plain_error", matches!(status, 400 | 404 | 410 | 422 | 500 | 501));
    features.add_if("s500", status == 500);
    features.add_if("s429", status == 429);
    features.add_if("unauthorized", status == 401);
    features.add_if("bad_gateway", is_bad_gateway(status));
}

/// Adds the features of a status that a page and data share.
pub(super) fn add_shared_features(features: &mut FeatureSet, status: u16) {
    features.add_if("payment", status == 402);
    features.add_if("odd_refusal", matches!(status, 412 | 418 | 419 | 430 | 456 | 567 | 999));
}

/// Whether a status refuses a request.
pub(super) fn is_refusal(status: u16) -> bool {
    REFUSALS.contains(&status)
}

/// Whether a proxy or a gateway reports a fault with this status.
pub(super) fn is_bad_gateway(status: u16) -> bool {
    matches!(status, 407 | 502 | 503 | 504)
}

/// The statuses that refuse a request. Some have no standard meaning, and firewalls use them.
const REFUSALS: [u16; 17] =
    [402, 403, 405, 406, 409, 410, 412, 418, 419, 428, 429, 430, 451, 456, 503, 567, 999];

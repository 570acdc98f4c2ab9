//! The features of a response: those of its status and addresses here, those of its body by its kind.

use http::header;
use url::Url;

use super::feature_set::FeatureSet;
use super::weights::StructureData;
use super::{json, page, status};
use crate::detect::ResponseView;
use crate::detect::content_kind::ContentKind;
use crate::exchange::tier::Tier;
use crate::text::charset::essence;

/// Returns the features of a response. `None` if it is content, or not text.
pub(super) fn collect(
    data: &StructureData,
    view: &ResponseView<'_>,
    media: ContentKind,
) -> Option<FeatureSet> {
    let mut features = FeatureSet::default();
    features.add(if view.via_proxy { "via_proxy" } else { "not_via_proxy" });
    features.add_if("shown", view.tier == Some(Tier::Browser));
    if (300..400).contains(&view.status) && view.headers.contains_key(header::LOCATION) {
        add_redirect(&mut features, data, view);
        return Some(features);
    }
    if !view.complete || view.body.is_empty() {
        return None;
    }
    add_addresses(&mut features, data, view);
    status::add_shared_features(&mut features, view.status);
    match media {
        ContentKind::Data => json::add_features(&mut features, data, view)?,
        ContentKind::Html => add_page(&mut features, data, view)?,
        ContentKind::Text if matches!(&*essence(view.headers), "text/plain" | "") => {
            features.add("plain");
            add_page(&mut features, data, view)?;
        }
        _ => return None,
    }
    Some(features)
}

fn add_page(features: &mut FeatureSet, data: &StructureData, view: &ResponseView<'_>) -> Option<()> {
    status::add_features(features, view.status);
    page::add_features(features, data, view)
}

/// Features of a redirect that was not followed.
fn add_redirect(features: &mut FeatureSet, data: &StructureData, view: &ResponseView<'_>) {
    let location = view.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("");
    let Ok(target) = view.url.join(location) else { return };
    let (led_to, requested) = (address(&target), address(view.requested));
    let (leads, asked) = (data.phrases.find(&led_to), data.phrases.find(&requested));
    for kind in ["login", "captcha", "geo", "queue", "refusal"] {
        let set = format!("path_{kind}");
        features.add_if(&format!("location_{kind}"), leads.has(&set) && !asked.has(&set));
    }
    // A client that keeps the cookie gets the page at the same address.
    let is_same = is_same_address(&target, view.requested) && view.headers.contains_key(header::SET_COOKIE);
    features.add_if("location_same", is_same);
}

/// Whether a redirect leads to the requested address, or adds something to its query. An address with a shorter query or
/// another scheme is a tidier one.
fn is_same_address(target: &Url, requested: &Url) -> bool {
    let (query, asked) = (target.query().unwrap_or(""), requested.query().unwrap_or(""));
    target.scheme() == requested.scheme() && address(target) == address(requested) && query.starts_with(asked)
}

/// Features of the requested address, and of the one that a redirect led to.
fn add_addresses(features: &mut FeatureSet, data: &StructureData, view: &ResponseView<'_>) {
    let requested = address(view.requested);
    let found = data.phrases.find(&requested);
    for kind in ["captcha", "login", "challenge", "consent"] {
        features.add_if(&format!("asked_{kind}"), found.has(&format!("path_{kind}")));
    }
    features.add_if("about_url", found.has("about_url"));
    features.add_if("deep", is_deep(view.requested));
    if view.url == view.requested {
        return;
    }
    features.add("moved");
    let reached = address(view.url);
    for kind in ["captcha", "challenge", "login", "geo", "block", "queue", "consent", "outage"] {
        let set = format!("path_{kind}");
        let is_new = data.phrases.phrases_of(&[&set], &reached).any(|word| !requested.contains(word));
        features.add_if(&format!("moved_{kind}"), is_new);
    }
}

/// Whether an address is that of one page of many, and not that of a site's first page.
fn is_deep(url: &Url) -> bool {
    let segments = url.path_segments().into_iter().flatten().filter(|segment| !segment.is_empty());
    segments.count() >= 2 || url.query().is_some_and(|query| !query.is_empty())
}

/// Returns host and path in lower case.
fn address(url: &Url) -> String {
    format!("{}{}", url.host_str().unwrap_or(""), url.path()).to_lowercase()
}

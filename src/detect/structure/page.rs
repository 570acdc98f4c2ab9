//! Features of a page: what it says, what it contains, what its scripts do.

use std::net::IpAddr;

use http::header;
use url::Url;

use super::feature_set::FeatureSet;
use super::phrases::PhraseTable;
use super::script;
use super::shape::PageShape;
use super::weights::StructureData;
use crate::detect::{PREFIX, ResponseView};
use crate::text::charset;

/// Sets of phrases that a text or a title may contain.
const SAYINGS: [&str; 15] = [
    "age",
    "block",
    "bot",
    "captcha",
    "challenge",
    "consent",
    "geo",
    "incident",
    "login",
    "login_wall",
    "outage",
    "proxy",
    "queue",
    "rate",
    "wait",
];
/// Those that matter more at the beginning.
const LEADS: [&str; 7] = ["block", "captcha", "challenge", "geo", "login", "queue", "rate"];
/// Those that headings may contain.
const HEADINGS: [&str; 9] =
    ["block", "captcha", "challenge", "consent", "geo", "login_wall", "outage", "queue", "rate"];
/// Features that have a set of names of elements.
const NAMED: [(&str, &str); 7] = [
    ("app_root", "app_root"),
    ("dialog", "dialog_names"),
    ("handover", "handover_names"),
    ("names_captcha", "captcha_names"),
    ("names_challenge", "challenge_names"),
    ("player", "player_names"),
    ("widget", "captcha_widget"),
];

/// Adds the features of a page. `None` if it is content.
pub(super) fn add_features(
    features: &mut FeatureSet,
    data: &StructureData,
    view: &ResponseView<'_>,
) -> Option<()> {
    if view.body.len() > PREFIX || !data.has_little_content(view.body) {
        return None;
    }
    let text = charset::decode(view.headers, view.url, view.body)?;
    let shape = PageShape::parse(&text);
    let units = shape.text_units();
    if units > data.limits.text || shape.content() > data.limits.content_tags {
        return None;
    }
    features.add("html");
    add_sizes(features, &shape, units, data.limits.brief);
    add_words(features, data, &shape, view);
    add_elements(features, data, &shape, view);
    script::add_features(features, &data.phrases, &shape.script, &shape.data);
    features.add_if("long_token", shape.has_token);
    let headers = view.headers.keys().map(http::HeaderName::as_str).collect::<Vec<_>>().join(" ");
    features.add_if("header_hint", data.phrases.find(&headers).has("header_names"));
    Some(())
}

fn add_sizes(features: &mut FeatureSet, shape: &PageShape, units: usize, brief: usize) {
    features.add_if("no_text", units == 0);
    features.add_if("tiny_text", (1..=40).contains(&units));
    features.add_if("short_text", units <= 400);
    features.add_if("brief_text", units <= brief);
    features.add_if("long_text", units > 800);
    features.add_if("no_title", shape.title.is_empty());
    features.add_if("script_only", units == 0 && shape.script.len() > 50);
    features.add_if("mostly_script", shape.script.len() > 5 * shape.text.len() + 200);
}

/// Features of what a page says.
fn add_words(features: &mut FeatureSet, data: &StructureData, shape: &PageShape, view: &ResponseView<'_>) {
    let phrases = &data.phrases;
    // A reader is addressed by words, and the first may be one.
    let text = format!(" {} ", shape.text);
    let lead: String = shape.text.chars().take(data.limits.lead).collect();
    let (found, in_title, in_lead) = (phrases.find(&text), phrases.find(&shape.title), phrases.find(&lead));
    for set in SAYINGS {
        features.add_if(&format!("says_{set}"), found.has(set));
        features.add_if(&format!("title_{set}"), in_title.has(set));
    }
    for set in LEADS {
        features.add_if(&format!("lead_{set}"), in_lead.has(set));
    }
    let in_headings = phrases.find(&shape.headings);
    for set in HEADINGS {
        features.add_if(&format!("heading_{set}"), in_headings.has(set));
    }
    features.add_if("about_url", is_about_its_address(phrases, &shape.text, view.requested));
    features.add_if("asks_js", found.has("enable_js") || phrases.find(&shape.noscript).has("enable_js"));
    features.add_if("commerce", found.has("commerce") || has_price(&shape.text));
    features.add_if("not_found", found.has("not_found"));
    features.add_if("reader", found.has("reader"));
    features.add_if("quotes", shape.text.contains(['“', '”', '„', '«', '»']));
    // A refusal lists what a visitor is to report.
    let is_report = in_title.has("block") || in_headings.has("block");
    let has_data_rows = has_data_rows(shape, is_report);
    let explains = in_title.has("about_title")
        || shape.count(&["blockquote", "code", "pre", "q", "article", "time", "figure", "cite"]) > 0
        || has_data_rows
        || ["user-agent", "disallow", "#", "license"].iter().any(|start| shape.text.starts_with(start));
    // Markup inside of plain text is a quotation.
    let is_quoted =
        features.contains("plain") && shape.count(&["h1", "p", "div"]) > 0 && !starts_with_tag(view.body);
    features.add_if("explains", explains || is_quoted);
    features.add_if("frame", has_data_rows || shape.count(&["nav", "article", "footer"]) > 0);
}

fn starts_with_tag(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

/// Features of the elements of a page.
fn add_elements(features: &mut FeatureSet, data: &StructureData, shape: &PageShape, view: &ResponseView<'_>) {
    let url = view.url;
    let found = data.phrases.find(&shape.names);
    for (feature, set) in NAMED {
        features.add_if(feature, found.has(set));
    }
    let own_elements = shape.tags.keys().filter(|tag| !IMPLIED.contains(&tag.as_str())).count();
    features.add_if("bare", own_elements <= MAX_BARE && shape.count(&["link"]) == 0);
    features.add_if("links", shape.count(&["a"]) >= 6);
    features.add_if("lists", shape.count(&["li", "dt"]) >= 3);
    features.add_if("content", shape.content() >= 15);
    features.add_if("iframe", shape.count(&["iframe"]) > 0);
    let media = ["canvas", "video", "audio", "img", "object", "embed", "picture"];
    features.add_if("media", shape.count(&media) > 0);
    features.add_if("inline", shape.inline_scripts > 0);
    features.add_if("external", shape.external_scripts > 0);
    features.add_if("bundles", shape.external_scripts >= 3);
    features.add_if("refresh", shape.refreshes || view.headers.contains_key(header::REFRESH));
    features.add_if("unlisted", shape.is_unlisted);
    features.add_if("new_cookie", view.headers.contains_key(header::SET_COOKIE));
    features.add_if("retry_later", view.headers.contains_key(header::RETRY_AFTER));
    features.add_if("picture_field", has_picture_field(shape));
    features.add_if("picture_choice", shape.form_pictures >= 3 && shape.choices >= 3);
    features.add_if("password", shape.passwords > 0);
    features.add_if("fields", shape.fields > 0);
    features.add_if("many_fields", shape.fields >= 3);
    features.add_if("hidden_form", shape.hidden_fields > 0 && shape.fields == 0 && shape.passwords == 0);
    let is_elsewhere = |action: &String| url.join(action).is_ok_and(|target| target.host() != url.host());
    features.add_if("posts_elsewhere", shape.forms.iter().any(is_elsewhere));
}

/// Whether a table has data. One around a puzzle's picture and field places them, and a short one in a report is part of it.
fn has_data_rows(shape: &PageShape, is_report: bool) -> bool {
    let rows = shape.count(&["tr"]);
    let is_short = is_report && rows <= MAX_REPORT_ROWS && shape.text_units() <= MAX_REPORT;
    rows >= MIN_DATA_ROWS && !has_picture_field(shape) && !is_short
}

/// Whether a form asks for one thing, and shows a picture.
const fn has_picture_field(shape: &PageShape) -> bool {
    shape.form_pictures > 0 && shape.fields == 1 && shape.passwords == 0
}

/// Whether the requested address contains a phrase that the page says, or an IP address. Such a page is about it.
fn is_about_its_address(phrases: &PhraseTable, text: &str, requested: &Url) -> bool {
    let mut segments = requested.path_segments().into_iter().flatten();
    if segments.any(|segment| segment.parse::<IpAddr>().is_ok()) {
        return true;
    }
    let address = requested.as_str().to_lowercase().replace("%20", "+").replace(['-', '_'], "+");
    phrases
        .phrases_of(&SAYINGS, text)
        .any(|phrase| phrase.len() > 5 && address.contains(&phrase.replace(' ', "+")))
}

/// Whether a currency sign stands beside a digit.
fn has_price(text: &str) -> bool {
    let chars: Vec<char> = text.chars().filter(|c| *c != ' ').collect();
    chars.windows(2).any(|pair| {
        let is_sign = |c: char| matches!(c, '€' | '$' | '£' | '¥' | '₽');
        is_sign(pair[0]) && pair[1].is_ascii_digit() || pair[0].is_ascii_digit() && is_sign(pair[1])
    })
}

/// Elements that the parser adds.
const IMPLIED: [&str; 4] = ["html", "head", "body", "tbody"];
/// Rows from which a table has data, and does not only place its content.
const MIN_DATA_ROWS: usize = 2;
/// Rows of the table of a report, and characters of its page, at most.
const MAX_REPORT_ROWS: usize = 8;
const MAX_REPORT: usize = 500;
/// Kinds of elements that a bare page has at most.
const MAX_BARE: usize = 3;

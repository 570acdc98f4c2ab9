//! Dressing a request: a profile's header template, filled from the request. Pure.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, HeaderValue, Method, header};
use url::Url;

use super::fetch_metadata::RedirectChain;
use super::header_order;
use crate::client_hints::ClientHintStore;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::fingerprint::Profile;
use crate::fingerprint::header_template::{CompiledField, FieldValue};
use crate::fingerprint::profile::WireProtocol;
use crate::request::{Context, Request};

/// Header fields in wire order, with the case they have in HTTP/1.1.
pub(crate) type WireHeaders = Vec<(Arc<str>, HeaderValue)>;

/// What a request is dressed for.
pub(crate) struct HeaderContext<'a> {
    pub(crate) protocol: WireProtocol,
    pub(crate) chain: &'a RedirectChain,
    /// The client hints its origin asked for.
    pub(crate) hints: &'a ClientHintStore,
    pub(crate) cookies: &'a [(String, String)],
    /// `Proxy-Authorization`, for http:// through a proxy.
    pub(crate) proxy_authorization: Option<HeaderValue>,
}

/// The header fields of `request` in the order and case of `profile`.
///
/// A caller's own header takes the place of the template's; one the template does not know goes
/// before `accept-encoding`, where Chrome's network stack begins its own, and a script's among the
/// rest of them, as [`scatter`] says.
pub(crate) fn build(
    profile: &Profile,
    request: &Request,
    occasion: &HeaderContext<'_>,
) -> Result<WireHeaders> {
    let mut own: Vec<(HeaderName, HeaderValue)> = request.headers.clone();
    if let Some(value) = url_credentials(&request.url)
        && !own.iter().any(|(name, _)| name == header::AUTHORIZATION)
    {
        own.push((header::AUTHORIZATION, value));
    }
    let mut out = WireHeaders::with_capacity(FIELDS_CAPACITY);
    let mut extras_at = None;
    let mut template = select_template(profile, request, occasion, &own)?;
    let has_cookies = !occasion.cookies.is_empty() || own.iter().any(|(name, _)| name == header::COOKIE);
    let has = |name: &HeaderName| template.iter().any(|field| field.name == *name);
    if has_cookies && !has(&header::COOKIE) {
        // A template of an occasion without cookies: Chrome writes only the priority behind them.
        let at = template.len() - usize::from(has(&HeaderName::from_static("priority")));
        let spelled = title_case(&header::COOKIE, occasion.protocol);
        template.to_mut().insert(
            at,
            CompiledField { name: header::COOKIE, wire_name: spelled, value: FieldValue::FromRequest },
        );
    }
    for field in template.iter() {
        let name = &field.name;
        if *name == header::ACCEPT_ENCODING {
            extras_at.get_or_insert(out.len());
        }
        if request.removed.contains(name) {
            continue;
        }
        if *name == header::COOKIE {
            push_cookies(&mut out, &field.wire_name, &mut own, occasion)?;
            continue;
        }
        let mut mine: Vec<HeaderValue> =
            own.extract_if(.., |(other, _)| other == name).map(|(_, value)| value).collect();
        if *name == header::REFERER {
            // A caller names the page; how much of it is told is the policy's to say.
            mine.retain(|page| !occasion.chain.is_initiator(page));
        }
        if !mine.is_empty() {
            // A script's own stay as they are typed, in lower case.
            let spelled =
                if request.context.is_script() { name.as_str().into() } else { Arc::clone(&field.wire_name) };
            out.extend(mine.into_iter().map(|value| (Arc::clone(&spelled), value)));
        } else if *name == header::CONTENT_TYPE
            && let Some(value) = field_value(name, &FieldValue::FromRequest, profile, request, occasion)?
        {
            out.push((title_case(name, occasion.protocol), value));
        } else if let Some(value) = field_value(name, &field.value, profile, request, occasion)? {
            out.push((Arc::clone(&field.wire_name), value));
        }
    }
    let says_length = request.body.is_some() || request.method == Method::POST;
    if says_length && !out.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        // A template of a context that has no body of its own: Chrome writes the length first.
        if let Some(length) =
            field_value(&header::CONTENT_LENGTH, &FieldValue::FromRequest, profile, request, occasion)?
        {
            let at = out.iter().take_while(|(name, _)| is_connection_level(name)).count();
            out.insert(at, (title_case(&header::CONTENT_LENGTH, occasion.protocol), length));
            extras_at = extras_at.map(|at| at + 1);
        }
    }
    if occasion.chain.gains_origin(request) {
        move_origin_after_fetch_metadata(&mut out);
    }
    let at = extras_at.unwrap_or(out.len());
    let mut extras: WireHeaders = occasion
        .proxy_authorization
        .iter()
        .map(|value| ("Proxy-Authorization".into(), value.clone()))
        .collect();
    extras.extend(own.into_iter().map(|(name, value)| (title_case(&name, occasion.protocol), value)));
    out.splice(at..at, extras);
    Ok(out)
}

/// The fields of a request in order, before they are filled.
fn select_template<'a>(
    profile: &'a Profile,
    request: &Request,
    occasion: &HeaderContext<'_>,
    own: &[(HeaderName, HeaderValue)],
) -> Result<Cow<'a, [CompiledField]>> {
    let template = profile
        .headers(request.context, occasion.protocol, occasion.chain.is_redirected())
        .or_else(|| profile.headers(Context::Navigation, occasion.protocol, false));
    let own: Vec<&HeaderName> = own.iter().map(|(name, _)| name).collect();
    let wanted = |name: &str| occasion.hints.is_requested(&request.url, name);
    let script = template.filter(|_| request.context.is_script());
    if let Some(fields) = script
        .and_then(|template| header_order::arrange(profile, template, wanted, &own, request.body.is_some()))
    {
        let pressed: Result<Vec<_>, _> = fields.iter().map(CompiledField::from_field).collect();
        return pressed.map(Cow::Owned).map_err(|name| invalid_header_error(&name));
    }
    let hinted = occasion
        .hints
        .has_any(&request.url)
        .then(|| profile.hinted_headers(request.context, occasion.protocol));
    let Some(template) = hinted.flatten().or(template) else { return Ok(Cow::Owned(Vec::new())) };
    template.compiled_fields().map(Cow::Borrowed).map_err(invalid_header_error)
}

/// An Origin that only a redirect brought about is written behind the sec-fetch fields.
fn move_origin_after_fetch_metadata(out: &mut WireHeaders) {
    let is = |name: &str, other: &str| name.eq_ignore_ascii_case(other);
    let Some(at) = out.iter().position(|(name, _)| is(name, "origin")) else { return };
    let Some(behind) = out.iter().rposition(|(name, _)| is(name, "sec-fetch-dest")) else { return };
    if at < behind {
        out[at..=behind].rotate_left(1);
    }
}

/// The value of a template's field that the caller did not give; `None` leaves the field out.
fn field_value(
    name: &HeaderName,
    value: &FieldValue,
    profile: &Profile,
    request: &Request,
    occasion: &HeaderContext<'_>,
) -> Result<Option<HeaderValue>> {
    let text = match value {
        FieldValue::Fixed(value) => return Ok(Some(value.clone())),
        FieldValue::Template(text) => Some(expand_placeholders(text, occasion)),
        FieldValue::FromRequest => request_value(name, profile, request, occasion),
    };
    text.map(|text| HeaderValue::try_from(text).map_err(|_| invalid_header_error(name.as_str()))).transpose()
}

/// A template's value with its places filled.
fn expand_placeholders(value: &str, occasion: &HeaderContext<'_>) -> String {
    let filled = value.replace("{version}", env!("CARGO_PKG_VERSION"));
    filled.replace("{site}", occasion.chain.fetch_site())
}

/// What fills a template's empty place.
fn request_value(
    name: &HeaderName,
    profile: &Profile,
    request: &Request,
    occasion: &HeaderContext<'_>,
) -> Option<String> {
    match *name {
        header::HOST => Some(authority(&request.url)),
        header::CONTENT_LENGTH => match (&request.body, &request.method) {
            (Some(body), _) => Some(body.len().to_string()),
            (None, &(Method::POST | Method::PUT | Method::PATCH)) => Some("0".to_owned()),
            (None, _) => None,
        },
        header::CONTENT_TYPE => {
            request.body.as_ref()?;
            Some(
                match request.context {
                    Context::Fetch | Context::Xhr => "text/plain;charset=UTF-8",
                    Context::Navigation | Context::Reload | Context::Form => {
                        "application/x-www-form-urlencoded"
                    }
                }
                .to_owned(),
            )
        }
        header::REFERER => occasion.chain.referer(),
        header::ORIGIN => {
            let plain = matches!(request.method, Method::GET | Method::HEAD);
            let told =
                !plain || (request.context.is_script() && occasion.chain.fetch_site() != "same-origin");
            told.then(|| occasion.chain.origin()).flatten()
        }
        _ if occasion.hints.is_requested(&request.url, name.as_str()) => {
            profile.hints.get(name.as_str()).cloned()
        }
        _ => None,
    }
}

/// Cookies: one field a pair over HTTP/2, one field in all over HTTP/1.1.
fn push_cookies(
    out: &mut WireHeaders,
    spelled: &Arc<str>,
    own: &mut Vec<(HeaderName, HeaderValue)>,
    occasion: &HeaderContext<'_>,
) -> Result<()> {
    let mut pairs: Vec<Vec<u8>> =
        occasion.cookies.iter().map(|(name, value)| format!("{name}={value}").into_bytes()).collect();
    for (_, value) in own.extract_if(.., |(name, _)| *name == header::COOKIE) {
        pairs.extend(value.as_bytes().split(|byte| *byte == b';').map(|pair| pair.trim_ascii().to_vec()));
    }
    pairs.retain(|pair| !pair.is_empty());
    if pairs.is_empty() {
        return Ok(());
    }
    let values = if occasion.protocol == WireProtocol::Http2 { pairs } else { vec![pairs.join(&b"; "[..])] };
    for value in values {
        let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(value)).map_err(|_| {
            Error::new(ErrorKind::InvalidRequest, "a cookie holds a character that no header may carry")
        })?;
        value.set_sensitive(true);
        out.push((Arc::clone(spelled), value));
    }
    Ok(())
}

/// `host` or `host:port`, as the Host header and `:authority` have it.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// A `Basic` value for user and password.
pub(crate) fn basic_auth(user: &str, password: &str) -> HeaderValue {
    let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
    let mut value =
        HeaderValue::from_str(&format!("Basic {encoded}")).expect("base64 is made of header characters");
    value.set_sensitive(true);
    value
}

fn url_credentials(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some(basic_auth(&decode(url.username()), &decode(url.password().unwrap_or_default())))
}

/// The case of a caller's header in HTTP/1.1: known names in title case, as Chrome writes its own;
/// a script's own stay as they are.
fn title_case(name: &HeaderName, over: WireProtocol) -> Arc<str> {
    let text = name.as_str();
    if over == WireProtocol::Http2 || text.starts_with("x-") || text.starts_with("sec-ch-") {
        return text.into();
    }
    let mut upper = true;
    let shown: String = text
        .chars()
        .map(|c| {
            let shown = if upper { c.to_ascii_uppercase() } else { c };
            upper = c == '-';
            shown
        })
        .collect();
    shown.into()
}

fn is_connection_level(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case("connection")
}

fn invalid_header_error(name: &str) -> Error {
    Error::new(
        ErrorKind::Profile,
        format!("the browser profile's header `{}` cannot be sent", name.escape_debug()),
    )
}

/// Room for as many as a browser sends.
const FIELDS_CAPACITY: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Request;

    const PROFILE: &str = r#"
        schema = 1
        name = "t"
        [provenance]
        browser = "t"
        version = "1"
        channel = "t"
        os = "t"
        captured = "2026-01-01"
        method = "t"
        [tls]
        versions = ["1.3"]
        ciphers = [4865]
        groups = [29]
        key_shares = [29]
        signature_algorithms = [1027]
        alpn = ["h2"]
        extensions = []
        [http2]
        settings = []
        window_update = 0
        pseudo_order = []
        [[headers]]
        context = "navigation"
        over = "h2"
        fields = [["user-agent", "T"], ["accept", "*/*"], ["referer"], ["accept-encoding", "gzip"], ["cookie"], ["priority", "u=0, i"]]
        [[headers]]
        context = "navigation"
        over = "h1"
        fields = [["Host"], ["User-Agent", "T"], ["Content-Length"], ["Accept-Encoding", "gzip"], ["Cookie"]]
    "#;

    fn build_headers(
        over: WireProtocol,
        cookies: &[(&str, &str)],
        change: impl FnOnce(&mut Request),
    ) -> Vec<String> {
        let profile = Profile::from_toml(PROFILE, "t").unwrap();
        let mut request = Request::get(Url::parse("https://user:pw@site.example:8443/p").unwrap());
        change(&mut request);
        let cookies: Vec<_> = cookies.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let (journey, hints) = (RedirectChain::new(&request), ClientHintStore::default());
        let occasion = HeaderContext {
            protocol: over,
            chain: &journey,
            hints: &hints,
            cookies: &cookies,
            proxy_authorization: None,
        };
        let fields = build(&profile, &request, &occasion).unwrap();
        fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn a_callers_header_takes_the_templates_place_and_a_new_one_goes_before_accept_encoding() {
        let got = build_headers(WireProtocol::Http2, &[], |request| {
            request.headers = vec![
                (header::ACCEPT, HeaderValue::from_static("text/html")),
                (HeaderName::from_static("x-mine"), HeaderValue::from_static("1")),
            ];
            request.removed = vec![header::USER_AGENT];
        });
        assert_eq!(
            got,
            [
                "accept: text/html",
                "x-mine: 1",
                "authorization: Basic dXNlcjpwdw==",
                "accept-encoding: gzip",
                "priority: u=0, i"
            ]
        );
    }

    #[test]
    fn a_form_that_is_redirected_is_dressed_even_by_a_profile_of_navigations_only() {
        let profile = Profile::from_toml(PROFILE, "t").unwrap();
        let mut request = Request::get(Url::parse("https://site.example/").unwrap());
        request.context = Context::Form;
        let (mut journey, hints) = (RedirectChain::new(&request), ClientHintStore::default());
        journey.push(&request.url);
        let occasion = HeaderContext {
            protocol: WireProtocol::Http2,
            chain: &journey,
            hints: &hints,
            cookies: &[],
            proxy_authorization: None,
        };
        let fields = build(&profile, &request, &occasion).unwrap();
        assert!(fields.iter().any(|(name, _)| **name == *"user-agent"), "{fields:?}");
    }

    #[test]
    fn cookies_are_split_over_h2_and_joined_over_h1() {
        let own = |request: &mut Request| {
            request.headers = vec![(header::COOKIE, HeaderValue::from_static("c=3; d=4"))];
            request.url.set_username("").unwrap();
            request.url.set_password(None).unwrap();
        };
        let h2 = build_headers(WireProtocol::Http2, &[("a", "1"), ("b", "2")], own);
        assert_eq!(h2[3..7], ["cookie: a=1", "cookie: b=2", "cookie: c=3", "cookie: d=4"]);
        let h1 = build_headers(WireProtocol::Http1, &[("a", "1"), ("b", "2")], own);
        assert_eq!(h1[0], "Host: site.example:8443");
        assert_eq!(h1[3], "Cookie: a=1; b=2; c=3; d=4");
    }
}

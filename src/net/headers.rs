//! Builds request headers from a profile's header template. Pure.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, HeaderValue, Method, header};
use url::Url;

use super::fetch_metadata::RedirectChain;
use super::header_order;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::{Context, DefaultContentType, Request};
use crate::fingerprint::Profile;
use crate::fingerprint::header_template::{CompiledField, FieldValue};
use crate::fingerprint::profile::WireProtocol;
use crate::identity::client_hints::ClientHintStore;

/// Header fields in wire order, with the case they have in HTTP/1.1.
pub(crate) type WireHeaders = Vec<(Arc<str>, HeaderValue)>;

/// The context that determines the headers of a request.
pub(crate) struct HeaderContext<'a> {
    pub(crate) protocol: WireProtocol,
    pub(crate) chain: &'a RedirectChain,
    /// The client hints that the origin requested.
    pub(crate) hints: &'a ClientHintStore,
    pub(crate) cookies: &'a [(String, String)],
    /// `Proxy-Authorization`, for http:// URLs through a proxy.
    pub(crate) proxy_authorization: Option<HeaderValue>,
}

/// Returns the header fields of `request` in the order and case of `profile`.
///
/// A caller's header replaces the template's. A header that the template does not contain goes before
/// `accept-encoding`, where Chrome's network stack begins its own. For scripts, [`header_order`] determines
/// its position. Of several `Host` fields, the first is sent. A caller's `Range` selects the identity coding,
/// since a part of a coded body cannot be decoded (Fetch standard, HTTP-network-or-cache fetch).
pub(crate) fn build(
    profile: &Profile,
    request: &Request,
    context: &HeaderContext<'_>,
) -> Result<WireHeaders> {
    let mut own: Vec<(HeaderName, HeaderValue)> = request.headers.clone();
    let mut has_host = false;
    own.retain(|(name, _)| *name != header::HOST || !std::mem::replace(&mut has_host, true));
    if let Some(value) = own_authorization(request)
        && !own.iter().any(|(name, _)| name == header::AUTHORIZATION)
    {
        own.push((header::AUTHORIZATION, value));
    }
    let is_ranged = own.iter().any(|(name, _)| name == header::RANGE);
    let late_range = take_byte_range(profile, request, &mut own);
    let mut out = WireHeaders::with_capacity(FIELDS_CAPACITY);
    let mut extras_at = None;
    let mut template = select_template(profile, request, context, &own)?;
    let has_cookies = !context.cookies.is_empty() || own.iter().any(|(name, _)| name == header::COOKIE);
    let has = |name: &HeaderName| template.iter().any(|field| field.name == *name);
    if has_cookies && !has(&header::COOKIE) {
        // The template was recorded without cookies. Chrome writes only the priority after them.
        let at = template.len() - usize::from(has(&HeaderName::from_static("priority")));
        let wire_name = title_case(&header::COOKIE, context.protocol);
        template
            .to_mut()
            .insert(at, CompiledField { name: header::COOKIE, wire_name, value: FieldValue::FromRequest });
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
            push_cookies(&mut out, &field.wire_name, &mut own, context)?;
            continue;
        }
        let mut mine: Vec<HeaderValue> =
            own.extract_if(.., |(other, _)| other == name).map(|(_, value)| value).collect();
        if *name == header::REFERER {
            // The caller names the initiator; the referrer policy decides how much of its URL is sent.
            let is_redirecting_page = request.auto_referer && context.chain.is_redirected();
            mine.retain(|page| is_redirecting_page || !context.chain.is_initiator(page));
        }
        if !mine.is_empty() {
            // A script's own headers keep their case.
            let wire_name = if request.context.is_script() {
                request.spelled_name(name).cloned().unwrap_or_else(|| name.as_str().into())
            } else {
                Arc::clone(&field.wire_name)
            };
            out.extend(mine.into_iter().map(|value| (Arc::clone(&wire_name), value)));
        } else if *name == header::CONTENT_TYPE
            && let Some(value) = field_value(name, &FieldValue::FromRequest, profile, request, context)?
        {
            out.push((title_case(name, context.protocol), value));
        } else if is_ranged && *name == header::ACCEPT_ENCODING {
            out.push((Arc::clone(&field.wire_name), HeaderValue::from_static("identity")));
        } else if let Some(value) = field_value(name, &field.value, profile, request, context)? {
            out.push((Arc::clone(&field.wire_name), value));
        }
    }
    let has_length = request.body.is_some() || request.method == Method::POST;
    if has_length && !out.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        // The template was recorded without a body. Chrome writes the length first.
        if let Some(length) =
            field_value(&header::CONTENT_LENGTH, &FieldValue::FromRequest, profile, request, context)?
        {
            let at = out.iter().take_while(|(name, _)| is_connection_level(name)).count();
            out.insert(at, (title_case(&header::CONTENT_LENGTH, context.protocol), length));
            extras_at = extras_at.map(|at| at + 1);
        }
    }
    if context.chain.gains_origin(request) {
        move_origin_after_fetch_metadata(&mut out);
    }
    let at = extras_at.unwrap_or(out.len());
    let mut extras: WireHeaders = context
        .proxy_authorization
        .iter()
        .map(|value| ("Proxy-Authorization".into(), value.clone()))
        .collect();
    extras
        .extend(own.into_iter().map(|(name, value)| (callers_name(request, &name, context.protocol), value)));
    out.splice(at..at, extras);
    if let Some(range) = late_range {
        let at = out.len() - usize::from(out.last().is_some_and(|(name, _)| &**name == "priority"));
        out.insert(at, (title_case(&header::RANGE, context.protocol), range));
    }
    Ok(out)
}

/// Removes the caller's range of bytes if the browser's cache writes it, behind the other fields.
fn take_byte_range(
    profile: &Profile,
    request: &Request,
    own: &mut Vec<(HeaderName, HeaderValue)>,
) -> Option<HeaderValue> {
    let is_cached = profile.browser.is_some() && request.method == Method::GET;
    let is_range = |(name, value): &(HeaderName, HeaderValue)| {
        *name == header::RANGE && value.as_bytes().starts_with(b"bytes=")
    };
    let at = own.iter().position(is_range).filter(|_| is_cached)?;
    Some(own.remove(at).1)
}

/// Returns the fields of a request in order, without request values.
fn select_template<'a>(
    profile: &'a Profile,
    request: &Request,
    context: &HeaderContext<'_>,
    own: &[(HeaderName, HeaderValue)],
) -> Result<Cow<'a, [CompiledField]>> {
    let template = profile
        .headers(request.context, context.protocol, context.chain.is_redirected())
        .or_else(|| profile.headers(Context::Navigation, context.protocol, false));
    let own: Vec<&HeaderName> = own.iter().map(|(name, _)| name).collect();
    let is_requested = |name: &str| context.hints.is_requested(&request.url, name);
    let script = template.filter(|_| request.context.is_script());
    if let Some(fields) = script.and_then(|template| {
        header_order::arrange(profile, template, is_requested, &own, request.body.is_some())
    }) {
        let compiled: Result<Vec<_>, _> = fields.iter().map(CompiledField::from_field).collect();
        return compiled.map(Cow::Owned).map_err(|name| invalid_header_error(&name));
    }
    let hinted = context
        .hints
        .has_any(&request.url)
        .then(|| profile.hinted_headers(request.context, context.protocol));
    let Some(template) = hinted.flatten().or(template) else { return Ok(Cow::Owned(Vec::new())) };
    template.compiled_fields().map(Cow::Borrowed).map_err(invalid_header_error)
}

/// Moves `Origin` after the `sec-fetch-*` fields: Chrome writes it there when a redirect adds it.
fn move_origin_after_fetch_metadata(out: &mut WireHeaders) {
    let is = |name: &str, other: &str| name.eq_ignore_ascii_case(other);
    let Some(at) = out.iter().position(|(name, _)| is(name, "origin")) else { return };
    let Some(behind) = out.iter().rposition(|(name, _)| is(name, "sec-fetch-dest")) else { return };
    if at < behind {
        out[at..=behind].rotate_left(1);
    }
}

/// Returns the value of a template field that the caller did not set; `None` omits the field.
fn field_value(
    name: &HeaderName,
    value: &FieldValue,
    profile: &Profile,
    request: &Request,
    context: &HeaderContext<'_>,
) -> Result<Option<HeaderValue>> {
    let text = match value {
        FieldValue::Fixed(value) => return Ok(Some(value.clone())),
        FieldValue::Template(text) => Some(expand_placeholders(text, context)),
        FieldValue::FromRequest => request_value(name, profile, request, context),
    };
    text.map(|text| HeaderValue::try_from(text).map_err(|_| invalid_header_error(name.as_str()))).transpose()
}

/// Replaces the placeholders in a template value.
fn expand_placeholders(value: &str, context: &HeaderContext<'_>) -> String {
    let text = value.replace("{version}", env!("CARGO_PKG_VERSION"));
    text.replace("{site}", context.chain.fetch_site())
}

/// Returns the value that the request supplies for a template field without one.
fn request_value(
    name: &HeaderName,
    profile: &Profile,
    request: &Request,
    context: &HeaderContext<'_>,
) -> Option<String> {
    match *name {
        header::HOST => Some(authority(&request.url)),
        header::CONTENT_LENGTH => match (&request.body, &request.method) {
            (Some(body), _) => Some(body.length().to_string()),
            (None, &(Method::POST | Method::PUT | Method::PATCH)) => Some("0".to_owned()),
            (None, _) => None,
        },
        header::CONTENT_TYPE => {
            match request.body.as_ref()?.content_type() {
                DefaultContentType::Context => {}
                DefaultContentType::Absent => return None,
                DefaultContentType::Given(value) => return value.to_str().ok().map(ToOwned::to_owned),
            }
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
        header::REFERER => context.chain.referer(),
        header::ORIGIN => {
            let is_get_or_head = matches!(request.method, Method::GET | Method::HEAD);
            let is_sent = !is_get_or_head
                || (request.context.is_script() && context.chain.fetch_site() != "same-origin");
            is_sent.then(|| context.chain.origin()).flatten()
        }
        _ if context.hints.is_requested(&request.url, name.as_str()) => {
            profile.hints.get(name.as_str()).cloned()
        }
        _ => None,
    }
}

/// Appends the cookies: one field per pair over HTTP/2, one field in total over HTTP/1.1.
fn push_cookies(
    out: &mut WireHeaders,
    wire_name: &Arc<str>,
    own: &mut Vec<(HeaderName, HeaderValue)>,
    context: &HeaderContext<'_>,
) -> Result<()> {
    // A cookie without a name is its value alone.
    let pair = |(name, value): &(String, String)| match name.as_str() {
        "" => value.clone().into_bytes(),
        name => format!("{name}={value}").into_bytes(),
    };
    let mut pairs: Vec<Vec<u8>> = context.cookies.iter().map(pair).collect();
    for (_, value) in own.extract_if(.., |(name, _)| *name == header::COOKIE) {
        pairs.extend(value.as_bytes().split(|byte| *byte == b';').map(|pair| pair.trim_ascii().to_vec()));
    }
    pairs.retain(|pair| !pair.is_empty());
    if pairs.is_empty() {
        return Ok(());
    }
    let values = if context.protocol == WireProtocol::Http2 { pairs } else { vec![pairs.join(&b"; "[..])] };
    for value in values {
        let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(value)).map_err(|_| {
            Error::new(
                ErrorKind::InvalidRequest,
                "a cookie contains a character that is not allowed in a header",
            )
        })?;
        value.set_sensitive(true);
        out.push((Arc::clone(wire_name), value));
    }
    Ok(())
}

/// Returns `host` or `host:port`, as in `Host` and `:authority`.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Returns the `Basic` credentials of a user and password.
pub(crate) fn basic_auth(user: &str, password: &str) -> HeaderValue {
    let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
    let mut value =
        HeaderValue::from_str(&format!("Basic {encoded}")).expect("base64 is made of header characters");
    value.set_sensitive(true);
    value
}

/// Returns the answer to the last Digest challenge, else the credentials of the URL.
fn own_authorization(request: &Request) -> Option<HeaderValue> {
    let Some(digest) = &request.digest else { return url_credentials(&request.url) };
    digest.authorization(request.method.as_str(), &origin_form(&request.url))
}

/// Returns the request target: path and query.
pub(crate) fn origin_form(url: &Url) -> String {
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    if target.is_empty() { "/".to_owned() } else { target.to_owned() }
}

/// Returns the request target of a proxied request, without credentials.
pub(crate) fn absolute_form(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), authority(url), origin_form(url))
}

fn url_credentials(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some(basic_auth(&decode(url.username()), &decode(url.password().unwrap_or_default())))
}

/// Returns a caller's header name as spelled. A name in lower case that Chrome may write by itself is in Chrome's case.
fn callers_name(request: &Request, name: &HeaderName, protocol: WireProtocol) -> Arc<str> {
    match request.spelled_name(name) {
        Some(spelled) if protocol != WireProtocol::Http2 => Arc::clone(spelled),
        None if CHROME_NAMES.contains(name) => title_case(name, protocol),
        _ => name.as_str().into(),
    }
}

/// Returns a header name in the case that Chrome has for its own over HTTP/1.1. `x-` and `sec-ch-` names stay as they
/// are.
fn title_case(name: &HeaderName, protocol: WireProtocol) -> Arc<str> {
    let text = name.as_str();
    if protocol == WireProtocol::Http2 || text.starts_with("x-") || text.starts_with("sec-ch-") {
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
        format!("the header `{}` of the browser profile is invalid", name.escape_debug()),
    )
}

/// Names that Chrome's network stack writes by itself, for some requests.
const CHROME_NAMES: [HeaderName; 20] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::DNT,
    header::HOST,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::ORIGIN,
    header::PRAGMA,
    header::RANGE,
    header::REFERER,
    header::TE,
    header::UPGRADE_INSECURE_REQUESTS,
    header::USER_AGENT,
];

/// The initial capacity: about as many fields as a browser sends.
const FIELDS_CAPACITY: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::request::Request;

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
        protocol: WireProtocol,
        cookies: &[(&str, &str)],
        change: impl FnOnce(&mut Request),
    ) -> Vec<String> {
        let profile = Profile::from_toml(PROFILE, "t").unwrap();
        let mut request = Request::get(Url::parse("https://user:pw@site.example:8443/p").unwrap());
        change(&mut request);
        let cookies: Vec<_> = cookies.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let (chain, hints) = (RedirectChain::new(&request), ClientHintStore::default());
        let context = HeaderContext {
            protocol,
            chain: &chain,
            hints: &hints,
            cookies: &cookies,
            proxy_authorization: None,
        };
        let fields = build(&profile, &request, &context).unwrap();
        fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn a_callers_header_replaces_the_templates_and_a_new_one_goes_before_accept_encoding() {
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
    fn a_redirected_form_uses_the_navigation_template_when_the_profile_has_no_other() {
        let profile = Profile::from_toml(PROFILE, "t").unwrap();
        let mut request = Request::get(Url::parse("https://site.example/").unwrap());
        request.context = Context::Form;
        let (mut chain, hints) = (RedirectChain::new(&request), ClientHintStore::default());
        chain.push(&request.url);
        let context = HeaderContext {
            protocol: WireProtocol::Http2,
            chain: &chain,
            hints: &hints,
            cookies: &[],
            proxy_authorization: None,
        };
        let fields = build(&profile, &request, &context).unwrap();
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

    /// Builds the headers of a GET with the caller's `fields` as the current profile sends it.
    fn chrome_headers(context: Context, protocol: WireProtocol, fields: &[(&str, &str)]) -> Vec<String> {
        let profile = Profile::named("chrome-156-linux").unwrap();
        let mut request = Request::get(Url::parse("https://site.example/p").unwrap());
        request.context = context;
        for (name, value) in fields {
            request.push_header(name, name.parse().unwrap(), value.parse().unwrap());
        }
        let (chain, hints) = (RedirectChain::new(&request), ClientHintStore::default());
        let context =
            HeaderContext { protocol, chain: &chain, hints: &hints, cookies: &[], proxy_authorization: None };
        let fields = build(&profile, &request, &context).unwrap();
        fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn a_callers_header_is_sent_as_spelled_over_h1() {
        let own = [
            ("SOAPAction", "a"),
            ("x-API-key", "b"),
            ("lower", "c"),
            ("authorization", "d"),
            ("USER-agent", "e"),
        ];
        let h1 = chrome_headers(Context::Navigation, WireProtocol::Http1, &own);
        // A field that Chrome writes has Chrome's spelling.
        for line in ["SOAPAction: a", "x-API-key: b", "lower: c", "Authorization: d", "User-Agent: e"] {
            assert!(h1.iter().any(|shown| shown == line), "{line}: {h1:?}");
        }
        let script = chrome_headers(
            Context::Fetch,
            WireProtocol::Http1,
            &[("SOAPAction", "a"), ("accept", "x/y"), ("aUthorization", "k")],
        );
        for line in ["SOAPAction: a", "accept: x/y", "aUthorization: k"] {
            assert!(script.iter().any(|shown| shown == line), "{line}: {script:?}");
        }
        let h2 = chrome_headers(Context::Navigation, WireProtocol::Http2, &own);
        assert!(h2.iter().any(|shown| shown == "soapaction: a"), "{h2:?}");
    }

    #[test]
    fn the_first_of_several_hosts_is_sent() {
        let h1 = chrome_headers(
            Context::Navigation,
            WireProtocol::Http1,
            &[("Host", "one"), ("host", "two"), ("HOST", "three")],
        );
        let hosts: Vec<&String> =
            h1.iter().filter(|line| line.to_ascii_lowercase().starts_with("host:")).collect();
        assert_eq!(hosts, ["Host: one"]);
    }

    /// The positions are those of the installed Chromium.
    #[test]
    fn a_range_asks_for_no_coding_and_is_written_last() {
        for context in [Context::Navigation, Context::Fetch, Context::Xhr] {
            let h1 = chrome_headers(context, WireProtocol::Http1, &[("range", "bytes=0-9")]);
            assert!(h1.contains(&"Accept-Encoding: identity".to_owned()), "{context:?} {h1:?}");
            assert_eq!(h1.last().map(String::as_str), Some("Range: bytes=0-9"), "{context:?} {h1:?}");
            let h2 = chrome_headers(context, WireProtocol::Http2, &[("Range", "bytes=0-9")]);
            assert_eq!(h2[h2.len() - 2..].first().map(String::as_str), Some("range: bytes=0-9"), "{h2:?}");
            assert!(h2.contains(&"accept-encoding: identity".to_owned()), "{h2:?}");
        }
        let script = chrome_headers(Context::Fetch, WireProtocol::Http1, &[("Range", "lines=1-2")]);
        let at = |name: &str| script.iter().position(|line| line.starts_with(name)).unwrap();
        assert!(at("Range: lines=1-2") < at("Sec-Fetch-Site"), "it is no range of bytes: {script:?}");
        let own = [("Range", "bytes=0-9"), ("Accept-Encoding", "gzip")];
        let chosen = chrome_headers(Context::Navigation, WireProtocol::Http1, &own);
        assert!(chosen.contains(&"Accept-Encoding: gzip".to_owned()), "{chosen:?}");
    }
}

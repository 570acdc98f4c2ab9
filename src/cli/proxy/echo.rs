//! Parses the response of an echo URL: the address of the client and its country.

use std::net::IpAddr;

use serde_json::Value;

/// A parsed response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EchoReply {
    pub(super) ip: IpAddr,
    /// Two capital letters if the response has a country code, else its text, truncated.
    pub(super) country: Option<String>,
}

/// Parses a bare address, or JSON. The address is under `ip`, `origin` or `query`, the country under `country_code`,
/// `countryCode` or `country`.
pub(super) fn parse(body: &str) -> Option<EchoReply> {
    let body = body.trim();
    if let Some(ip) = parse_address(body) {
        return Some(EchoReply { ip, country: None });
    }
    let json: Value = serde_json::from_str(body).ok()?;
    let text = |names: [&str; 3]| {
        names
            .into_iter()
            .find_map(|name| json.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty()))
    };
    let ip = parse_address(text(["ip", "origin", "query"])?)?;
    let country = text(["country_code", "countryCode", "country"]).map(|name| {
        let is_code = name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_alphabetic());
        if is_code { name.to_ascii_uppercase() } else { name.chars().take(MAX_NAME_CHARS).collect() }
    });
    Some(EchoReply { ip, country })
}

/// Parses the first of a list of addresses. The others are those of intermediate proxies.
fn parse_address(text: &str) -> Option<IpAddr> {
    text.split(',').next()?.trim().trim_matches(['[', ']']).parse().ok()
}

/// The maximum length of a country name.
const MAX_NAME_CHARS: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_common_echo_sites_are_parsed() {
        for (body, ip, country) in [
            ("203.0.113.9\n", "203.0.113.9", None),
            ("2001:db8::1", "2001:db8::1", None),
            (r#"{"ip":"203.0.113.9"}"#, "203.0.113.9", None),
            (r#"{"origin": "203.0.113.9, 10.0.0.1"}"#, "203.0.113.9", None),
            (r#"{"query":"203.0.113.9","country":"Germany","countryCode":"de"}"#, "203.0.113.9", Some("DE")),
            (r#"{"ip":"203.0.113.9","country":"Germany"}"#, "203.0.113.9", Some("Germany")),
            (r#"{"ip":"[::1]","country_code":"US","country":""}"#, "::1", Some("US")),
        ] {
            let expected = EchoReply { ip: ip.parse().unwrap(), country: country.map(str::to_owned) };
            assert_eq!(parse(body), Some(expected), "{body}");
        }
        for body in
            ["", "hello", "<html>", "{}", r#"{"ip":"here"}"#, r#"{"ip":7}"#, "[\"203.0.113.9\"]", "999.1.1.1"]
        {
            assert_eq!(parse(body), None, "{body}");
        }
        let long = format!(r#"{{"ip":"::1","country":"{}"}}"#, "x".repeat(1000));
        assert_eq!(parse(&long).unwrap().country.unwrap().len(), MAX_NAME_CHARS);
    }
}

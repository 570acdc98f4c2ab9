//! The `Host` field of a request for metrics.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The host that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostName {
    /// An IP address or `localhost`. A web page of another site cannot have it as its own name.
    Local,
    /// Any other DNS name.
    Other,
}

/// Parses the `Host` fields of a request. There must be exactly one: a DNS name in ASCII, an IPv4 address or an IPv6
/// address in brackets, optionally with a port from 1 to 65535. Returns `None` for any other form.
pub(super) fn parse<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> Option<HostName> {
    let field = std::str::from_utf8(fields.next()?).ok()?;
    if fields.next().is_some() {
        return None;
    }
    if let Some(rest) = field.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let is_valid =
            address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port.strip_prefix(':')?));
        return is_valid.then_some(HostName::Local);
    }
    let name = match field.split_once(':') {
        Some((name, port)) => is_port(port).then_some(name)?,
        None => field,
    };
    if name.parse::<Ipv4Addr>().is_ok() || name.eq_ignore_ascii_case("localhost") {
        return Some(HostName::Local);
    }
    is_dns_name(name).then_some(HostName::Other)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Whether it is a name of labels without a dot at the end. A last label of digits would be a short or octal IPv4
/// address, such as `127.1`, which clients read in several ways.
fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(is_label) && !last.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_plain_host_is_accepted() {
        for (field, expected) in [
            ("localhost", Some(HostName::Local)),
            ("LOCALHOST:9100", Some(HostName::Local)),
            ("127.0.0.1:9100", Some(HostName::Local)),
            ("[::1]", Some(HostName::Local)),
            ("[::1]:65535", Some(HostName::Local)),
            ("box.example:9100", Some(HostName::Other)),
            ("my_box", Some(HostName::Other)),
            ("localhost.evil.example", Some(HostName::Other)),
            ("", None),
            ("user@localhost", None),
            ("user:password@localhost:80", None),
            ("localhost:", None),
            ("localhost:0", None),
            ("localhost:65536", None),
            ("localhost:+80", None),
            ("localhost:80:80", None),
            ("localhost:http", None),
            ("localhost.", None),
            ("localhost.:9100", None),
            ("127.0.0.1.", None),
            ("127.1", None),
            ("0x7f.0.0.1", None),
            ("0177.0.0.01", None),
            ("2130706433", None),
            ("0x7f000001", None),
            ("::1", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[::1]:", None),
            ("[::1]:0", None),
            ("[fe80::1%25eth0]", None),
            ("[127.0.0.1]", None),
            ("[[::1]]", None),
            ("localhost%00", None),
            ("%6cocalhost", None),
            ("b\u{fc}cher.example", None),
            ("localhost\u{3002}", None),
            ("localhost/", None),
            ("localhost\\", None),
            ("localhost,evil.example", None),
            ("local host", None),
            ("a..example", None),
            ("-a.example", None),
            ("*", None),
        ] {
            assert_eq!(parse([field.as_bytes()].into_iter()), expected, "{field}");
        }
        assert_eq!(parse([].into_iter()), None);
        assert_eq!(parse([&b"localhost"[..], b"localhost"].into_iter()), None);
        assert_eq!(parse([&b"localhost\xff"[..]].into_iter()), None);
        assert_eq!(parse(["a".repeat(64).as_bytes()].into_iter()), None);
    }
}

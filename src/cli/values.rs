//! Parses values of arguments. Errors name the flag.

use std::net::IpAddr;
use std::time::Duration;

use rungs::Error;
use rungs::target::{ByteSize, HumanDuration};

use super::exit::Failure;

pub(crate) fn parse_resolve(text: &str) -> Result<(String, u16, IpAddr), Failure> {
    let read = || {
        let (host, rest) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once("]:")?;
            (host, rest)
        } else {
            text.split_once(':')?
        };
        let (port, address) = rest.split_once(':')?;
        let address = address.trim_matches(['[', ']']).parse().ok()?;
        (!host.is_empty()).then_some((host.to_owned(), port.parse().ok()?, address))
    };
    read().ok_or_else(|| {
        let shown = text.escape_debug();
        Failure::Usage(format!(
            "--resolve: `{shown}` is not HOST:PORT:ADDR, as in site.example:443:127.0.0.1"
        ))
    })
}

pub(crate) fn parse_seconds(flag: &str, text: &str) -> Result<Duration, Failure> {
    let value = text.parse::<f64>().ok().filter(|value| *value > 0.0);
    value.and_then(|value| Duration::try_from_secs_f64(value).ok()).ok_or_else(|| {
        Failure::Usage(format!("{flag}: `{}` is not a number of seconds above 0", text.escape_debug()))
    })
}

/// Parses a time with a unit, or a number of seconds.
pub(crate) fn parse_time(flag: &str, text: &str) -> Result<HumanDuration, Failure> {
    let seconds = || parse_seconds(flag, text).map(HumanDuration);
    text.parse().or_else(|reason| seconds().map_err(|_| Failure::Usage(format!("{flag}: {reason}"))))
}

pub(crate) fn parse_size(flag: &str, text: &str) -> Result<ByteSize, Failure> {
    text.parse().map_err(|reason| Failure::Usage(format!("{flag}: {reason}")))
}

pub(crate) fn flag_error(flag: &str, error: &Error) -> Failure {
    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    Failure::Usage(format!("{flag}: {}{hint}", error.chain()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolve_accepts_names_wildcard_and_both_address_families() {
        for (text, host, port, address) in [
            ("a.example:443:127.0.0.1", "a.example", 443, "127.0.0.1"),
            ("*:80:::1", "*", 80, "::1"),
            ("a.example:443:[::1]", "a.example", 443, "::1"),
        ] {
            let expected = (host.to_owned(), port, address.parse().unwrap());
            assert_eq!(parse_resolve(text).unwrap(), expected, "{text}");
        }
        for text in ["a.example", "a.example:443", "a.example:x:127.0.0.1", ":1:127.0.0.1", "a:1:b"] {
            assert_eq!(parse_resolve(text).unwrap_err().code(), 2, "{text}");
        }
    }

    #[test]
    fn sizes_and_seconds_have_units_and_limits() {
        assert_eq!(parse_size("f", "10k").unwrap(), ByteSize(10240));
        assert_eq!(parse_size("f", "1G").unwrap(), ByteSize(1 << 30));
        assert_eq!(parse_seconds("f", "0.5").unwrap(), Duration::from_millis(500));
        for text in ["", "k", "-1", "1T", "99999999999G"] {
            assert!(parse_size("f", text).is_err(), "{text}");
        }
        for text in ["0", "-1", "soon", "inf", "NaN"] {
            assert!(parse_seconds("f", text).is_err(), "{text}");
        }
    }
}

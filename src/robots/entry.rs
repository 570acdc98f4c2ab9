//! What the answer to a request for robots.txt means, and for how long (RFC 9309, section 2.3). Pure.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use url::Url;

use super::Rules;
use crate::error::Error;
use crate::error_kind::ErrorKind;

/// What is known of one origin's robots.txt.
#[derive(Clone, Debug)]
pub(crate) enum RobotsEntry {
    /// It says this, or there is none, which allows everything.
    Rules(Rules),
    /// It cannot be had, which forbids everything until it can: why.
    Unreachable(String),
}

impl RobotsEntry {
    /// What an answer with this status and body says.
    pub(super) fn from_response(status: StatusCode, body: &[u8]) -> Self {
        match status.as_u16() {
            200..300 => Self::Rules(Rules::parse(body)),
            // Too many requests is no word on the file.
            429 | 500.. => Self::Unreachable(format!("the site answered {}", status.as_u16())),
            _ => Self::Rules(Rules::allow_all()),
        }
    }

    /// What it says when no answer came. `Err` when that is not the site's doing.
    pub(super) fn from_error(error: Error) -> Result<Self, Error> {
        match error.kind() {
            // Redirected too often, in a circle or to where nobody may be led: as if it were not there.
            ErrorKind::Redirect => Ok(Self::Rules(Rules::allow_all())),
            ErrorKind::Dns
            | ErrorKind::Connect
            | ErrorKind::Tls
            | ErrorKind::Timeout
            | ErrorKind::Protocol
            | ErrorKind::Decode => Ok(Self::Unreachable(error.chain())),
            _ => Err(error),
        }
    }

    /// Whether `url` may be fetched; `file` is where the rules are from.
    ///
    /// # Errors
    /// [`ErrorKind::Robots`] naming the rule and the file.
    pub(crate) fn check(&self, url: &Url, file: &Url) -> Result<(), Error> {
        let message = match self {
            Self::Rules(rules) => match rules.find_disallow(url) {
                None => return Ok(()),
                Some(rule) => format!("robots.txt forbids it: {rule} in {file}"),
            },
            Self::Unreachable(why) => {
                format!("robots.txt cannot be had, which forbids everything until it can: {file}: {why}")
            }
        };
        let error = Error::new(ErrorKind::Robots, message)
            .with_hint("`--robots ignore` does not ask; the trace says so");
        Err(match self {
            Self::Rules(_) => error,
            // By this a caller knows that it may pass.
            Self::Unreachable(why) => error.with_source(Error::new(ErrorKind::Connect, why.as_str())),
        })
    }

    /// The time to leave between two requests, if the file names one.
    pub(crate) fn crawl_delay(&self) -> Duration {
        match self {
            Self::Rules(rules) => rules.crawl_delay().unwrap_or_default(),
            Self::Unreachable(_) => Duration::ZERO,
        }
    }
}

/// How long an answer with these headers holds.
pub(super) fn lifetime(headers: &HeaderMap) -> Duration {
    let lines = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    for directive in lines.flat_map(|line| line.split(',')).map(str::trim) {
        if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") {
            return MIN_LIFETIME;
        }
        if let Some((name, age)) = directive.split_once('=')
            && name.trim().eq_ignore_ascii_case("max-age")
            && let Ok(seconds) = age.trim().trim_matches('"').parse()
        {
            return Duration::from_secs(seconds).clamp(MIN_LIFETIME, MAX_LIFETIME);
        }
    }
    DEFAULT_LIFETIME
}

/// How long a file holds when it does not say.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);
/// However short it says.
pub(super) const MIN_LIFETIME: Duration = Duration::from_secs(60);
/// However long it says (RFC 9309, section 2.4).
pub(super) const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_whether_there_are_rules_none_or_a_full_disallow() {
        let url: Url = "https://a.example/x".parse().unwrap();
        let file: Url = "https://a.example/robots.txt".parse().unwrap();
        let forbidding = b"User-agent: *\nDisallow: /x";
        for (status, allowed) in [
            (200, false),
            (206, false),
            (304, true),
            (401, true),
            (403, true),
            (404, true),
            (410, true),
            (429, false),
            (500, false),
            (503, false),
            (599, false),
        ] {
            let known = RobotsEntry::from_response(StatusCode::from_u16(status).unwrap(), forbidding);
            let permit = known.check(&url, &file);
            assert_eq!(permit.is_ok(), allowed, "{status}");
            if let Err(error) = permit {
                assert_eq!(error.kind(), ErrorKind::Robots);
                let told = error.to_string();
                let why = if status < 300 {
                    "`Disallow: /x` (User-agent: *)".to_owned()
                } else {
                    status.to_string()
                };
                assert!(told.contains(&why) && told.contains("https://a.example/robots.txt"), "{told}");
                assert!(error.hint().is_some_and(|hint| hint.contains("--robots ignore")));
            }
        }
    }

    #[test]
    fn a_site_that_cannot_be_reached_forbids_and_a_proxy_that_cannot_is_its_own_error() {
        for (kind, expected) in [
            (ErrorKind::Connect, Some(false)),
            (ErrorKind::Timeout, Some(false)),
            (ErrorKind::Protocol, Some(false)),
            (ErrorKind::Redirect, Some(true)),
            (ErrorKind::Proxy, None),
            (ErrorKind::Blocked, None),
        ] {
            let allowed = match RobotsEntry::from_error(Error::new(kind, "broken")) {
                Ok(RobotsEntry::Rules(_)) => Some(true),
                Ok(RobotsEntry::Unreachable(_)) => Some(false),
                Err(error) => {
                    assert_eq!(error.kind(), kind);
                    None
                }
            };
            assert_eq!(allowed, expected, "{kind}");
        }
    }

    #[test]
    fn it_holds_an_hour_or_as_long_as_it_says_within_bounds() {
        for (value, seconds) in [
            (None, 3600),
            (Some("max-age=7200"), 7200),
            (Some("public, Max-Age = \"600\""), 600),
            (Some("max-age=1"), 60),
            (Some("max-age=31536000"), 24 * 3600),
            (Some("max-age=soon"), 3600),
            (Some("no-cache, max-age=7200"), 60),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::CACHE_CONTROL, value.parse().unwrap());
            }
            assert_eq!(lifetime(&headers).as_secs(), seconds, "{value:?}");
        }
    }
}

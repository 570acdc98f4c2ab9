//! Digest access authentication (RFC 7616, and RFC 2069 for servers without `qop`).

use std::fmt::{self, Write as _};
use std::sync::Mutex;

use http::{HeaderMap, HeaderName, HeaderValue};
use md5::Md5;
use rand::RngExt;
use sha2::{Digest as _, Sha256, Sha512_256};

use crate::os::sync::lock_unpoisoned;
use crate::text::hex;
use crate::text::quoted_string;
use crate::text::redact::Secret;

/// A user and a password, and the last challenge of the server. `Debug` shows neither.
pub(crate) struct DigestAuth {
    user: String,
    password: Secret,
    /// The challenge, and how many requests were sent with its nonce.
    challenge: Mutex<Option<(Challenge, u32)>>,
}

impl DigestAuth {
    pub(crate) fn new(user: impl Into<String>, password: Secret) -> Self {
        Self { user: user.into(), password, challenge: Mutex::default() }
    }

    /// Returns the user and the password, for a browser that answers challenges itself.
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "only the browser tier reads it"))]
    pub(crate) fn credentials(&self) -> (&str, &Secret) {
        (&self.user, &self.password)
    }

    /// Returns the value of `Authorization` for a request. `None` before the first challenge.
    pub(crate) fn authorization(&self, method: &str, uri: &str) -> Option<HeaderValue> {
        let mut random = [0_u8; 16];
        rand::rng().fill(&mut random);
        let mut challenge = lock_unpoisoned(&self.challenge);
        let (challenge, count) = challenge.as_mut()?;
        *count = count.saturating_add(1);
        let text = challenge.answer(self, (method, uri), *count, &hex::encode(&random));
        let mut value = HeaderValue::try_from(text.into_bytes()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Stores the challenge in the field `name` of a response. Returns whether the request may be sent again: the first
    /// time, and when the server calls the nonce stale.
    pub(crate) fn accept(&self, headers: &HeaderMap, name: &HeaderName, is_first: bool) -> bool {
        let values = headers.get_all(name).iter().take(MAX_FIELDS);
        let parsed: Vec<Challenge> =
            values.flat_map(|value| parse_challenges(&String::from_utf8_lossy(value.as_bytes()))).collect();
        let Some(challenge) = parsed.into_iter().max_by_key(|challenge| challenge.algorithm.strength) else {
            return false;
        };
        let may_repeat = is_first || challenge.stale;
        *lock_unpoisoned(&self.challenge) = Some((challenge, 0));
        may_repeat
    }
}

impl fmt::Debug for DigestAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestAuth(***)")
    }
}

/// A challenge of the scheme Digest that can be answered.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    /// Whether the server's challenge names an algorithm.
    names_algorithm: bool,
    /// Whether the server offers `qop=auth`.
    has_qop: bool,
    stale: bool,
    userhash: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Algorithm {
    name: &'static str,
    strength: u8,
    is_session: bool,
}

impl Algorithm {
    fn hash(self, text: &str) -> String {
        match self.strength {
            0 => hex::encode(&Md5::digest(text)),
            1 => hex::encode(&Sha512_256::digest(text)),
            _ => hex::encode(&Sha256::digest(text)),
        }
    }
}

impl Challenge {
    /// Builds a challenge. `None` if it cannot be answered.
    fn from_parameters(parameters: &[(String, String)]) -> Option<Self> {
        let get = |name: &str| {
            let found = parameters.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        let is_true = |name: &str| get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let named = get("algorithm");
        let algorithm = ALGORITHMS
            .iter()
            .find(|algorithm| algorithm.name.eq_ignore_ascii_case(named.as_deref().unwrap_or("MD5")))?;
        let qop = get("qop");
        let has_qop = match &qop {
            None => false,
            // Without `auth` only `auth-int` is left, which is not supported.
            Some(list) => {
                list.split(',').any(|item| item.trim().eq_ignore_ascii_case("auth")).then_some(true)?
            }
        };
        Some(Self {
            realm: get("realm").unwrap_or_default(),
            nonce: get("nonce")?,
            opaque: get("opaque"),
            algorithm: *algorithm,
            names_algorithm: named.is_some(),
            has_qop,
            stale: is_true("stale"),
            userhash: is_true("userhash"),
        })
    }

    /// Returns the credentials for a request with this method and request target.
    fn answer(
        &self,
        auth: &DigestAuth,
        (method, uri): (&str, &str),
        count: u32,
        client_nonce: &str,
    ) -> String {
        let hash = |text: &str| self.algorithm.hash(text);
        let (user, realm, nonce) = (&auth.user, &self.realm, &self.nonce);
        let mut secret = hash(&format!("{user}:{realm}:{}", auth.password.expose()));
        if self.algorithm.is_session {
            secret = hash(&format!("{secret}:{nonce}:{client_nonce}"));
        }
        let request = hash(&format!("{method}:{uri}"));
        let response = if self.has_qop {
            hash(&format!("{secret}:{nonce}:{count:08x}:{client_nonce}:auth:{request}"))
        } else {
            hash(&format!("{secret}:{nonce}:{request}"))
        };
        let shown = if self.userhash { hash(&format!("{user}:{realm}")) } else { quote(user) };
        let mut text = format!(
            "Digest username=\"{shown}\", realm=\"{}\", nonce=\"{}\", uri=\"{}\", ",
            quote(realm),
            quote(nonce),
            quote(uri)
        );
        if self.has_qop || self.algorithm.is_session {
            let _ = write!(text, "cnonce=\"{client_nonce}\", ");
        }
        if self.has_qop {
            let _ = write!(text, "nc={count:08x}, qop=auth, ");
        }
        let _ = write!(text, "response=\"{response}\"");
        if let Some(opaque) = &self.opaque {
            let _ = write!(text, ", opaque=\"{}\"", quote(opaque));
        }
        if self.names_algorithm {
            let _ = write!(text, ", algorithm={}", self.algorithm.name);
        }
        if self.userhash {
            text.push_str(", userhash=true");
        }
        text
    }
}

fn quote(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Returns the Digest challenges of a field value, which may list challenges of several schemes.
fn parse_challenges(value: &str) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    let mut current: Option<Vec<(String, String)>> = None;
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find(|c: char| " \t,=\"".contains(c)).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        let following = after.trim_start_matches([' ', '\t']);
        if let Some(value) = following.strip_prefix('=').filter(|_| !token.is_empty()) {
            let (value, after) = parse_value(value.trim_start_matches([' ', '\t']));
            if let Some(parameters) = current.as_mut().filter(|parameters| parameters.len() < MAX_PARAMETERS)
            {
                parameters.push((token.to_owned(), value));
            }
            rest = after;
            continue;
        }
        // The name of a scheme, or the end, completes the challenge before it.
        challenges.extend(current.take().and_then(|parameters| Challenge::from_parameters(&parameters)));
        if token.is_empty() {
            return challenges;
        }
        current = token.eq_ignore_ascii_case("digest").then(Vec::new);
        rest = after;
    }
}

/// Parses a token or a quoted string. Returns the value and the text after it.
fn parse_value(text: &str) -> (String, &str) {
    quoted_string::parse(text).unwrap_or_else(|| {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        (text[..end].to_owned(), &text[end..])
    })
}

const ALGORITHMS: [Algorithm; 6] = [
    Algorithm { name: "MD5", strength: 0, is_session: false },
    Algorithm { name: "MD5-sess", strength: 0, is_session: true },
    Algorithm { name: "SHA-512-256", strength: 1, is_session: false },
    Algorithm { name: "SHA-512-256-sess", strength: 1, is_session: true },
    Algorithm { name: "SHA-256", strength: 2, is_session: false },
    Algorithm { name: "SHA-256-sess", strength: 2, is_session: true },
];
/// Limits of what is read of a response.
const MAX_FIELDS: usize = 16;
const MAX_PARAMETERS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7616, section 3.9.1.
    const CHALLENGE: &str = "Basic realm=\"x\", Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
        algorithm=SHA-256, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
        opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\", Digest realm=\"http-auth@example.org\", \
        qop=\"auth, auth-int\", algorithm=MD5, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
        opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

    #[test]
    fn answers_equal_the_examples_of_the_rfc() {
        let auth = DigestAuth::new("Mufasa", Secret::new("Circle of Life"));
        let nonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let challenges = parse_challenges(CHALLENGE);
        assert_eq!(challenges.len(), 2);
        for (challenge, response) in challenges.iter().zip([
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            "8ca523f5e9506fed4657c9700eebdbec",
        ]) {
            let text = challenge.answer(&auth, ("GET", "/dir/index.html"), 1, nonce);
            assert!(text.contains(&format!("response=\"{response}\"")), "{text}");
            assert!(text.contains("nc=00000001, qop=auth") && text.contains("opaque=\"FQhe/"), "{text}");
        }
    }

    #[test]
    fn without_qop_the_old_form_is_used() {
        let auth = DigestAuth::new("Mufasa", Secret::new("Circle Of Life"));
        // RFC 2069's form with the values of RFC 2617, section 3.5.
        let value = "digest realm=testrealm@host.com,nonce = \"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        let text = parse_challenges(value)[0].answer(&auth, ("GET", "/dir/index.html"), 1, "0a4f113b");
        assert!(text.contains("response=\"670fd8c2df070c60b045671b8b24ff02\""), "{text}");
        assert!(!text.contains("qop") && !text.contains("cnonce") && !text.contains("algorithm"), "{text}");
    }

    #[test]
    fn a_challenge_that_cannot_be_answered_is_ignored() {
        for value in [
            "",
            "Digest",
            "Digest realm=\"x\"",
            "Digest nonce=\"n\", algorithm=SHA-1",
            "Digest nonce=\"n\", qop=\"auth-int\"",
            "Basic nonce=\"n\"",
            "Negotiate abc==, ==\"\"",
            "Digest \"nonce=\"",
        ] {
            assert_eq!(parse_challenges(value), [], "{value}");
        }
    }

    #[test]
    fn a_second_refusal_is_final_unless_the_nonce_is_stale() {
        let auth = DigestAuth::new("u", Secret::new("p"));
        let accept = |value: &str, is_first| {
            let name = http::header::WWW_AUTHENTICATE;
            let mut headers = HeaderMap::new();
            headers.insert(&name, HeaderValue::from_str(value).unwrap());
            auth.accept(&headers, &name, is_first)
        };
        assert!(auth.authorization("GET", "/").is_none());
        assert!(accept("Digest nonce=\"a\\\"b\", qop=auth", true));
        let value = auth.authorization("GET", "/").unwrap();
        assert!(value.to_str().unwrap().contains("nonce=\"a\\\"b\""));
        assert!(auth.authorization("GET", "/").unwrap().to_str().unwrap().contains("nc=00000002"));
        assert!(!accept("Digest nonce=\"c\"", false));
        assert!(accept("Digest nonce=\"c\", stale=TRUE", false));
        assert_eq!(format!("{auth:?}"), "DigestAuth(***)");
    }
}

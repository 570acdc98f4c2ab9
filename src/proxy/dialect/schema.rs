//! A dialect as its file writes it: every key. `profiles/proxies/README.md` tells them to users.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::proxy::ProxyScheme;
use crate::units::HumanDuration;

/// The version of the dialect format this build reads.
pub(super) const SCHEMA: u32 = 1;

/// A dialect's file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "A rungs proxy dialect")]
pub(super) struct DialectFile {
    /// The format's version: 1.
    pub(super) schema: u32,
    /// The name it is asked for by, equal to its file's stem.
    pub(super) name: String,
    /// Other names for the same.
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    /// The provider's name, as it writes it.
    pub(super) title: String,
    /// When a request without a session gets another exit.
    pub(super) rotation: GatewayRotation,
    /// Where the provider's gateway is. Without it, one must be given with each ask.
    pub(super) gateway: Option<Gateway>,
    /// How user name and password are put together.
    #[serde(default)]
    pub(super) credentials: CredentialLayout,
    /// How the exit's country is written.
    pub(super) country: Option<ParameterFormat>,
    /// How the exit's state or region is written.
    pub(super) state: Option<ParameterFormat>,
    /// How the exit's city is written.
    pub(super) city: Option<ParameterFormat>,
    /// How the exit's postal code is written.
    pub(super) zip: Option<ParameterFormat>,
    /// How the number of the exit's network is written.
    pub(super) asn: Option<ParameterFormat>,
    /// How the exit's internet provider is written.
    pub(super) isp: Option<ParameterFormat>,
    /// How a session is written. Without it, the provider has none.
    pub(super) session: Option<SessionParameter>,
    /// How a session's length is written. Without it, none can be asked for.
    pub(super) ttl: Option<TtlParameter>,
    /// Where all this is known from.
    pub(super) provenance: DialectProvenance,
}

/// When a request without a session gets another exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum GatewayRotation {
    /// With every connection to the gateway: requests on one share an exit.
    Connection,
    /// With every request, though the connection stays.
    Request,
    /// Nothing is known: the exit may stay.
    None,
}

impl GatewayRotation {
    /// As a dialect's file has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Request => "request",
            Self::None => "none",
        }
    }
}

impl fmt::Display for GatewayRotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where the gateway is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Gateway {
    /// How it is spoken to. Default: http.
    #[serde(default)]
    pub(super) scheme: GatewayScheme,
    /// Its name or address.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
    /// The port for requests with a session, where that is another.
    pub(super) sticky_port: Option<u16>,
}

/// How a gateway is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum GatewayScheme {
    /// HTTP.
    #[default]
    Http,
    /// HTTP inside TLS.
    Https,
    /// SOCKS5; names are resolved here.
    Socks5,
    /// SOCKS5; the gateway resolves names.
    Socks5h,
}

impl From<GatewayScheme> for ProxyScheme {
    fn from(scheme: GatewayScheme) -> Self {
        match scheme {
            GatewayScheme::Http => Self::Http,
            GatewayScheme::Https => Self::Https,
            GatewayScheme::Socks5 => Self::Socks5,
            GatewayScheme::Socks5h => Self::Socks5h,
        }
    }
}

/// How user name and password are put together.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CredentialLayout {
    /// Which of the two carries the wishes. Default: user.
    pub(super) place: CredentialField,
    /// What stands before the account's own user name or password. Default: nothing.
    pub(super) prefix: String,
    /// What the account's own name must contain, for providers that put several things into it.
    pub(super) contains: String,
    /// What stands before the first part. Default: the separator.
    pub(super) first_separator: Option<String>,
    /// What stands before each part.
    pub(super) separator: String,
    /// What stands between a part's word and its value.
    pub(super) link: String,
    /// The parts, in the order in which they are written: each part that has a table.
    pub(super) order: Vec<Parameter>,
}

/// Which half of the credentials carries the wishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum CredentialField {
    /// The user name.
    #[default]
    User,
    /// The password.
    Password,
}

impl CredentialField {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::User => "user name",
            Self::Password => "password",
        }
    }
}

/// One thing that can be asked of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Parameter {
    /// The exit's country.
    Country,
    /// The exit's state or region.
    State,
    /// The exit's city.
    City,
    /// The exit's postal code.
    Zip,
    /// The number of the exit's network.
    Asn,
    /// The exit's internet provider.
    Isp,
    /// One exit for several requests.
    Session,
    /// How long a session lasts.
    Ttl,
}

impl Parameter {
    /// All of them.
    pub(super) const ALL: [Self; 8] =
        [Self::Country, Self::State, Self::City, Self::Zip, Self::Asn, Self::Isp, Self::Session, Self::Ttl];

    /// The name of its table.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Country => "country",
            Self::State => "state",
            Self::City => "city",
            Self::Zip => "zip",
            Self::Asn => "asn",
            Self::Isp => "isp",
            Self::Session => "session",
            Self::Ttl => "ttl",
        }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a place is written: `word`, link, `prefix`, value.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ParameterFormat {
    /// What stands before the value. Default: nothing, and no link either.
    pub(super) word: String,
    /// What stands between word and value. Default: `credentials.link`.
    pub(super) link: Option<String>,
    /// The value's case. Default: as it was asked for.
    pub(super) case: LetterCase,
    /// What spaces become, the empty text included. Default: a value with spaces is refused.
    pub(super) spaces: Option<String>,
    /// What stands right before the value. `{country}` and `{state}` stand for those of the ask;
    /// `[…]` is left out when what it names was not asked for. Default: nothing.
    pub(super) prefix: String,
    /// The letters a value is made of, once it is spelled: single ones and ranges, as in `a-z0-9`.
    /// Default: `A-Za-z0-9`. What spaces become is allowed besides.
    pub(super) letters: Option<String>,
    /// The most letters of a value. Default: 64.
    pub(super) max: Option<usize>,
    /// Values the provider calls otherwise, as in `gb = "uk"`: in lower case, with their spaces.
    pub(super) names: BTreeMap<String, String>,
    /// What is written when nothing is asked for. Default: the part is left out.
    pub(super) unasked: Option<String>,
    /// What must be asked for along with it.
    pub(super) needs: Vec<Parameter>,
    /// What cannot be asked for along with it.
    pub(super) not_with: Vec<Parameter>,
    /// Parts that are not written where this one is, for it says their values too.
    pub(super) replaces: Vec<Parameter>,
    /// The only countries it works with, two letters each. Default: all.
    pub(super) countries: Vec<String>,
}

/// The case of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum LetterCase {
    /// As it was asked for.
    #[default]
    Keep,
    /// Lower case.
    Lower,
    /// Upper case.
    Upper,
}

/// How a session is written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionParameter {
    /// What stands before the id. Default: nothing, and no link either.
    #[serde(default)]
    pub(super) word: String,
    /// What stands between word and id. Default: `credentials.link`.
    pub(super) link: Option<String>,
    /// The letters an id is made of: single ones and ranges, as in `A-Za-z0-9_`.
    pub(super) letters: String,
    /// The letters an id begins with. Default: all of `letters`.
    pub(super) first: Option<String>,
    /// The fewest letters of an id.
    pub(super) min: usize,
    /// The most letters of an id.
    pub(super) max: usize,
    /// After how long without a request the provider forgets a session. Default: nothing is known.
    pub(super) idle: Option<HumanDuration>,
    /// What is written when no session is asked for. Default: the part is left out.
    pub(super) unasked: Option<String>,
    /// What must be asked for along with it.
    #[serde(default)]
    pub(super) needs: Vec<Parameter>,
}

/// How the length of a session is written. It always needs a session.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TtlParameter {
    /// What stands before the length.
    pub(super) word: String,
    /// What stands between word and length. Default: `credentials.link`.
    pub(super) link: Option<String>,
    /// What the length is counted in.
    pub(super) unit: TtlUnit,
    /// The shortest.
    pub(super) min: HumanDuration,
    /// The longest.
    pub(super) max: HumanDuration,
    /// How long a session lasts when nothing is asked for. Default: nothing is known.
    pub(super) default: Option<HumanDuration>,
}

/// What a session's length is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TtlUnit {
    /// A number of seconds.
    Seconds,
    /// A number of minutes.
    Minutes,
    /// A number with a letter: `90s`, `30m`, `2h`, in the largest unit that is even.
    Lettered,
}

impl TtlUnit {
    /// How many seconds a length must be a whole number of.
    pub(super) const fn granularity(self) -> u64 {
        match self {
            Self::Seconds | Self::Lettered => 1,
            Self::Minutes => 60,
        }
    }

    /// What the grain is called.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Seconds | Self::Lettered => "seconds",
            Self::Minutes => "minutes",
        }
    }

    /// A length that is a whole number of its grain.
    pub(super) fn format_seconds(self, seconds: u64) -> String {
        match self {
            Self::Seconds => seconds.to_string(),
            Self::Minutes => (seconds / 60).to_string(),
            Self::Lettered if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
            Self::Lettered if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
            Self::Lettered => format!("{seconds}s"),
        }
    }
}

/// Where a dialect is known from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DialectProvenance {
    /// Who says so: the pages that were read, or what was tried.
    pub(super) source: String,
    /// When it was last looked at, `YYYY-MM` or `YYYY-MM-DD`.
    pub(super) seen: String,
    /// The keys whose values are not the provider's own word, as in `zip` or `ttl.max`; `*` for all.
    #[serde(default)]
    pub(super) third_party: Vec<String>,
    /// What else is worth knowing.
    pub(super) note: Option<String>,
}

impl DialectFile {
    /// How a place is written, where the provider can be asked for it.
    pub(super) const fn parameter_format(&self, wish: Parameter) -> Option<&ParameterFormat> {
        match wish {
            Parameter::Country => self.country.as_ref(),
            Parameter::State => self.state.as_ref(),
            Parameter::City => self.city.as_ref(),
            Parameter::Zip => self.zip.as_ref(),
            Parameter::Asn => self.asn.as_ref(),
            Parameter::Isp => self.isp.as_ref(),
            Parameter::Session | Parameter::Ttl => None,
        }
    }

    /// Whether the provider can be asked for it.
    pub(super) const fn supports(&self, wish: Parameter) -> bool {
        match wish {
            Parameter::Session => self.session.is_some(),
            Parameter::Ttl => self.ttl.is_some(),
            _ => self.parameter_format(wish).is_some(),
        }
    }

    /// What stands before a part's value: its word and its link.
    pub(super) fn label(&self, wish: Parameter) -> String {
        let (word, link) = match wish {
            Parameter::Session => self.session.as_ref().map(|session| (&session.word, &session.link)),
            Parameter::Ttl => self.ttl.as_ref().map(|ttl| (&ttl.word, &ttl.link)),
            _ => self.parameter_format(wish).map(|part| (&part.word, &part.link)),
        }
        .unzip();
        match word.map(String::as_str) {
            None | Some("") => String::new(),
            Some(word) => {
                let link = link.and_then(Option::as_ref).unwrap_or(&self.credentials.link);
                format!("{word}{link}")
            }
        }
    }

    /// What is written for a part that nobody asked for.
    pub(super) fn default_text(&self, wish: Parameter) -> Option<&str> {
        match wish {
            Parameter::Session => self.session.as_ref()?.unasked.as_deref(),
            Parameter::Ttl => None,
            _ => self.parameter_format(wish)?.unasked.as_deref(),
        }
    }

    /// What must be asked for along with it.
    pub(super) fn required_parameters(&self, wish: Parameter) -> &[Parameter] {
        match wish {
            Parameter::Session => self.session.as_ref().map_or(&[], |session| session.needs.as_slice()),
            Parameter::Ttl => &[Parameter::Session],
            _ => self.parameter_format(wish).map_or(&[], |part| part.needs.as_slice()),
        }
    }

    /// What stands before the first part.
    pub(super) fn first_separator(&self) -> &str {
        self.credentials.first_separator.as_deref().unwrap_or(&self.credentials.separator)
    }
}

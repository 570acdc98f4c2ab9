//! The file format of a dialect: every key. `profiles/proxies/README.md` documents them for users.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::proxy::ProxyScheme;
use crate::settings::units::HumanDuration;

/// The version of the dialect format that this build reads.
pub(super) const SCHEMA: u32 = 1;

/// A dialect's file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "A rungs proxy dialect")]
pub(super) struct DialectFile {
    /// The version of the format: 1.
    pub(super) schema: u32,
    /// The name of the dialect: the file name without `.toml`.
    pub(super) name: String,
    /// Other names of the dialect.
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    /// The provider's name.
    pub(super) title: String,
    /// When a request without a session gets another exit address.
    pub(super) rotation: GatewayRotation,
    /// The address of the provider's gateway. Without it, each request for credentials must name one.
    pub(super) gateway: Option<Gateway>,
    /// The layout of user name and password.
    #[serde(default)]
    pub(super) credentials: CredentialLayout,
    /// The format of the exit address's country.
    pub(super) country: Option<ParameterFormat>,
    /// The format of the exit address's state or region.
    pub(super) state: Option<ParameterFormat>,
    /// The format of the exit address's city.
    pub(super) city: Option<ParameterFormat>,
    /// The format of the exit address's postal code.
    pub(super) zip: Option<ParameterFormat>,
    /// The format of the exit address's AS number.
    pub(super) asn: Option<ParameterFormat>,
    /// The format of the exit address's internet provider.
    pub(super) isp: Option<ParameterFormat>,
    /// The format of a session. Without it, the provider has no sessions.
    pub(super) session: Option<SessionParameter>,
    /// The format of a session's lifetime. Without it, the lifetime cannot be requested.
    pub(super) ttl: Option<TtlParameter>,
    /// The source of this file.
    pub(super) provenance: DialectProvenance,
}

/// When a request without a session gets another exit address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum GatewayRotation {
    /// With every connection to the gateway: requests on one connection share an exit address.
    Connection,
    /// With every request, also on the same connection.
    Request,
    /// Not known: the exit address may stay the same.
    None,
}

impl GatewayRotation {
    /// The name in a dialect's file.
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

/// The address of a gateway.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Gateway {
    /// The protocol. Default: http.
    #[serde(default)]
    pub(super) scheme: GatewayScheme,
    /// The host name or address.
    pub(super) host: String,
    /// The port.
    pub(super) port: u16,
    /// The port for requests with a session. Default: `port`.
    pub(super) sticky_port: Option<u16>,
}

/// The protocol of a gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum GatewayScheme {
    /// HTTP.
    #[default]
    Http,
    /// HTTP inside TLS.
    Https,
    /// SOCKS5; rungs resolves names.
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

/// The layout of user name and password.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CredentialLayout {
    /// The field that carries the parameters. Default: user.
    pub(super) place: CredentialField,
    /// The text before the account's own user name or password. Default: empty.
    pub(super) prefix: String,
    /// The text that the account's own name must contain. Default: empty.
    pub(super) contains: String,
    /// The text before the first part. Default: the separator.
    pub(super) first_separator: Option<String>,
    /// The text before each part.
    pub(super) separator: String,
    /// The text between a part's word and its value.
    pub(super) link: String,
    /// The parts that have a table, in the order in which they are written.
    pub(super) order: Vec<Parameter>,
}

/// The field of the credentials that carries the parameters.
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

/// A parameter that a provider supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Parameter {
    /// The exit address's country.
    Country,
    /// The exit address's state or region.
    State,
    /// The exit address's city.
    City,
    /// The exit address's postal code.
    Zip,
    /// The exit address's AS number.
    Asn,
    /// The exit address's internet provider.
    Isp,
    /// One exit address for several requests.
    Session,
    /// The lifetime of a session.
    Ttl,
}

impl Parameter {
    /// All parameters.
    pub(super) const ALL: [Self; 8] =
        [Self::Country, Self::State, Self::City, Self::Zip, Self::Asn, Self::Isp, Self::Session, Self::Ttl];

    /// The name of the parameter's table.
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

/// The format of a location parameter: `word`, link, `prefix`, value.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ParameterFormat {
    /// The text before the value. Default: empty, and no link.
    pub(super) word: String,
    /// The text between word and value. Default: `credentials.link`.
    pub(super) link: Option<String>,
    /// The letter case of the value. Default: keep.
    pub(super) case: LetterCase,
    /// The replacement for spaces; empty removes them. Default: a value with spaces is refused.
    pub(super) spaces: Option<String>,
    /// The text directly before the value. `{country}` and `{state}` are replaced by the requested values. Text in
    /// `[…]` is omitted if a parameter in it is not requested. Default: empty.
    pub(super) prefix: String,
    /// The characters of a value after all replacements: single characters and ranges, as in `a-z0-9`. The
    /// replacement for spaces is allowed too. Default: `A-Za-z0-9`.
    pub(super) letters: Option<String>,
    /// The maximum number of characters. Default: 64.
    pub(super) max: Option<usize>,
    /// Values that the provider writes differently, as in `gb = "uk"`: in lower case, with spaces.
    pub(super) names: BTreeMap<String, String>,
    /// The text if the part is not requested. Default: the part is omitted.
    pub(super) unasked: Option<String>,
    /// The parts that must be requested together with this one.
    pub(super) needs: Vec<Parameter>,
    /// The parts that cannot be requested together with this one.
    pub(super) not_with: Vec<Parameter>,
    /// The parts that are omitted if this one is written, because it contains their values.
    pub(super) replaces: Vec<Parameter>,
    /// The only countries that support this part, as two-letter codes. Default: all.
    pub(super) countries: Vec<String>,
}

/// The letter case of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum LetterCase {
    /// As requested.
    #[default]
    Keep,
    /// Lower case.
    Lower,
    /// Upper case.
    Upper,
}

/// The format of a session.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionParameter {
    /// The text before the id. Default: empty, and no link.
    #[serde(default)]
    pub(super) word: String,
    /// The text between word and id. Default: `credentials.link`.
    pub(super) link: Option<String>,
    /// The characters of an id: single characters and ranges, as in `A-Za-z0-9_`.
    pub(super) letters: String,
    /// The characters that an id may begin with. Default: `letters`.
    pub(super) first: Option<String>,
    /// The minimum length of an id.
    pub(super) min: usize,
    /// The maximum length of an id.
    pub(super) max: usize,
    /// The time without a request after which the provider ends a session. Default: not known.
    pub(super) idle: Option<HumanDuration>,
    /// The text if no session is requested. Default: the part is omitted.
    pub(super) unasked: Option<String>,
    /// The parts that must be requested together with a session.
    #[serde(default)]
    pub(super) needs: Vec<Parameter>,
}

/// The format of a session's lifetime. It always needs a session.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TtlParameter {
    /// The text before the lifetime.
    pub(super) word: String,
    /// The text between word and lifetime. Default: `credentials.link`.
    pub(super) link: Option<String>,
    /// The unit of the lifetime.
    pub(super) unit: TtlUnit,
    /// The minimum lifetime.
    pub(super) min: HumanDuration,
    /// The maximum lifetime.
    pub(super) max: HumanDuration,
    /// The lifetime of a session if none is requested. Default: not known.
    pub(super) default: Option<HumanDuration>,
}

/// The unit of a session's lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TtlUnit {
    /// A number of seconds.
    Seconds,
    /// A number of minutes.
    Minutes,
    /// A number with a letter: `90s`, `30m`, `2h`, in the largest unit that divides the value.
    Lettered,
}

impl TtlUnit {
    /// The unit in seconds: a lifetime must be a multiple of it.
    pub(super) const fn granularity(self) -> u64 {
        match self {
            Self::Seconds | Self::Lettered => 1,
            Self::Minutes => 60,
        }
    }

    /// The name of the unit.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Seconds | Self::Lettered => "seconds",
            Self::Minutes => "minutes",
        }
    }

    /// Formats a lifetime that is a multiple of the unit.
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

/// The source of a dialect.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DialectProvenance {
    /// The pages or experiments that the values come from.
    pub(super) source: String,
    /// When the source was last checked, `YYYY-MM` or `YYYY-MM-DD`.
    pub(super) seen: String,
    /// The keys whose values are not documented by the provider, such as `zip` or `ttl.max`; `*` for all.
    #[serde(default)]
    pub(super) third_party: Vec<String>,
    /// A note.
    pub(super) note: Option<String>,
}

impl DialectFile {
    /// Returns the format of a location parameter, if the provider supports it.
    pub(super) const fn parameter_format(&self, parameter: Parameter) -> Option<&ParameterFormat> {
        match parameter {
            Parameter::Country => self.country.as_ref(),
            Parameter::State => self.state.as_ref(),
            Parameter::City => self.city.as_ref(),
            Parameter::Zip => self.zip.as_ref(),
            Parameter::Asn => self.asn.as_ref(),
            Parameter::Isp => self.isp.as_ref(),
            Parameter::Session | Parameter::Ttl => None,
        }
    }

    /// Whether the provider supports this parameter.
    pub(super) const fn supports(&self, parameter: Parameter) -> bool {
        match parameter {
            Parameter::Session => self.session.is_some(),
            Parameter::Ttl => self.ttl.is_some(),
            _ => self.parameter_format(parameter).is_some(),
        }
    }

    /// Returns the text before a part's value: word and link.
    pub(super) fn label(&self, parameter: Parameter) -> String {
        let (word, link) = match parameter {
            Parameter::Session => self.session.as_ref().map(|session| (&session.word, &session.link)),
            Parameter::Ttl => self.ttl.as_ref().map(|ttl| (&ttl.word, &ttl.link)),
            _ => self.parameter_format(parameter).map(|part| (&part.word, &part.link)),
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

    /// Returns the text of a part that was not requested.
    pub(super) fn default_text(&self, parameter: Parameter) -> Option<&str> {
        match parameter {
            Parameter::Session => self.session.as_ref()?.unasked.as_deref(),
            Parameter::Ttl => None,
            _ => self.parameter_format(parameter)?.unasked.as_deref(),
        }
    }

    /// Returns the parameters that must be requested together with this one.
    pub(super) fn required_parameters(&self, parameter: Parameter) -> &[Parameter] {
        match parameter {
            Parameter::Session => self.session.as_ref().map_or(&[], |session| session.needs.as_slice()),
            Parameter::Ttl => &[Parameter::Session],
            _ => self.parameter_format(parameter).map_or(&[], |part| part.needs.as_slice()),
        }
    }

    /// Returns the text before the first part.
    pub(super) fn first_separator(&self) -> &str {
        self.credentials.first_separator.as_deref().unwrap_or(&self.credentials.separator)
    }
}

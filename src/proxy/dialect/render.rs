//! Renders a request into credentials.

use std::collections::BTreeMap;
use std::time::Duration;

use super::request::CredentialRequest;
use super::schema::{CredentialField, Parameter};
use super::{Dialect, config_error};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::proxy::{Proxy, ProxyScheme};
use crate::settings::units::HumanDuration;
use crate::text::redact::Secret;

impl Dialect {
    /// Returns the proxy for a request: the gateway, with the parameters written into user name or password.
    ///
    /// ```
    /// use rungs::{CredentialRequest, Dialect, GeoTarget, Secret};
    ///
    /// let dialect = Dialect::find("decodo", None)?;
    /// let geo = GeoTarget::default().country("de");
    /// let request = CredentialRequest::new("jane", Secret::new("s3cret")).geo(geo).session("abc");
    /// let proxy = dialect.render(&request)?;
    /// assert_eq!(proxy.credentials().map(|(user, _)| user), Some("user-jane-country-de-session-abc"));
    /// # Ok::<(), rungs::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the parameter that the dialect cannot write, and its limits.
    pub fn render(&self, request: &CredentialRequest) -> Result<Proxy> {
        let values = self.encode_values(request)?;
        self.check_combinations(&values)?;
        let parts = self.render_parameters(&values)?;
        let carrier = match self.file.credentials.place {
            CredentialField::User => request.user.as_str(),
            CredentialField::Password => request.password.expose(),
        };
        let whole = self.join_parameters(carrier, &parts)?;
        let (user, password) = match self.file.credentials.place {
            CredentialField::User => (whole, request.password.clone()),
            CredentialField::Password => (request.user.clone(), Secret::new(whole)),
        };
        let mut proxy = self.select_gateway(request)?;
        self.check_credentials(&proxy, &user, &password)?;
        let has_none = user.is_empty() && password.expose().is_empty();
        proxy.credentials = (!has_none).then_some((user, password));
        Ok(proxy)
    }

    /// Returns the lifetime of a session: `requested`, else the provider's default. `None` if that is not known.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the limits if the dialect cannot request this lifetime.
    pub fn lifetime(&self, requested: Option<Duration>) -> Result<Option<Duration>> {
        match requested {
            Some(requested) => self.ttl_seconds(requested).map(|seconds| Some(Duration::from_secs(seconds))),
            None => Ok(self.file.ttl.as_ref().and_then(|ttl| ttl.default).map(|span| span.0)),
        }
    }

    /// Encodes the values of all requested parameters.
    pub(super) fn encode_values(&self, request: &CredentialRequest) -> Result<BTreeMap<Parameter, String>> {
        let mut values = BTreeMap::new();
        for parameter in Parameter::ALL {
            let Some(value) = request.geo.get(parameter) else { continue };
            let Some(encoder) = self.encoders.get(&parameter) else {
                return Err(self.unsupported_parameter_error(parameter));
            };
            let value = encoder.encode(parameter, value).map_err(|reason| {
                config_error(format!("the dialect `{}`: `{parameter}`: {reason}", self.name()))
            })?;
            values.insert(parameter, value);
        }
        if let Some(id) = &request.session {
            let Some(ids) = &self.session_ids else {
                return Err(self.unsupported_parameter_error(Parameter::Session));
            };
            if let Some(reason) = ids.find_error(id) {
                return Err(config_error(format!("the dialect `{}`: {reason}", self.name())));
            }
            values.insert(Parameter::Session, id.clone());
        }
        if let Some(requested) = request.ttl {
            let seconds = self.ttl_seconds(requested)?;
            let Some(ttl) = &self.file.ttl else {
                return Err(self.unsupported_parameter_error(Parameter::Ttl));
            };
            values.insert(Parameter::Ttl, ttl.unit.format_seconds(seconds));
        }
        Ok(values)
    }

    /// Checks `needs`, `not_with` and `countries` of the requested parameters.
    fn check_combinations(&self, values: &BTreeMap<Parameter, String>) -> Result<()> {
        let name = self.name();
        for parameter in values.keys() {
            if let Some(needed) =
                self.file.required_parameters(*parameter).iter().find(|needed| !values.contains_key(*needed))
            {
                let message =
                    format!("the dialect `{name}` supports `{parameter}` only together with `{needed}`");
                return Err(
                    config_error(message).with_hint(format!("request `{needed}` too, or omit `{parameter}`"))
                );
            }
            let Some(part) = self.file.parameter_format(*parameter) else { continue };
            if let Some(other) = part.not_with.iter().find(|other| values.contains_key(*other)) {
                let message = format!("the dialect `{name}` cannot combine `{parameter}` and `{other}`");
                return Err(config_error(message).with_hint(format!("omit `{parameter}` or `{other}`")));
            }
            if !part.countries.is_empty() && !self.is_in_countries(&part.countries, values) {
                let all = part.countries.join(", ");
                let message =
                    format!("the dialect `{name}` supports `{parameter}` only in these countries: {all}");
                return Err(config_error(message)
                    .with_hint(format!("request one of them as `country`, or omit `{parameter}`")));
            }
        }
        Ok(())
    }

    fn is_in_countries(&self, countries: &[String], values: &BTreeMap<Parameter, String>) -> bool {
        let Some(requested) = values.get(&Parameter::Country) else { return false };
        let Some(encoder) = self.encoders.get(&Parameter::Country) else { return false };
        countries.iter().any(|code| encoder.encode(Parameter::Country, code).as_ref() == Ok(requested))
    }

    /// Returns the parts in their order, without the separators.
    fn render_parameters(&self, values: &BTreeMap<Parameter, String>) -> Result<Vec<String>> {
        let replaced: Vec<Parameter> = values
            .keys()
            .filter_map(|parameter| self.file.parameter_format(*parameter))
            .flat_map(|part| part.replaces.iter().copied())
            .collect();
        let mut parts = Vec::new();
        for parameter in &self.file.credentials.order {
            if replaced.contains(parameter) {
                continue;
            }
            let label = self.file.label(*parameter);
            if let Some(value) = values.get(parameter) {
                let prefix = self.render_prefix(*parameter, values)?;
                parts.push(format!("{label}{prefix}{value}"));
            } else if let Some(value) = self.file.default_text(*parameter) {
                parts.push(format!("{label}{value}"));
            }
        }
        Ok(parts)
    }

    pub(super) fn render_prefix(
        &self,
        parameter: Parameter,
        values: &BTreeMap<Parameter, String>,
    ) -> Result<String> {
        let (Some(prefix), Some(encoder)) = (self.prefixes.get(&parameter), self.encoders.get(&parameter))
        else {
            return Ok(String::new());
        };
        let filled = prefix.fill(|other| values.get(&other).map(String::as_str)).map_err(|missing| {
            let message = format!(
                "the dialect `{}` supports `{parameter}` only together with `{missing}`",
                self.name()
            );
            config_error(message).with_hint(format!("request `{missing}` too, or omit `{parameter}`"))
        })?;
        Ok(encoder.apply_case(&filled))
    }

    /// Appends the parts to the account's own text.
    fn join_parameters(&self, own: &str, parts: &[String]) -> Result<String> {
        let (name, credentials) = (self.name(), &self.file.credentials);
        // A name copied from the provider's panel already begins with the prefix.
        let own = own.strip_prefix(&credentials.prefix).filter(|rest| !rest.is_empty()).unwrap_or(own);
        let field = credentials.place.name();
        if own.is_empty() && !(credentials.prefix.is_empty() && parts.is_empty()) {
            return Err(config_error(format!("the dialect `{name}` needs the account's {field}")));
        }
        if !own.contains(&credentials.contains) {
            let message =
                format!("the dialect `{name}` needs a {field} that contains `{}`", credentials.contains);
            return Err(config_error(message));
        }
        if let Some(part) = self.find_embedded_parameter(own) {
            let message = format!("the account's {field} already contains a part (`{part}`)");
            return Err(config_error(format!("the dialect `{name}`: {message}"))
                .with_hint("give the account's own name, and request the parameters separately"));
        }
        let mut whole = format!("{}{own}", credentials.prefix);
        for (at, part) in parts.iter().enumerate() {
            whole.push_str(if at == 0 { self.file.first_separator() } else { &credentials.separator });
            whole.push_str(part);
        }
        Ok(whole)
    }

    /// Returns the text in the account's own name that the provider would parse as a part.
    fn find_embedded_parameter(&self, own: &str) -> Option<String> {
        let first = self.file.first_separator();
        self.file.credentials.order.iter().find_map(|parameter| {
            let marker = format!("{first}{}", self.file.label(*parameter));
            // The separator that follows may complete a marker. A part without a word has only the separator.
            let text = if marker == first { own.to_owned() } else { format!("{own}{first}") };
            text.contains(&marker).then_some(marker)
        })
    }

    fn select_gateway(&self, request: &CredentialRequest) -> Result<Proxy> {
        if let Some(gateway) = &request.gateway {
            if gateway.credentials.is_some() {
                let message = format!("the gateway {gateway} contains credentials");
                return Err(config_error(message)
                    .with_hint("give the account's user and password separately, not in the gateway"));
            }
            return Ok(gateway.clone());
        }
        let Some(mut gateway) = self.gateway() else {
            let message = format!("the dialect `{}` has no gateway", self.name());
            return Err(config_error(message)
                .with_hint("give your account's gateway, as in http://gate.example:7000"));
        };
        if let (Some(port), Some(_)) =
            (self.file.gateway.as_ref().and_then(|gateway| gateway.sticky_port), &request.session)
        {
            gateway.port = port;
        }
        Ok(gateway)
    }

    /// Checks that the credentials can be sent to a proxy of this protocol.
    fn check_credentials(&self, proxy: &Proxy, user: &str, password: &Secret) -> Result<()> {
        let name = self.name();
        let longest = match proxy.scheme() {
            // RFC 1929 has one byte for the length.
            ProxyScheme::Socks4 | ProxyScheme::Socks4a | ProxyScheme::Socks5 | ProxyScheme::Socks5h => 255,
            ProxyScheme::Http | ProxyScheme::Https => 1024,
        };
        for (field, text) in [("user name", user), ("password", password.expose())] {
            if text.chars().any(char::is_control) {
                return Err(config_error(format!(
                    "the dialect `{name}`: the {field} contains a control character"
                )));
            }
            if text.len() > longest {
                let scheme = proxy.scheme().name();
                let message =
                    format!("the {field} is longer than {longest} bytes, the limit of a {scheme} proxy");
                return Err(config_error(format!("the dialect `{name}`: {message}")));
            }
        }
        if user.is_empty() && !password.expose().is_empty() {
            return Err(config_error(format!("the dialect `{name}` needs the account's user name")));
        }
        if user.contains(':') {
            return Err(config_error(format!("the dialect `{name}`: a user name must not contain `:`")));
        }
        Ok(())
    }

    /// Returns the lifetime in seconds if the dialect can request it.
    fn ttl_seconds(&self, requested: Duration) -> Result<u64> {
        let Some(ttl) = &self.file.ttl else { return Err(self.unsupported_parameter_error(Parameter::Ttl)) };
        let (name, unit) = (self.name(), ttl.unit);
        if requested < ttl.min.0 || requested > ttl.max.0 {
            let (requested, min, max) = (HumanDuration(requested), ttl.min, ttl.max);
            return Err(config_error(format!(
                "the dialect `{name}` allows `ttl` from {min} to {max}, not {requested}"
            )));
        }
        if requested.subsec_nanos() != 0 || !requested.as_secs().is_multiple_of(unit.granularity()) {
            let (requested, unit) = (HumanDuration(requested), unit.name());
            return Err(config_error(format!(
                "the dialect `{name}` allows `ttl` in whole {unit} only, not {requested}"
            )));
        }
        Ok(requested.as_secs())
    }

    fn unsupported_parameter_error(&self, parameter: Parameter) -> Error {
        let known: Vec<&str> = self.parameters().collect();
        let supported = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
        let message = format!("the dialect `{}` does not support `{parameter}`", self.name());
        Error::new(ErrorKind::Config, message).with_hint(format!("it supports: {supported}"))
    }
}

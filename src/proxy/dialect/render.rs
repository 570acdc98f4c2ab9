//! Wishes into credentials.

use std::collections::BTreeMap;
use std::time::Duration;

use super::request::CredentialRequest;
use super::schema::{CredentialField, Parameter};
use super::{Dialect, config_error};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::proxy::{Proxy, ProxyScheme};
use crate::redact::Secret;
use crate::units::HumanDuration;

impl Dialect {
    /// The proxy that the provider wants for what is asked: its gateway, with the wishes written into user
    /// name or password.
    ///
    /// ```
    /// use rungs::{Ask, Dialect, Geo, Secret};
    ///
    /// let dialect = Dialect::find("decodo", None)?;
    /// let ask = Ask::new("jane", Secret::new("s3cret")).geo(Geo::default().country("de")).session("abc");
    /// let proxy = dialect.render(&ask)?;
    /// assert_eq!(proxy.credentials().map(|(user, _)| user), Some("user-jane-country-de-session-abc"));
    /// # Ok::<(), rungs::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`] saying what the dialect cannot express, and its bounds.
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
        let are_none = user.is_empty() && password.expose().is_empty();
        proxy.credentials = (!are_none).then_some((user, password));
        Ok(proxy)
    }

    /// How long a session lasts: as long as `wanted`, else as long as the provider keeps it by itself.
    /// `None` when that is not known.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the dialect cannot ask for `wanted`, with its bounds.
    pub fn lifetime(&self, requested: Option<Duration>) -> Result<Option<Duration>> {
        match requested {
            Some(wanted) => self.ttl_seconds(wanted).map(|seconds| Some(Duration::from_secs(seconds))),
            None => Ok(self.file.ttl.as_ref().and_then(|ttl| ttl.default).map(|span| span.0)),
        }
    }

    /// Every wish's value, spelled.
    pub(super) fn encode_values(&self, ask: &CredentialRequest) -> Result<BTreeMap<Parameter, String>> {
        let mut values = BTreeMap::new();
        for wish in Parameter::ALL {
            let Some(value) = ask.geo.get(wish) else { continue };
            let Some(speller) = self.encoders.get(&wish) else {
                return Err(self.unsupported_parameter_error(wish));
            };
            let value = speller
                .encode(wish, value)
                .map_err(|why| config_error(format!("the dialect `{}`: `{wish}`: {why}", self.name())))?;
            values.insert(wish, value);
        }
        if let Some(id) = &ask.session {
            let Some(ids) = &self.session_ids else {
                return Err(self.unsupported_parameter_error(Parameter::Session));
            };
            if let Some(why) = ids.find_error(id) {
                return Err(config_error(format!("the dialect `{}`: {why}", self.name())));
            }
            values.insert(Parameter::Session, id.clone());
        }
        if let Some(wanted) = ask.ttl {
            let seconds = self.ttl_seconds(wanted)?;
            let Some(ttl) = &self.file.ttl else {
                return Err(self.unsupported_parameter_error(Parameter::Ttl));
            };
            values.insert(Parameter::Ttl, ttl.unit.format_seconds(seconds));
        }
        Ok(values)
    }

    /// What must be asked for together, and what cannot be.
    fn check_combinations(&self, values: &BTreeMap<Parameter, String>) -> Result<()> {
        let name = self.name();
        for wish in values.keys() {
            if let Some(needed) =
                self.file.required_parameters(*wish).iter().find(|needed| !values.contains_key(*needed))
            {
                let message = format!("the dialect `{name}` takes `{wish}` only together with `{needed}`");
                return Err(
                    config_error(message).with_hint(format!("ask for `{needed}` too, or leave `{wish}` out"))
                );
            }
            let Some(part) = self.file.parameter_format(*wish) else { continue };
            if let Some(other) = part.not_with.iter().find(|other| values.contains_key(*other)) {
                let message = format!("the dialect `{name}` cannot take `{wish}` and `{other}` together");
                return Err(config_error(message).with_hint(format!("leave out `{wish}` or `{other}`")));
            }
            if !part.countries.is_empty() && !self.is_in_countries(&part.countries, values) {
                let all = part.countries.join(", ");
                let message = format!("the dialect `{name}` takes `{wish}` only in these countries: {all}");
                return Err(config_error(message)
                    .with_hint(format!("ask for one of them as `country`, or leave `{wish}` out")));
            }
        }
        Ok(())
    }

    fn is_in_countries(&self, countries: &[String], values: &BTreeMap<Parameter, String>) -> bool {
        let Some(asked) = values.get(&Parameter::Country) else { return false };
        let Some(speller) = self.encoders.get(&Parameter::Country) else { return false };
        countries.iter().any(|code| speller.encode(Parameter::Country, code).as_ref() == Ok(asked))
    }

    /// The parts, in their order, without what stands between them.
    fn render_parameters(&self, values: &BTreeMap<Parameter, String>) -> Result<Vec<String>> {
        let replaced: Vec<Parameter> = values
            .keys()
            .filter_map(|wish| self.file.parameter_format(*wish))
            .flat_map(|part| part.replaces.iter().copied())
            .collect();
        let mut parts = Vec::new();
        for wish in &self.file.credentials.order {
            if replaced.contains(wish) {
                continue;
            }
            let lead = self.file.label(*wish);
            if let Some(value) = values.get(wish) {
                let prefix = self.render_prefix(*wish, values)?;
                parts.push(format!("{lead}{prefix}{value}"));
            } else if let Some(value) = self.file.default_text(*wish) {
                parts.push(format!("{lead}{value}"));
            }
        }
        Ok(parts)
    }

    pub(super) fn render_prefix(
        &self,
        wish: Parameter,
        values: &BTreeMap<Parameter, String>,
    ) -> Result<String> {
        let (Some(prefix), Some(speller)) = (self.prefixes.get(&wish), self.encoders.get(&wish)) else {
            return Ok(String::new());
        };
        let filled = prefix.fill(|other| values.get(&other).map(String::as_str)).map_err(|missing| {
            let message =
                format!("the dialect `{}` takes `{wish}` only together with `{missing}`", self.name());
            config_error(message).with_hint(format!("ask for `{missing}` too, or leave `{wish}` out"))
        })?;
        Ok(speller.apply_case(&filled))
    }

    /// The account's own text with the parts behind it.
    fn join_parameters(&self, own: &str, parts: &[String]) -> Result<String> {
        let (name, credentials) = (self.name(), &self.file.credentials);
        // Copied whole from the provider's panel, it has the prefix already.
        let own = own.strip_prefix(&credentials.prefix).filter(|rest| !rest.is_empty()).unwrap_or(own);
        let place = credentials.place.name();
        if own.is_empty() && !(credentials.prefix.is_empty() && parts.is_empty()) {
            return Err(config_error(format!("the dialect `{name}` needs the account's {place}")));
        }
        if !own.contains(&credentials.contains) {
            let message =
                format!("the dialect `{name}` needs a {place} with `{}` in it", credentials.contains);
            return Err(config_error(message));
        }
        if let Some(part) = self.find_embedded_parameter(own) {
            let message = format!("the account's {place} has a part of its own already (`{part}`)");
            return Err(config_error(format!("the dialect `{name}`: {message}"))
                .with_hint("give the account's bare name, and ask for the rest"));
        }
        let mut whole = format!("{}{own}", credentials.prefix);
        for (at, part) in parts.iter().enumerate() {
            whole.push_str(if at == 0 { self.file.first_separator() } else { &credentials.separator });
            whole.push_str(part);
        }
        Ok(whole)
    }

    /// What in the account's own text would be read as a part by the provider.
    fn find_embedded_parameter(&self, own: &str) -> Option<String> {
        let first = self.file.first_separator();
        self.file.credentials.order.iter().find_map(|wish| {
            let mark = format!("{first}{}", self.file.label(*wish));
            // What follows may complete a mark; where a part has no word, the separator itself is one.
            let read = if mark == first { own.to_owned() } else { format!("{own}{first}") };
            read.contains(&mark).then_some(mark)
        })
    }

    fn select_gateway(&self, ask: &CredentialRequest) -> Result<Proxy> {
        if let Some(gateway) = &ask.gateway {
            if gateway.credentials.is_some() {
                let message = format!("the gateway {gateway} has credentials of its own");
                return Err(config_error(message)
                    .with_hint("give the account's user and password apart from the gateway"));
            }
            return Ok(gateway.clone());
        }
        let Some(mut gateway) = self.gateway() else {
            let message = format!("the dialect `{}` names no gateway", self.name());
            return Err(config_error(message)
                .with_hint("give the one of your account, as in http://gate.example:7000"));
        };
        if let (Some(port), Some(_)) =
            (self.file.gateway.as_ref().and_then(|gateway| gateway.sticky_port), &ask.session)
        {
            gateway.port = port;
        }
        Ok(gateway)
    }

    /// What no proxy could be told.
    fn check_credentials(&self, proxy: &Proxy, user: &str, password: &Secret) -> Result<()> {
        let name = self.name();
        let longest = match proxy.scheme() {
            // A byte says how long they are (RFC 1929).
            ProxyScheme::Socks5 | ProxyScheme::Socks5h => 255,
            ProxyScheme::Http | ProxyScheme::Https => 1024,
        };
        for (what, text) in [("user name", user), ("password", password.expose())] {
            if text.chars().any(char::is_control) {
                return Err(config_error(format!(
                    "the dialect `{name}`: the {what} has a control character"
                )));
            }
            if text.len() > longest {
                let scheme = proxy.scheme().name();
                let message = format!("the {what} is longer than the {longest} bytes of a {scheme} proxy");
                return Err(config_error(format!("the dialect `{name}`: {message}")));
            }
        }
        if user.is_empty() && !password.expose().is_empty() {
            return Err(config_error(format!("the dialect `{name}` needs the account's user name")));
        }
        if user.contains(':') {
            return Err(config_error(format!("the dialect `{name}`: a user name cannot have a `:`")));
        }
        Ok(())
    }

    /// A session's length in seconds, when it can be asked for.
    fn ttl_seconds(&self, wanted: Duration) -> Result<u64> {
        let Some(ttl) = &self.file.ttl else { return Err(self.unsupported_parameter_error(Parameter::Ttl)) };
        let (name, unit) = (self.name(), ttl.unit);
        if wanted < ttl.min.0 || wanted > ttl.max.0 {
            let (wanted, min, max) = (HumanDuration(wanted), ttl.min, ttl.max);
            return Err(config_error(format!(
                "the dialect `{name}` takes `ttl` from {min} to {max}, not {wanted}"
            )));
        }
        if wanted.subsec_nanos() != 0 || !wanted.as_secs().is_multiple_of(unit.granularity()) {
            let (wanted, unit) = (HumanDuration(wanted), unit.name());
            return Err(config_error(format!(
                "the dialect `{name}` takes `ttl` in whole {unit}, not {wanted}"
            )));
        }
        Ok(wanted.as_secs())
    }

    fn unsupported_parameter_error(&self, wish: Parameter) -> Error {
        let known: Vec<&str> = self.parameters().collect();
        let can = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
        let message = format!("the dialect `{}` has no word for `{wish}`", self.name());
        Error::new(ErrorKind::Config, message).with_hint(format!("it can ask for: {can}"))
    }
}

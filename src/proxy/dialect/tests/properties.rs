//! Properties of any request.

use proptest::prelude::*;

use super::*;

/// Generates a valid value, or none, for each parameter.
fn requests() -> impl Strategy<Value = CredentialRequest> {
    let maybe = |pattern: &'static str| proptest::option::of(pattern);
    (
        maybe("[a-z]{2}"),
        maybe("[A-Za-z]{2,8}( [A-Za-z]{2,8})?"),
        maybe("[A-Za-z]{2,8}( [A-Za-z]{2,8})?"),
        maybe("[0-9]{5}"),
        maybe("(AS)?[0-9]{1,6}"),
        maybe("[A-Za-z]{2,8}"),
        proptest::option::of(any::<u64>()),
        proptest::option::of(1_u64..2000),
    )
        .prop_map(|(country, state, city, zip, asn, isp, seed, minutes)| {
            let mut request = CredentialRequest::new("jane", Secret::new("s3cret"));
            request.geo = GeoTarget { country, state, city, zip, asn, isp };
            // The seed from which each dialect generates an id.
            request.session = seed.map(|seed| seed.to_string());
            request.ttl = minutes.map(|minutes| Duration::from_secs(minutes * 60));
            request
        })
}

/// Splits a text into its parts, in the dialect's order.
fn parse_rendered(dialect: &Dialect, text: &str) -> Vec<(Parameter, String)> {
    let credentials = &dialect.file.credentials;
    let rest = text.strip_prefix(&credentials.prefix).unwrap();
    let own = if dialect.name() == "brightdata" { "c-zone-z" } else { "jane" };
    let own = if credentials.place == CredentialField::Password { "s3cret" } else { own };
    let rest = rest.strip_prefix(own).unwrap();
    if rest.is_empty() {
        return Vec::new();
    }
    let Some(mut rest) = rest.strip_prefix(dialect.file.first_separator()) else {
        panic!("{} {text}: cannot parse `{rest}`", dialect.name());
    };
    let mut found = Vec::new();
    let mut order = credentials.order.iter();
    loop {
        let value = |parameter: Parameter| {
            let value = rest.strip_prefix(&dialect.file.label(parameter))?;
            Some(
                value
                    .split_once(&credentials.separator)
                    .map_or((value, None), |(value, rest)| (value, Some(rest))),
            )
        };
        // A part without a word is recognized by its characters.
        let is_one = |parameter: Parameter, value: &str| {
            !dialect.file.label(parameter).is_empty()
                || dialect.file.default_text(parameter) == Some(value)
                || parameter == Parameter::Country
                    && value.len() == 2
                    && !value.starts_with(|c: char| c.is_ascii_digit())
                || parameter == Parameter::Session
                    && dialect.session_ids.as_ref().is_some_and(|ids| ids.find_error(value).is_none())
        };
        let next =
            order.find(|parameter| value(**parameter).is_some_and(|(value, _)| is_one(**parameter, value)));
        let parameter = *next.unwrap_or_else(|| panic!("{} {text}: cannot parse `{rest}`", dialect.name()));
        let (value, after) = value(parameter).unwrap();
        found.push((parameter, value.to_owned()));
        match after {
            Some(after) => rest = after,
            None => return found,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn rendered_credentials_parse_to_the_same_parts(original in requests()) {
        for dialect in Dialect::shipped() {
            let mut request = original.clone().gateway("http://gate.example:1".parse().unwrap());
            if dialect.name() == "brightdata" {
                request.user = "c-zone-z".to_owned();
            }
            request.session = request.session.map(|seed| {
                dialect.generate_session_id(&mut StdRng::seed_from_u64(seed.parse().unwrap()))
            });
            // Drop parameters until the dialect supports the rest.
            let proxy = loop {
                match dialect.render(&request) {
                    Ok(proxy) => break proxy,
                    Err(error) => {
                        prop_assert_eq!(error.kind(), ErrorKind::Config);
                        let geo = &mut request.geo;
                        let dropped = request.ttl.take().is_some()
                            || geo.zip.take().is_some()
                            || geo.asn.take().is_some()
                            || geo.isp.take().is_some()
                            || geo.state.take().is_some()
                            || geo.city.take().is_some()
                            || geo.country.take().is_some()
                            || request.session.take().is_some();
                        prop_assert!(dropped, "{}: {}", dialect.name(), error.chain());
                    }
                }
            };
            let text = credential_text(&dialect, &proxy);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{}", text);
            let found = parse_rendered(&dialect, &text);
            let expected: Vec<(Parameter, String)> = {
                let values = dialect.encode_values(&request).unwrap();
                let replaced: Vec<Parameter> = values
                    .keys()
                    .filter_map(|parameter| dialect.file.parameter_format(*parameter))
                    .flat_map(|part| part.replaces.clone())
                    .collect();
                let order = dialect.file.credentials.order.iter();
                order.filter(|parameter| !replaced.contains(parameter)).filter_map(|parameter| {
                    let requested = values.get(parameter).map(|value| {
                        format!("{}{value}", dialect.render_prefix(*parameter, &values).unwrap())
                    });
                    Some((*parameter, requested.or(dialect.file.default_text(*parameter).map(str::to_owned))?))
                }).collect()
            };
            let plain = |parts: Vec<(Parameter, String)>| -> Vec<String> {
                let text = |(parameter, value): (Parameter, String)| format!("{}{value}", dialect.file.label(parameter));
                parts.into_iter().map(text).collect()
            };
            prop_assert_eq!(plain(found), plain(expected), "{} {}", dialect.name(), text);
        }
    }

    #[test]
    fn no_request_panics_and_rendered_credentials_have_no_control_character(
        user in ".{0,20}", password in ".{0,20}", country in proptest::option::of(".{0,4}"),
        state in proptest::option::of(".{0,80}"), city in proptest::option::of(".{0,12}"),
        zip in proptest::option::of(".{0,6}"), asn in proptest::option::of(".{0,6}"),
        session in proptest::option::of(".{0,10}"), ttl in proptest::option::of(any::<Duration>()),
    ) {
        for dialect in Dialect::shipped() {
            let mut request = CredentialRequest::new(user.clone(), Secret::new(password.clone()));
            request.geo = GeoTarget {
                country: country.clone(), state: state.clone(), city: city.clone(), zip: zip.clone(),
                asn: asn.clone(), isp: city.clone(),
            };
            request.session.clone_from(&session);
            request.ttl = ttl;
            match dialect.render(&request) {
                Ok(proxy) => if let Some((user, password)) = proxy.credentials() {
                    prop_assert!(!user.chars().chain(password.expose().chars()).any(char::is_control));
                    prop_assert!(!user.contains(':'));
                },
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Config),
            }
        }
    }
}

/// The property of the fuzz target `dialect`, on shipped and invalid files with a few lines changed.
#[test]
fn mutated_dialects_are_parsed_or_refused_and_render_nothing_harmful() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dialects");
    let invalid =
        fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let shipped = SHIPPED.iter().map(|(_, text)| (*text).to_owned());
    let seeds: Vec<String> = shipped.chain([TEMPLATE.to_owned()]).chain(invalid).collect();
    let mut rng = StdRng::seed_from_u64(156);
    let (mut parsed, mut rendered) = (0, 0);
    for round in 0..2000 {
        // Mostly valid files, so that more mutations still parse.
        let among = if round % 4 == 0 { seeds.len() } else { SHIPPED.len() };
        let mut text = seeds[round % among].clone();
        for _ in 0..rng.random_range(1..3) {
            text = mutate(&text, &seeds, &mut rng);
        }
        let dialect = match Dialect::from_toml(&text, "dialect.toml") {
            Ok(dialect) => dialect,
            Err(error) => {
                let message = error.to_string();
                assert_eq!(error.kind(), ErrorKind::Config);
                assert!(message.lines().all(|line| line.starts_with("dialect.toml:")), "{message}\n{text}");
                continue;
            }
        };
        parsed += 1;
        for words in ["", "country=us", "country=us state=Ohio city=New+York", "zip=10001 asn=7018 isp=x"] {
            let mut request = request_from_words(words).gateway("http://gate.example:1".parse().unwrap());
            request.user = "c-zone-z".to_owned();
            request.session = dialect.has_sessions().then(|| dialect.generate_session_id(&mut rng));
            request.ttl = dialect.ttl_range().map(|(min, _)| min);
            match dialect.render(&request) {
                Ok(proxy) => {
                    rendered += 1;
                    let (user, password) = proxy.credentials().unwrap();
                    let mut letters = user.chars().chain(password.expose().chars());
                    assert!(!letters.any(char::is_control) && !user.contains(':'), "{text}");
                    assert_eq!(proxy.url().expose().parse::<Proxy>().unwrap(), proxy, "{text}");
                }
                // A dialect accepts the ids that it generates.
                Err(error) => assert!(!error.to_string().contains("session id"), "{error}\n{text}"),
            }
        }
    }
    assert!(parsed > 100 && rendered > 200, "{parsed} parsed, {rendered} rendered: too few");
}

/// Removes, duplicates or inserts one line, or changes one value or one character.
fn mutate(text: &str, seeds: &[String], rng: &mut StdRng) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.is_empty() {
        return text.to_owned();
    }
    let at = rng.random_range(0..lines.len());
    match rng.random_range(0..5) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[at].clone()),
        2 => {
            let other: Vec<&str> = seeds[rng.random_range(0..seeds.len())].lines().collect();
            lines.insert(at, other[rng.random_range(0..other.len())].to_owned());
        }
        3 => {
            if let Some((key, _)) = lines[at].split_once('=') {
                lines[at] = format!("{key}= {}", MUTATED_VALUES[rng.random_range(0..MUTATED_VALUES.len())]);
            }
        }
        _ => {
            let letters: Vec<char> = lines[at].chars().collect();
            if !letters.is_empty() {
                let index = rng.random_range(0..letters.len());
                let letter = char::from(rng.random_range(1..127_u8));
                lines[at] = letters[..index].iter().chain([&letter]).chain(&letters[index + 1..]).collect();
            }
        }
    }
    lines.join("\n") + "\n"
}

const MUTATED_VALUES: [&str; 12] = [
    r#""-""#,
    r#""""#,
    "0",
    "-1",
    "99999999999",
    r#""a-z-""#,
    "[]",
    r#""{country}_[{state}_]""#,
    r#""\u0000""#,
    r#""\u00fc""#,
    r#"["session"]"#,
    "=",
];

//! What holds for any ask.

use proptest::prelude::*;

use super::*;

/// A legal value for each wish, or none, for any dialect.
fn wishes() -> impl Strategy<Value = CredentialRequest> {
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
            let mut ask = CredentialRequest::new("jane", Secret::new("s3cret"));
            ask.geo = GeoTarget { country, state, city, zip, asn, isp };
            // The seed: each dialect draws an id of its own from it.
            ask.session = seed.map(|seed| seed.to_string());
            ask.ttl = minutes.map(|minutes| Duration::from_secs(minutes * 60));
            ask
        })
}

/// The parts of a text, by what separates them, in the dialect's order.
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
        panic!("{} {text}: what is `{rest}`?", dialect.name());
    };
    let mut found = Vec::new();
    let mut order = credentials.order.iter();
    loop {
        let value = |wish: Parameter| {
            let value = rest.strip_prefix(&dialect.file.label(wish))?;
            Some(
                value
                    .split_once(&credentials.separator)
                    .map_or((value, None), |(value, rest)| (value, Some(rest))),
            )
        };
        // A part without a word is known by its letters.
        let is_one = |wish: Parameter, value: &str| {
            !dialect.file.label(wish).is_empty()
                || dialect.file.default_text(wish) == Some(value)
                || wish == Parameter::Country
                    && value.len() == 2
                    && !value.starts_with(|c: char| c.is_ascii_digit())
                || wish == Parameter::Session
                    && dialect.session_ids.as_ref().is_some_and(|ids| ids.find_error(value).is_none())
        };
        let next = order.find(|wish| value(**wish).is_some_and(|(value, _)| is_one(**wish, value)));
        let wish = *next.unwrap_or_else(|| panic!("{} {text}: what is `{rest}`?", dialect.name()));
        let (value, after) = value(wish).unwrap();
        found.push((wish, value.to_owned()));
        match after {
            Some(after) => rest = after,
            None => return found,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_rendered_parses_back_to_the_same_parts(wishes in wishes()) {
        for dialect in Dialect::shipped() {
            let mut ask = wishes.clone().gateway("http://gate.example:1".parse().unwrap());
            if dialect.name() == "brightdata" {
                ask.user = "c-zone-z".to_owned();
            }
            ask.session = ask.session.map(|seed| {
                dialect.generate_session_id(&mut StdRng::seed_from_u64(seed.parse().unwrap()))
            });
            // Leave out what the dialect says it cannot do, until it can.
            let proxy = loop {
                match dialect.render(&ask) {
                    Ok(proxy) => break proxy,
                    Err(error) => {
                        prop_assert_eq!(error.kind(), ErrorKind::Config);
                        let geo = &mut ask.geo;
                        let gone = ask.ttl.take().is_some()
                            || geo.zip.take().is_some()
                            || geo.asn.take().is_some()
                            || geo.isp.take().is_some()
                            || geo.state.take().is_some()
                            || geo.city.take().is_some()
                            || geo.country.take().is_some()
                            || ask.session.take().is_some();
                        prop_assert!(gone, "{}: {}", dialect.name(), error.chain());
                    }
                }
            };
            let text = credential_text(&dialect, &proxy);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{}", text);
            let found = parse_rendered(&dialect, &text);
            let expected: Vec<(Parameter, String)> = {
                let values = dialect.encode_values(&ask).unwrap();
                let replaced: Vec<Parameter> = values
                    .keys()
                    .filter_map(|wish| dialect.file.parameter_format(*wish))
                    .flat_map(|part| part.replaces.clone())
                    .collect();
                dialect.file.credentials.order.iter().filter(|wish| !replaced.contains(wish)).filter_map(|wish| {
                    let asked = values.get(wish).map(|value| {
                        format!("{}{value}", dialect.render_prefix(*wish, &values).unwrap())
                    });
                    Some((*wish, asked.or(dialect.file.default_text(*wish).map(str::to_owned))?))
                }).collect()
            };
            let plain = |parts: Vec<(Parameter, String)>| -> Vec<String> {
                parts.into_iter().map(|(wish, value)| format!("{}{value}", dialect.file.label(wish))).collect()
            };
            prop_assert_eq!(plain(found), plain(expected), "{} {}", dialect.name(), text);
        }
    }

    #[test]
    fn no_ask_panics_and_nothing_rendered_has_a_control_character(
        user in ".{0,20}", password in ".{0,20}", country in proptest::option::of(".{0,4}"),
        state in proptest::option::of(".{0,80}"), city in proptest::option::of(".{0,12}"),
        zip in proptest::option::of(".{0,6}"), asn in proptest::option::of(".{0,6}"),
        session in proptest::option::of(".{0,10}"), ttl in proptest::option::of(any::<Duration>()),
    ) {
        for dialect in Dialect::shipped() {
            let mut ask = CredentialRequest::new(user.clone(), Secret::new(password.clone()));
            ask.geo = GeoTarget {
                country: country.clone(), state: state.clone(), city: city.clone(), zip: zip.clone(),
                asn: asn.clone(), isp: city.clone(),
            };
            ask.session.clone_from(&session);
            ask.ttl = ttl;
            match dialect.render(&ask) {
                Ok(proxy) => if let Some((user, password)) = proxy.credentials() {
                    prop_assert!(!user.chars().chain(password.expose().chars()).any(char::is_control));
                    prop_assert!(!user.contains(':'));
                },
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Config),
            }
        }
    }
}

/// What the fuzz target `dialect` does, on shipped and broken files with a few lines changed.
#[test]
fn changed_dialects_are_read_or_refused_and_write_nothing_harmful() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dialects");
    let broken =
        fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let shipped = SHIPPED.iter().map(|(_, text)| (*text).to_owned());
    let seeds: Vec<String> = shipped.chain([TEMPLATE.to_owned()]).chain(broken).collect();
    let mut rng = StdRng::seed_from_u64(156);
    let (mut read, mut rendered) = (0, 0);
    for round in 0..2000 {
        // Mostly good ones, of which more stay readable.
        let among = if round % 4 == 0 { seeds.len() } else { SHIPPED.len() };
        let mut text = seeds[round % among].clone();
        for _ in 0..rng.random_range(1..3) {
            text = mutate(&text, &seeds, &mut rng);
        }
        let dialect = match Dialect::from_toml(&text, "dialect.toml") {
            Ok(dialect) => dialect,
            Err(error) => {
                let said = error.to_string();
                assert_eq!(error.kind(), ErrorKind::Config);
                assert!(said.lines().all(|line| line.starts_with("dialect.toml:")), "{said}\n{text}");
                continue;
            }
        };
        read += 1;
        for words in ["", "country=us", "country=us state=Ohio city=New+York", "zip=10001 asn=7018 isp=x"] {
            let mut ask = request_from_words(words).gateway("http://gate.example:1".parse().unwrap());
            ask.user = "c-zone-z".to_owned();
            ask.session = dialect.has_sessions().then(|| dialect.generate_session_id(&mut rng));
            ask.ttl = dialect.ttl_range().map(|(min, _)| min);
            match dialect.render(&ask) {
                Ok(proxy) => {
                    rendered += 1;
                    let (user, password) = proxy.credentials().unwrap();
                    let mut letters = user.chars().chain(password.expose().chars());
                    assert!(!letters.any(char::is_control) && !user.contains(':'), "{text}");
                    assert_eq!(proxy.url().expose().parse::<Proxy>().unwrap(), proxy, "{text}");
                }
                // An id that it draws is one that it takes.
                Err(error) => assert!(!error.to_string().contains("session id"), "{error}\n{text}"),
            }
        }
    }
    assert!(read > 100 && rendered > 200, "{read} read, {rendered} rendered: too few to tell");
}

/// The text with one line taken away, doubled, put in from another, given another value, or one letter
/// changed.
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
                let place = rng.random_range(0..letters.len());
                let letter = char::from(rng.random_range(1..127_u8));
                lines[at] = letters[..place].iter().chain([&letter]).chain(&letters[place + 1..]).collect();
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

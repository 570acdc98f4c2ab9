mod properties;

use std::collections::BTreeSet;
use std::fs;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::text::redact::Secret;

fn shipped(name: &str) -> Arc<Dialect> {
    Dialect::find(name, None).unwrap()
}

fn account_request() -> CredentialRequest {
    CredentialRequest::new("jane", Secret::new("s3cret"))
}

/// Parses a request: `country=us city=New+York session=abc ttl=30m user=x`; `+` is a space.
fn request_from_words(words: &str) -> CredentialRequest {
    let mut request = account_request();
    for word in words.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap();
        let value = value.replace('+', " ");
        match key {
            "user" => request.user = value,
            "country" => request.geo.country = Some(value),
            "state" => request.geo.state = Some(value),
            "city" => request.geo.city = Some(value),
            "zip" => request.geo.zip = Some(value),
            "asn" => request.geo.asn = Some(value),
            "isp" => request.geo.isp = Some(value),
            "session" => request.session = Some(value),
            "ttl" => request.ttl = Some(humantime::parse_duration(&value).unwrap()),
            _ => panic!("{key}"),
        }
    }
    request
}

/// Sets a gateway if the dialect has none.
fn with_gateway(dialect: &Dialect, request: CredentialRequest) -> CredentialRequest {
    match dialect.gateway() {
        Some(_) => request,
        None => request.gateway("http://gate.example:1".parse().unwrap()),
    }
}

/// Returns the field that carries the parameters: user name or password.
fn credential_text(dialect: &Dialect, proxy: &Proxy) -> String {
    let (user, password) = proxy.credentials().unwrap();
    match dialect.file.credentials.place {
        CredentialField::User => user.to_owned(),
        CredentialField::Password => password.expose().to_owned(),
    }
}

#[test]
fn every_shipped_dialect_is_valid_and_named_like_its_file() {
    for (name, text) in SHIPPED.iter().chain(&[("template", TEMPLATE)]) {
        let origin = format!("{name}.toml");
        assert_eq!(Dialect::lint(text, &origin), Vec::<String>::new());
        assert_eq!(Dialect::from_toml(text, &origin).unwrap().name(), *name);
    }
    let names: BTreeSet<String> = Dialect::shipped()
        .flat_map(|dialect| {
            let own = std::iter::once(dialect.name().to_owned());
            own.chain(dialect.aliases().map(str::to_owned)).collect::<Vec<_>>()
        })
        .collect();
    let count = Dialect::shipped().map(|dialect| 1 + dialect.aliases().count()).sum::<usize>();
    assert_eq!(names.len(), count, "all names differ");
}

#[test]
fn shipped_dialects_are_the_files_of_the_folder() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/proxies");
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".toml").map(str::to_owned))
        .filter(|name| name != "template")
        .collect();
    names.sort();
    assert_eq!(names, SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
}

#[test]
fn every_provider_format_is_rendered_with_and_without_each_part() {
    let all = "country=us state=New+York city=New+York session=abc ttl=30m";
    for (name, words, expected) in [
        ("decodo", "", "user-jane"),
        ("decodo", "user=user-jane", "user-jane"),
        ("decodo", "country=US", "user-jane-country-us"),
        ("decodo", "country=UK", "user-jane-country-gb"),
        ("decodo", "country=us state=New+York", "user-jane-country-us-state-us_new_york"),
        ("decodo", "city=new_york", "user-jane-city-new_york"),
        ("decodo", "zip=10001", "user-jane-zip-10001"),
        ("decodo", "session=Ab1", "user-jane-session-Ab1"),
        ("decodo", "session=a ttl=24h", "user-jane-session-a-sessionduration-1440"),
        (
            "decodo",
            all,
            "user-jane-country-us-state-us_new_york-city-new_york-session-abc-sessionduration-30",
        ),
        ("smartproxy", "country=de", "user-jane-country-de"),
        ("thordata", "", "td-customer-jane"),
        ("thordata", "country=us", "td-customer-jane-country-us"),
        ("thordata", "session=a1", "td-customer-jane-sessid-a1"),
        ("thordata", all, "td-customer-jane-country-us-state-newyork-city-newyork-sessid-abc-sesstime-30"),
        ("thordata", "session=a ttl=90m", "td-customer-jane-sessid-a-sesstime-90"),
        ("brightdata", "user=hl_1-zone-res", "brd-customer-hl_1-zone-res"),
        ("brightdata", "user=brd-customer-hl_1-zone-res", "brd-customer-hl_1-zone-res"),
        (
            "brightdata",
            "user=c-zone-z country=us state=New+York city=San+Francisco asn=AS7018 zip=10001 session=x1",
            "brd-customer-c-zone-z-country-us-state-ny-city-sanfrancisco-asn-7018-zip-10001-session-x1",
        ),
        ("brightdata", "user=c-zone-z country=us state=NY", "brd-customer-c-zone-z-country-us-state-ny"),
        ("brightdata", "user=c-zone-z asn=7018", "brd-customer-c-zone-z-asn-7018"),
        ("oxylabs", "", "customer-jane"),
        ("oxylabs", "country=us", "customer-jane-cc-US"),
        ("oxylabs", "country=us state=California", "customer-jane-cc-US-st-us_california"),
        ("oxylabs", "country=de city=munich", "customer-jane-cc-DE-city-munich"),
        ("oxylabs", "asn=21928 session=a", "customer-jane-ASN-21928-sessid-a"),
        ("oxylabs", "country=us zip=10001", "customer-jane-cc-US-postalcode-10001"),
        ("oxylabs", all, "customer-jane-cc-US-st-us_new_york-city-new_york-sessid-abc-sesstime-30"),
        ("iproyal", "", "s3cret"),
        ("iproyal", "country=us state=California", "s3cret_country-us_state-california"),
        ("iproyal", "country=fr city=paris", "s3cret_country-fr_city-paris"),
        ("iproyal", "session=sgn34f3e ttl=10m", "s3cret_session-sgn34f3e_lifetime-10m"),
        ("iproyal", "session=sgn34f3e ttl=90s", "s3cret_session-sgn34f3e_lifetime-90s"),
        ("iproyal", "session=sgn34f3e ttl=90m", "s3cret_session-sgn34f3e_lifetime-90m"),
        ("iproyal", "session=sgn34f3e ttl=7d", "s3cret_session-sgn34f3e_lifetime-168h"),
        ("soax", "", "package-jane"),
        (
            "soax",
            "country=us state=New+York city=New+York",
            "package-jane-country-us-region-new+york-city-new+york",
        ),
        ("soax", "country=us isp=att", "package-jane-country-us-isp-att"),
        ("soax", "session=abc ttl=5m", "package-jane-sessionid-abc-sessionlength-300"),
        ("netnut", "", "jane-res-any"),
        ("netnut", "country=us", "jane-res-us"),
        ("netnut", "country=gb", "jane-res-uk"),
        ("netnut", "country=uk city=London session=44575", "jane-res_sc-uk_london-sid-44575"),
        ("netnut", "country=nl city=Amsterdam", "jane-res_sc-nl_amsterdam"),
        ("netnut", "country=us state=Alabama city=Birmingham", "jane-res_sc-us_alabama_birmingham"),
        ("netnut", "country=us state=Alabama", "jane-res_sc-us_alabama"),
        ("netnut", "session=999999999", "jane-res-any-sid-999999999"),
        ("webshare", "", "jane-rotate"),
        ("webshare", "country=us", "jane-us-rotate"),
        ("webshare", "country=us session=1234", "jane-us-1234"),
        ("webshare", "country=us city=Los+Angeles session=7", "jane-us-city_los_angeles-7"),
        ("webshare", "session=7", "jane-7"),
        ("geonode", "", "jane"),
        ("geonode", "country=fr", "jane-country-fr"),
        ("geonode", "country=us state=Ohio", "jane-country-us-state-ohio"),
        (
            "geonode",
            "country=us city=Boston session=a_B1 ttl=3m",
            "jane-country-us-city-boston-session-a_B1-lifetime-3",
        ),
        ("geonode", "country=us zip=10001", "jane-country-us-zip-10001"),
        ("dataimpulse", "", "jane"),
        ("dataimpulse", "country=us", "jane__cr.us"),
        ("dataimpulse", "session=abc", "jane__sessid.abc"),
        (
            "dataimpulse",
            "country=us state=New+Jersey city=Newark zip=07102 session=s1 ttl=60m",
            "jane__cr.us;state.newjersey;city.newark;zip.07102;sessid.s1;sessttl.60",
        ),
        ("plain", "", "jane"),
        ("plain", "user=jane-country-us", "jane-country-us"),
    ] {
        let dialect = shipped(name);
        let proxy = dialect
            .render(&with_gateway(&dialect, request_from_words(words)))
            .unwrap_or_else(|error| panic!("{name} {words}: {}", error.chain()));
        assert_eq!(credential_text(&dialect, &proxy), expected, "{name} {words}");
    }
}

#[test]
fn the_other_field_of_the_credentials_is_unchanged() {
    for dialect in Dialect::shipped() {
        let account = if dialect.name() == "brightdata" { "c-zone-z" } else { "jane" };
        let proxy = dialect
            .render(&with_gateway(&dialect, CredentialRequest::new(account, Secret::new("s3:cr/et"))))
            .unwrap();
        let (user, password) = proxy.credentials().unwrap();
        match dialect.file.credentials.place {
            CredentialField::User => assert_eq!(password.expose(), "s3:cr/et"),
            CredentialField::Password => assert_eq!((user, password.expose()), ("jane", "s3:cr/et")),
        }
        assert!(!format!("{proxy} {proxy:?} {dialect:?}").contains("s3:cr/et"));
    }
}

#[test]
fn the_gateway_is_the_providers_unless_the_request_has_one() {
    for (name, gateway) in [
        ("decodo", Some("http://gate.decodo.com:7000")),
        ("thordata", Some("http://t.pr.thordata.net:9999")),
        ("brightdata", Some("http://brd.superproxy.io:33335")),
        ("oxylabs", Some("http://pr.oxylabs.io:7777")),
        ("iproyal", Some("http://geo.iproyal.com:12321")),
        ("soax", Some("http://proxy.soax.com:5000")),
        ("netnut", Some("http://gw.netnut.net:5959")),
        ("webshare", Some("http://p.webshare.io:80")),
        ("geonode", Some("http://proxy.geonode.io:9000")),
        ("dataimpulse", Some("http://gw.dataimpulse.com:823")),
        ("plain", None),
    ] {
        assert_eq!(shipped(name).gateway().map(|proxy| proxy.to_string()).as_deref(), gateway, "{name}");
    }
    let geonode = shipped("geonode");
    assert_eq!(geonode.render(&account_request()).unwrap().port(), 9000);
    assert_eq!(
        geonode.render(&account_request().session("abc")).unwrap().port(),
        10000,
        "sessions have another port"
    );
    let other = account_request().session("abc").gateway("socks5h://[::1]:1080".parse().unwrap());
    assert_eq!(geonode.render(&other).unwrap().to_string(), "socks5h://***@[::1]:1080");
    assert_eq!(geonode.render(&account_request()).unwrap().scheme().name(), "http");
}

#[test]
fn an_unsupported_request_is_an_error_that_names_the_limit() {
    for (name, words, expected) in [
        ("geonode", "country=us state=Ohio city=Boston", "cannot combine `state` and `city`"),
        ("geonode", "country=us zip=1 city=x", "cannot combine `zip` and `city`"),
        ("geonode", "zip=10001", "supports `zip` only together with `country`"),
        ("geonode", "session=a ttl=2m", "allows `ttl` from 3m to 1day, not 2m"),
        ("geonode", "session=a-b", "the session id `a-b` contains `-`; the dialect allows A-Z a-z 0-9 _"),
        ("geonode", "session=12345678901234567890123456", "has 26 characters; the dialect allows 1 to 25"),
        ("thordata", "session=a ttl=91m", "allows `ttl` from 1m to 1h 30m, not 1h 31m"),
        ("decodo", "session=a ttl=90s", "allows `ttl` in whole minutes only, not 1m 30s"),
        ("decodo", "session=a ttl=1441m", "allows `ttl` from 1m to 1day, not 1day 1m"),
        ("decodo", "ttl=30m", "supports `ttl` only together with `session`"),
        ("decodo", "country=usa", "`country`: `usa` is not a country: write an ISO 3166-1 alpha-2 code"),
        ("decodo", "country=u1", "is not a country"),
        (
            "decodo",
            "country=us city=Saint-Denis",
            "`city`: `Saint-Denis` contains `-`, which the dialect cannot write",
        ),
        ("decodo", "city=x\u{1b}y", "contains `\\u{1b}`"),
        ("decodo", "city=M\u{fc}nchen", "contains `\u{fc}`"),
        ("decodo", "country=de state=Hessen", "supports `state` only in these countries: us"),
        ("decodo", "state=Ohio", "supports `state` only in these countries: us"),
        ("decodo", "asn=7018", "does not support `asn`"),
        ("decodo", "isp=x", "does not support `isp`"),
        ("decodo", "user=jane-country-de", "the account's user name already contains a part (`-country-`)"),
        ("decodo", "user=jane-session country=us", "already contains a part (`-session-`)"),
        ("decodo", "user=a:b", "a user name must not contain `:`"),
        ("decodo", "user=a\u{0}b", "the user name contains a control character"),
        ("brightdata", "", "needs a user name that contains `-zone-`"),
        ("brightdata", "user=c-zone-z country=us state=Ontario", "has more than 2 characters"),
        ("brightdata", "user=c-zone-z session=a ttl=1m", "does not support `ttl`"),
        ("brightdata", "user=c-zone-z city=x", "supports `city` only together with `country`"),
        ("brightdata", "user=c-zone-z country=us asn=x", "`asn`: `x` is not an AS number"),
        ("oxylabs", "country=us asn=1", "cannot combine `asn` and `country`"),
        ("iproyal", "session=abc", "has 3 characters; the dialect allows exactly 8"),
        ("iproyal", "session=sgn34f3e ttl=169h", "allows `ttl` from 1s to 7days, not 7days 1h"),
        ("soax", "city=Paris", "supports `city` only together with `country`"),
        ("soax", "session=a ttl=86401s", "allows `ttl` from 1s to 1day"),
        ("netnut", "city=Amsterdam", "supports `city` only together with `country`"),
        ("netnut", "session=01234", "begins with `0`; the dialect allows 1-9 there"),
        ("netnut", "session=1234", "has 4 characters; the dialect allows 5 to 9"),
        ("netnut", "session=abcde", "the dialect allows 0-9"),
        ("webshare", "session=abc", "the dialect allows 0-9"),
        ("webshare", "user=jane-us", "already contains a part (`-`)"),
        ("webshare", "session=1 ttl=1m", "does not support `ttl`"),
        ("dataimpulse", "country=us city=a;b", "contains `;`"),
        ("plain", "country=us", "does not support `country`"),
        ("plain", "session=abc", "does not support `session`"),
        ("plain", "ttl=1m", "does not support `ttl`"),
        ("plain", "", "has no gateway"),
    ] {
        let error = shipped(name).render(&request_from_words(words)).expect_err(words);
        assert_eq!(error.kind(), ErrorKind::Config, "{name} {words}");
        assert!(error.chain().contains(expected), "{name} {words}: {}", error.chain());
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    }
}

#[test]
fn gateways_with_credentials_and_invalid_credentials_are_refused() {
    let with = account_request().gateway("http://u:hunter2@gate.example:1".parse().unwrap());
    let error = shipped("decodo").render(&with).unwrap_err();
    assert!(error.to_string().contains("contains credentials"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"));
    let socks: Proxy = "socks5://gate.example:1".parse().unwrap();
    let long = CredentialRequest::new("x".repeat(256), Secret::new("p")).gateway(socks);
    let error = shipped("plain").render(&long).unwrap_err();
    assert!(error.to_string().contains("longer than 255 bytes, the limit of a socks5 proxy"), "{error}");
    let controls = CredentialRequest::new("jane", Secret::new("hun\r\nter2"));
    let error = shipped("decodo").render(&controls).unwrap_err();
    assert!(error.to_string().contains("the password contains a control character"), "{error}");
    let own = CredentialRequest::new("jane", Secret::new("hunter2_session-x"));
    let error = shipped("iproyal").render(&own).unwrap_err();
    assert!(error.to_string().contains("the account's password already contains a part"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"));
    let unnamed = shipped("decodo").render(&CredentialRequest::new("", Secret::new("p"))).unwrap_err();
    assert!(unnamed.to_string().contains("needs the account's user name"), "{unnamed}");
    let plain = CredentialRequest::new("", Secret::new("")).gateway("http://gate.example:1".parse().unwrap());
    assert_eq!(shipped("plain").render(&plain).unwrap().credentials(), None);
}

#[test]
fn the_lifetime_is_the_requested_one_or_the_providers_default() {
    let minutes = |minutes: u64| Some(Duration::from_secs(minutes * 60));
    for (name, requested, expected) in [
        ("decodo", None, minutes(10)),
        ("decodo", minutes(30), minutes(30)),
        ("iproyal", None, None),
        ("brightdata", None, None),
        ("dataimpulse", None, minutes(30)),
        ("soax", None, minutes(3)),
        ("plain", None, None),
    ] {
        assert_eq!(shipped(name).lifetime(requested).unwrap(), expected, "{name}");
    }
    assert!(shipped("brightdata").lifetime(minutes(1)).is_err());
    assert!(shipped("thordata").lifetime(minutes(91)).is_err());
    assert_eq!(shipped("oxylabs").idle_timeout(), minutes(1));
}

#[test]
fn session_ids_use_the_dialects_characters_and_depend_on_the_seed_only() {
    for dialect in Dialect::shipped() {
        let draw = |seed: u64| dialect.generate_session_id(&mut StdRng::seed_from_u64(seed));
        assert_eq!(draw(7), draw(7));
        let Some(ids) = &dialect.session_ids else {
            assert_eq!(draw(7), "", "{} has no sessions", dialect.name());
            continue;
        };
        assert_ne!(draw(7), draw(8));
        let most = entropy_bits(ids, ids.max);
        let length = draw(7).len();
        assert!(
            entropy_bits(ids, length) >= most.min(47.0),
            "{}: {} bits",
            dialect.name(),
            entropy_bits(ids, length)
        );
        let mut rng = StdRng::seed_from_u64(1);
        let drawn: BTreeSet<String> = (0..1000).map(|_| dialect.generate_session_id(&mut rng)).collect();
        assert!(drawn.len() >= 999, "{}: two ids are equal", dialect.name());
        for id in &drawn {
            assert_eq!(ids.find_error(id), None, "{} {id}", dialect.name());
        }
        let letters: BTreeSet<char> = drawn.iter().flat_map(|id| id.chars()).collect();
        assert_eq!(letters.len(), ids.alphabet.count(), "{}: every character is used", dialect.name());
    }
}

#[test]
fn a_dialect_is_found_by_name_alias_folder_and_file() {
    let folder = tempfile::tempdir().unwrap();
    let own = |name: &str| TEMPLATE.replacen("\"template\"", &format!("\"{name}\""), 1);
    let file = |name: &str, text: String| {
        let path = folder.path().join(format!("{name}.toml"));
        fs::write(&path, text).unwrap();
        path
    };
    let mine = file("mine", own("mine").replacen("aliases = []", "aliases = [\"meins\"]", 1));
    file("decodo", own("decodo"));
    let find = |name: &str| Dialect::find(name, Some(folder.path()));
    assert_eq!(find("mine").unwrap().gateway().unwrap().host(), "gate.example");
    assert_eq!(find("meins").unwrap().name(), "mine");
    assert_eq!(
        find("decodo").unwrap().gateway().unwrap().host(),
        "gate.example",
        "the user's dialect takes precedence"
    );
    assert_eq!(find("soax").unwrap().gateway().unwrap().host(), "proxy.soax.com");
    assert_eq!(Dialect::find(mine.to_str().unwrap(), None).unwrap().name(), "mine");
    let all = Dialect::list(Some(folder.path())).unwrap();
    assert_eq!(all.len(), SHIPPED.len() + 1);
    assert!(all.iter().any(|dialect| dialect.name() == "mine"));

    let error = find("decdo").unwrap_err();
    assert_eq!(error.to_string(), "there is no proxy dialect `decdo`; did you mean `decodo`?");
    assert!(error.hint().unwrap().contains("mine"), "{error:?}");
    let error = Dialect::find("no/such.toml", None).unwrap_err();
    assert!(
        error.chain().starts_with("could not read the proxy dialect no/such.toml: "),
        "{}",
        error.chain()
    );
    file("other", own("mine"));
    let error = find("other").unwrap_err();
    assert!(
        error.to_string().ends_with("other.toml: the name is `mine`, but the file is `other.toml`"),
        "{error}"
    );
    let missing = Dialect::list(Some(Path::new("/no/such/folder"))).unwrap_err();
    assert!(missing.to_string().contains("/no/such/folder"), "{missing}");
}

/// Each file begins with its expected messages as comments.
#[test]
fn every_invalid_dialect_gives_the_message_written_in_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dialects");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let expected: Vec<_> = text.lines().map_while(|line| line.strip_prefix("# says: ")).collect();
        assert!(!expected.is_empty(), "{} has no expected message", path.display());
        assert_eq!(Dialect::lint(&text, "FILE"), expected, "{}", path.display());
        let error = Dialect::from_toml(&text, "FILE").unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Config, expected.join("\n")));
        count += 1;
    }
    assert!(count >= 30, "only {count} files");
}

#[test]
fn the_published_schema_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/dialect.schema.json");
    let published = fs::read_to_string(&path).unwrap();
    let current = serde_json::to_string_pretty(&Dialect::schema()).unwrap() + "\n";
    assert!(published == current, "run: rungs generate dialect-schema > profiles/dialect.schema.json");
}

#[test]
fn the_readme_documents_every_key_and_no_other() {
    let format = include_str!("../../../profiles/proxies/README.md");
    // Every second piece between backticks is code, also in the heading of a table.
    let documented: BTreeSet<&str> = format
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|code| code.trim_matches(['[', ']']).trim_end_matches(']'))
        .collect();
    let known: BTreeSet<&str> = lint::KEYS.all().iter().filter_map(|key| key.rsplit('.').next()).collect();
    assert_eq!(known.difference(&documented).collect::<Vec<_>>(), Vec::<&&str>::new());
    for row in format.lines().filter_map(|line| line.strip_prefix("| `")) {
        let keys = row.split(" | ").next().unwrap().split(['`', ',', ' ']).filter(|key| !key.is_empty());
        for key in keys {
            assert!(known.contains(key), "{key}");
        }
    }
}

//! Proxy dialects, as a user lists, renders and checks them.

use std::fs;

use rungs::Proxy;

use crate::support::{Certs, FinishedRun, Nginx, Program, Site, Squid, SquidOptions, rungs};

const ASK: [&str; 17] = [
    "--dialect",
    "decodo",
    "--user",
    "jane",
    "--country",
    "us",
    "--state",
    "New York",
    "--city",
    "New York",
    "--session",
    "abc",
    "--ttl",
    "30m",
    "--format",
    "text",
    "-q",
];

fn render<'a>(program: &Program, arguments: impl IntoIterator<Item = &'a str>) -> FinishedRun {
    program.run(["proxy", "render"].into_iter().chain(arguments))
}

#[test]
fn render_prints_the_url_that_would_be_used_and_hides_the_password() {
    let user = "user-jane-country-us-state-us_new_york-city-new_york-session-abc-sessionduration-30";
    let program = Program::new().variable("SECRET", "p@ss:w/rd").input("p@ss:w/rd\n");
    fs::write(program.home().join("password"), "p@ss:w/rd\nand more\n").unwrap();
    let sources: [&[&str]; 5] = [
        &[],
        &["--password-env", "SECRET"],
        &["--password-file", "password"],
        &["--password-file", "-"],
        &["--password-command", "printf 'p@ss:w/rd\\n'"],
    ];
    for source in sources {
        let run = render(&program, ASK.iter().chain(source).copied());
        assert_eq!((run.code, run.text()), (0, format!("http://{user}:***@gate.decodo.com:7000\n")), "{run}");
        if source.is_empty() {
            continue;
        }
        let run = render(&program, ASK.iter().chain(source).copied().chain(["--show-password"]));
        assert_eq!(run.text(), format!("http://{user}:p%40ss%3Aw%2Frd@gate.decodo.com:7000\n"), "{run}");
        let proxy: Proxy = run.text().trim().parse().unwrap();
        assert_eq!(
            proxy.credentials().map(|(user, password)| (user, password.expose())),
            Some((user, "p@ss:w/rd"))
        );
    }
    // Where the password contains the options, only the password proper is hidden.
    let iproyal = ["--dialect", "iproyal", "--user", "jane", "--country", "us", "--session", "sgn34f3e"];
    let run = render(&program, iproyal);
    assert_eq!(run.text(), "http://jane:***_country-us_session-sgn34f3e@geo.iproyal.com:12321\n", "{run}");
    let run =
        render(&program, iproyal.iter().copied().chain(["--password-env", "SECRET", "--format", "json"]));
    let parts = run.json();
    assert_eq!(parts["user"], "jane", "{run}");
    assert_eq!(parts["password"], "***_country-us_session-sgn34f3e", "{run}");
    assert_eq!(
        (parts["host"].as_str(), parts["port"].as_u64()),
        (Some("geo.iproyal.com"), Some(12321)),
        "{run}"
    );
    assert!(!run.to_string().contains("p@ss"), "{run}");
}

#[test]
fn rendering_errors_say_what_is_wrong() {
    let program = Program::new().variable("EMPTY", "");
    let cases: [(&[&str], i32, &str); 14] = [
        (
            &["--dialect", "geonode", "--user", "j", "--state", "Ohio", "--city", "Dayton"],
            3,
            "cannot combine `state` and `city`",
        ),
        (&["--dialect", "thordata", "--user", "j", "--session", "a", "--ttl", "2h"], 3, "from 1m to 1h 30m"),
        (
            &["--dialect", "decodo", "--user", "j", "--ttl", "5m"],
            3,
            "hint: request `session` too, or omit `ttl`",
        ),
        (&["--dialect", "decodo", "--user", "j", "--ttl", "soon"], 2, "--ttl: `soon` is not a duration"),
        (&["--dialect", "decodo", "--user", "j", "--city", "x\u{1b}[2J"], 3, "`\\u{1b}`"),
        (&["--dialect", "decdo", "--user", "j"], 3, "did you mean `decodo`?"),
        (&["--dialect", "none.toml", "--user", "j"], 3, "could not read the proxy dialect none.toml"),
        (&["--dialect", "plain", "--user", "j"], 3, "hint: give your account's gateway"),
        (&["--dialect", "decodo"], 3, "needs the account's user name"),
        (&["--dialect", "decodo", "--user", "j", "--gateway", "ftp://x"], 2, "--gateway: "),
        (&["--dialect", "decodo", "--user", "j", "--show-password"], 2, "--password-env"),
        (
            &["--dialect", "decodo", "--user", "j", "--password-env", "EMPTY"],
            3,
            "the variable EMPTY does not contain a password",
        ),
        (&["--dialect", "decodo", "--user", "j", "--password-file", "none"], 3, "--password-file: none"),
        (&["--dialect", "decodo", "--user", "j", "--password-command", "exit 9"], 3, "exit status: 9"),
    ];
    for (arguments, code, says) in cases {
        let run = render(&program, arguments.iter().copied());
        assert_eq!(run.code, code, "{arguments:?}\n{run}");
        assert!(run.stderr.contains(says) && run.stdout.is_empty(), "{arguments:?}: {says}\n{run}");
        assert!(!run.stderr.contains('\u{1b}'), "{run}");
    }
    let both = ["--dialect", "decodo", "--user", "j", "--password-env", "A", "--password-file", "b"];
    assert_eq!(render(&program, both).code, 2);
}

#[test]
fn dialects_are_listed_with_the_users_own_among_them() {
    let run = rungs(["proxy", "dialects"]);
    assert_eq!(run.code, 0, "{run}");
    let line =
        |name: &str| run.text().lines().find(|line| line.starts_with(name)).map(str::to_owned).unwrap();
    assert!(line("decodo").contains("http://gate.decodo.com:7000 "), "{run}");
    assert!(line("iproyal").contains(" password "), "{run}");
    assert!(line("geonode").contains("3m to 1day, default 10m"), "{run}");
    let template = rungs(["proxy", "dialects", "template"]);
    assert_eq!(template.code, 0, "{template}");

    let program = Program::new();
    let folder = program.home().join("config/rungs/proxies");
    fs::create_dir_all(&folder).unwrap();
    let named = |name: &str| template.text().replacen("\"template\"", &format!("\"{name}\""), 1);
    fs::write(folder.join("mine.toml"), named("mine")).unwrap();
    let all = program.run(["proxy", "dialects", "--format", "json"]).json();
    let mine =
        all.as_array().unwrap().iter().find(|row| row["name"] == "mine").expect("it is listed").clone();
    assert_eq!(mine["gateway"], "http://gate.example:7000", "{mine}");
    let decodo = all.as_array().unwrap().iter().find(|row| row["name"] == "decodo").unwrap();
    assert_eq!(
        (decodo["ttl_max_s"].as_u64(), decodo["aliases"][0].as_str()),
        (Some(86400), Some("smartproxy"))
    );
    let run = render(&program, ["--dialect", "mine", "--user", "jane", "--country", "GB"]);
    assert_eq!(run.text(), "http://customer-jane-country-uk:***@gate.example:7000\n", "{run}");

    // Another folder, by flag and by environment variable; and a file by its name.
    let other = program.home().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("decodo.toml"), named("decodo")).unwrap();
    let run = render(&program, ["--dialects-dir", "other", "--dialect", "decodo", "--user", "jane"]);
    assert!(run.text().ends_with("@gate.example:7000\n"), "{run}");
    let run = render(&program, ["--dialect", "other/decodo.toml", "--user", "jane"]);
    assert!(run.text().ends_with("@gate.example:7000\n"), "{run}");
    let program = program.variable("RUNGS_DIALECTS", "other");
    let run = render(&program, ["--dialect", "decodo", "--user", "jane"]);
    assert!(run.text().ends_with("@gate.example:7000\n"), "{run}");
}

#[test]
fn lint_names_the_line_the_key_and_the_nearest_one() {
    let root = env!("CARGO_MANIFEST_DIR");
    let good = format!("{root}/profiles/proxies/soax.toml");
    let run = rungs(["proxy", "lint", &good]);
    assert_eq!((run.code, run.text()), (0, format!("{good}: ok\n")), "{run}");
    let broken = format!("{root}/fixtures/dialects/two-unknown-keys.toml");
    let run = rungs(["proxy", "lint", &good, &broken, "none.toml"]);
    assert_eq!(run.code, 3, "{run}");
    for says in [
        "soax.toml: ok\n",
        "two-unknown-keys.toml:5:1: unknown key `titel`; did you mean `title`?\n",
        "two-unknown-keys.toml:34:1: unknown key `ttl.units`; did you mean `ttl.unit`?\n",
        "could not read the proxy dialect none.toml: ",
    ] {
        assert!(run.text().contains(says), "{says}\n{run}");
    }
    let schema = rungs(["generate", "dialect-schema"]);
    let kept = fs::read(format!("{root}/profiles/dialect.schema.json")).unwrap();
    assert_eq!((schema.code, schema.stdout), (0, kept));
}

#[test]
fn a_gateway_gets_the_user_name_of_the_dialect() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let squid = Squid::start_with(&SquidOptions { any_credentials: true, ..SquidOptions::default() });
    let url = nginx.url_by(Site::H2, "site.test", "/page/hello");
    let program = Program::new().variable("SECRET", "s3cret");
    for (count, (dialect, wishes, user)) in [
        ("decodo", "--country de --session abc", "user-jane-country-de-session-abc"),
        ("netnut", "--country gb --session 44575", "jane-res-uk-sid-44575"),
        ("dataimpulse", "--country us --session s1 --ttl 1h", "jane__cr.us;sessid.s1;sessttl.60"),
        ("soax", "--country us --city New+York", "package-jane-country-us-city-new+york"),
        ("webshare", "", "jane-rotate"),
    ]
    .into_iter()
    .enumerate()
    {
        let gateway = squid.url_without_user();
        let fixed = [
            "--dialect",
            dialect,
            "--user",
            "jane",
            "--gateway",
            &gateway,
            "--password-env",
            "SECRET",
            "--show-password",
        ];
        let spaced: Vec<String> = wishes.split_whitespace().map(|word| word.replace('+', " ")).collect();
        let run = render(&program, fixed.into_iter().chain(spaced.iter().map(String::as_str)));
        assert_eq!(run.code, 0, "{run}");
        let proxy = run.text().trim().to_owned();
        let fetched = program.run(["fetch", "--tier", "plain", "--cacert", certs.ca(), "-x", &proxy, &url]);
        assert_eq!(fetched.code, 0, "{fetched}");
        let requests = squid.requests(count + 1);
        assert_eq!(requests[count].user.as_deref(), Some(user), "{requests:?}");
    }
}

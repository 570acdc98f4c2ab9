//! The environment of every process that rungs starts.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::{Program, RawServer, until};

const SECRET: &str = "hunter2-in-the-environment";

/// A process below another one: its program or role, and its environment.
struct Descendant {
    role: String,
    environment: String,
}

/// Returns all processes below `ancestor`.
fn descendants(ancestor: u32) -> Vec<Descendant> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").expect("there is a /proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        parents.push((pid, fields[1].parse::<u32>().expect("a number")));
    }
    let mut known = BTreeSet::from([ancestor]);
    while let Some((pid, _)) =
        parents.iter().find(|(pid, parent)| known.contains(parent) && !known.contains(pid))
    {
        known.insert(*pid);
    }
    known.remove(&ancestor);
    known.into_iter().filter_map(read).collect()
}

fn read(pid: u32) -> Option<Descendant> {
    let read = |name: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{name}")).ok().filter(|bytes| !bytes.is_empty())?;
        Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
    };
    let line = read("cmdline")?;
    let kind = line.split(' ').find_map(|word| word.strip_prefix("--type="));
    let program = line.split(' ').next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    let role = kind.map_or_else(|| name.to_owned(), str::to_owned);
    Some(Descendant { role, environment: read("environ").unwrap_or_default() })
}

#[test]
fn no_process_of_the_browser_has_the_secrets_of_our_environment() {
    let server = RawServer::start(|conn| {
        conn.read_head()?;
        conn.hold_open()
    });
    let secrets = [
        "RUNGS_PROXY_USER",
        "RUNGS_PROXY_PASSWORD",
        "AWS_SECRET_ACCESS_KEY",
        "GITHUB_TOKEN",
        "SSH_AUTH_SOCK",
        "LC_SECRET",
        "XDG_SECRET",
        "PGPASSWORD",
        "GOOGLE_API_KEY",
        "http_proxy",
    ];
    let mut program = Program::new().variable("TZ", "Asia/Tokyo").variable("FONTCONFIG_FILE", "");
    for name in secrets {
        program = program.variable(name, SECRET);
    }
    let run = program.start(["fetch", "--tier", "browser", "--headful", "--noproxy", "*", &server.url("/")]);
    until("a request for the page", || !server.heads().is_empty());
    let found = descendants(run.id());
    let roles: BTreeSet<&str> = found.iter().map(|process| process.role.as_str()).collect();
    for role in ["chromium", "zygote", "gpu-process", "utility", "renderer", "Xvfb", "sh"] {
        assert!(roles.contains(role), "{role} of {roles:?}");
    }
    for process in &found {
        let Descendant { role, environment } = process;
        assert!(!environment.contains(SECRET), "{role}: {environment}");
        for name in secrets {
            assert!(!environment.contains(&format!("{name}=")), "{role}: {environment}");
        }
    }
    let browser = found.iter().find(|process| process.role == "chromium").expect("the browser");
    assert!(browser.environment.contains("TZ=Asia/Tokyo") && browser.environment.contains("HOME="));
}

/// Checks the sources, so that a program that is started later on is not forgotten.
#[test]
fn every_program_in_the_sources_gets_a_restricted_environment() {
    let mut starts = 0;
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("a source");
            let code = text.split("mod tests {").next().unwrap_or_default();
            let is_test = path.components().any(|part| part.as_os_str() == "tests");
            // The password command is the user's own shell command, and may need all of it.
            let is_password = path.ends_with("cli/password.rs");
            let lines: Vec<&str> = code.lines().collect();
            for (at, line) in lines.iter().enumerate() {
                if is_test || is_password || !line.contains("Command::new(") || line.contains("clap") {
                    continue;
                }
                starts += 1;
                let near = lines[at..lines.len().min(at + 4)].join("\n");
                let is_restricted = near.contains("restrict_environment(") || near.contains(".env_clear()");
                assert!(is_restricted, "{}:{}: {line}", path.display(), at + 1);
            }
        }
    }
    assert!(starts >= 5, "{starts}");
}

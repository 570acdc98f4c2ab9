//! A real squid that requires a password.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::certs::{Leaf, NAMES};
use super::daemon::{Daemon, htpasswd, program, start_on_free_ports, until_some};

/// A running squid in its own temporary folder. It resolves the names of [`NAMES`] and of the lab to 127.0.0.1, and
/// caches nothing.
pub(crate) struct Squid {
    scheme: &'static str,
    port: u16,
    _daemon: Daemon,
    folder: TempDir,
}

/// One line of squid's log. squid logs a tunnel when it closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxiedRequest {
    pub(crate) method: String,
    /// The absolute URL, or `host:port` of a tunnel.
    pub(crate) target: String,
    /// squid's status: 200 for an open tunnel, 407 without the right password.
    pub(crate) status: u16,
    /// The authenticated user; `None` without the right password.
    pub(crate) user: Option<String>,
}

impl Squid {
    /// The user and password it requires. The password has characters that must be escaped in a URL.
    pub(crate) const USER: &str = "traveller";
    pub(crate) const PASSWORD: &str = "p@ss:w/rd";
    /// The same password, percent-encoded.
    pub(crate) const PASSWORD_ESCAPED: &str = "p%40ss%3Aw%2Frd";

    /// Starts it with Basic authentication and waits until its port accepts.
    pub(crate) fn start() -> Self {
        Self::start_with(&SquidOptions::default())
    }

    /// Starts it with other options and waits until its port accepts.
    pub(crate) fn start_with(options: &SquidOptions<'_>) -> Self {
        let binary = program("squid");
        let helper = authenticator();
        let folder = tempfile::Builder::new().prefix("rungs-squid-").tempdir().expect("a folder for squid");
        let root = folder.path();
        // As root, squid switches to another user, who must be able to write here.
        fs::set_permissions(root, fs::Permissions::from_mode(0o777)).expect("the folder is ours");
        fs::write(root.join("htpasswd"), htpasswd(Self::USER, Self::PASSWORD))
            .expect("squid's users are written");
        fs::write(root.join("any-credentials"), ANY_CREDENTIALS).expect("squid's helper is written");
        let names = NAMES.into_iter().chain(rungs::lab::SITES).collect::<Vec<_>>().join(" ");
        fs::write(root.join("hosts"), format!("127.0.0.1 {names}\n")).expect("squid's hosts are written");
        if let Some(leaf) = options.certificate {
            for (from, to) in [(&leaf.chain, "tls.pem"), (&leaf.key, "tls.key")] {
                let to = root.join(to);
                fs::copy(from, &to).expect("squid's certificate is copied");
                fs::set_permissions(to, fs::Permissions::from_mode(0o644)).expect("the file is ours");
            }
        }
        let conf = root.join("squid.conf");
        let ([port], daemon) = start_on_free_ports(|[port]| {
            fs::write(&conf, configuration(root, &helper, options, port))
                .expect("squid's configuration is written");
            let service = format!("rungs{port}");
            let arguments = ["-N".as_ref(), "-n".as_ref(), service.as_ref(), "-f".as_ref(), conf.as_os_str()];
            let daemon = Daemon::start(&binary, arguments, &[port], root);
            forget_shared_memory(&service);
            daemon
        });
        let scheme = if options.certificate.is_some() { "https" } else { "http" };
        Self { scheme, port, _daemon: daemon, folder }
    }

    /// Its URL with user and password, for `--proxy`.
    pub(crate) fn url(&self) -> String {
        self.url_as(Self::USER, Self::PASSWORD_ESCAPED)
    }

    /// Its URL with another user or password, already percent-encoded.
    pub(crate) fn url_as(&self, user: &str, password: &str) -> String {
        format!("{}://{user}:{password}@127.0.0.1:{}", self.scheme, self.port)
    }

    /// Its URL without credentials.
    pub(crate) fn url_without_user(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Makes a squid that accepts any credentials reject them (407) from now on: new ones at once, known ones after a
    /// second. Tunnels stay open.
    pub(crate) fn reject_credentials(&self) {
        fs::write(self.folder.path().join("rejecting"), "").expect("the folder is ours");
    }

    /// The requests so far, in the order in which they ended. Waits until there are at least `count`. A tunnel counts
    /// when it has closed.
    pub(crate) fn requests(&self, count: usize) -> Vec<ProxiedRequest> {
        until_some(&format!("{count} lines in squid's log"), || {
            let log = fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
            let requests: Vec<ProxiedRequest> =
                log.split_inclusive('\n').filter_map(ProxiedRequest::read).collect();
            (requests.len() >= count).then_some(requests)
        })
    }
}

impl ProxiedRequest {
    /// Parses a log line as the configuration formats it. `None` if the line is incomplete, or for a connection without
    /// a request (the check whether the port accepts).
    fn read(line: &str) -> Option<Self> {
        let mut fields = line.strip_suffix('\n')?.split('\t');
        let (method, target) = (fields.next()?.to_owned(), fields.next()?.to_owned());
        let status = fields.next()?.parse().ok()?;
        let user = fields.next()?;
        (method != "-" && method != "NONE").then(|| Self {
            method,
            target,
            status,
            user: (user != "-" && status != 407).then(|| user.to_owned()),
        })
    }
}

/// An authentication helper that accepts all credentials as long as its argument, a file, does not exist.
const ANY_CREDENTIALS: &str = r#"while read -r line; do if [ -e "$1" ]; then echo ERR; else echo OK; fi; done
"#;

/// Options of a squid.
#[derive(Default)]
pub(crate) struct SquidOptions<'a> {
    /// The certificate of an https proxy. Default: an http proxy.
    pub(crate) certificate: Option<&'a Leaf>,
    /// Requires no credentials.
    pub(crate) no_auth: bool,
    /// Accepts any credentials until [`Squid::reject_credentials`].
    pub(crate) any_credentials: bool,
    /// Its outgoing address, for instance 127.0.0.2. Default: the system's choice.
    pub(crate) outgoing_address: Option<&'a str>,
}

fn configuration(root: &Path, helper: &Path, options: &SquidOptions<'_>, port: u16) -> String {
    let (root, helper) = (root.display(), helper.display());
    let listen = match options.certificate {
        None => format!("http_port 127.0.0.1:{port}"),
        Some(_) => format!("https_port 127.0.0.1:{port} tls-cert={root}/tls.pem tls-key={root}/tls.key"),
    };
    let exit =
        options.outgoing_address.map_or(String::new(), |address| format!("tcp_outgoing_address {address}"));
    let program = if options.any_credentials {
        format!("/bin/sh {root}/any-credentials {root}/rejecting")
    } else {
        format!("{helper} {root}/htpasswd")
    };
    let known = if options.no_auth { "" } else { "http_access allow known" };
    let rest = if options.no_auth { "allow" } else { "deny" };
    format!(
        "{listen}
{exit}
visible_hostname proxy.test
pid_filename none
hosts_file {root}/hosts
auth_param basic program {program}
auth_param basic credentialsttl 1 second
auth_param basic children 2 startup=1 idle=1
auth_param basic realm rungs
acl known proxy_auth REQUIRED
{known}
http_access {rest} all
cache deny all
cache_mem 1 MB
memory_pools off
max_filedescriptors 4096
pinger_enable off
digest_generation off
icon_directory {root}
logformat passage %rm\t%ru\t%>Hs\t%un
access_log stdio:{root}/access.log passage
cache_log {root}/cache.log
cache_store_log none
coredump_dir {root}
shutdown_lifetime 0 seconds
"
    )
}

/// Unlinks the shared memory that squid has opened. squid unlinks it itself in an orderly shutdown, but takes a second
/// for that.
fn forget_shared_memory(service: &str) {
    for part in ["metadata", "queues", "readers"] {
        let _ = fs::remove_file(format!("/dev/shm/{service}-cf__{part}.shm"));
    }
}

/// squid's authentication helper for password files.
fn authenticator() -> PathBuf {
    ["/usr/lib/squid", "/usr/lib64/squid", "/usr/libexec/squid", "/opt/homebrew/opt/squid/libexec"]
        .map(|folder| Path::new(folder).join("basic_ncsa_auth"))
        .into_iter()
        .find(|file| file.exists())
        .expect("squid's basic_ncsa_auth is installed with it: run `make deps`")
}

//! A real squid that wants a password.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::certs::{Leaf, NAMES};
use super::daemon::{Daemon, htpasswd, program, start_on_free_ports, until_some};

/// squid, alone in its folder. It knows the host names of [`NAMES`] and the lab's as 127.0.0.1, and keeps nothing that passes.
pub(crate) struct Squid {
    scheme: &'static str,
    port: u16,
    _daemon: Daemon,
    folder: TempDir,
}

/// One line of squid's log. A tunnel's is written when it closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    pub(crate) method: String,
    /// The absolute URL, or `host:port` of a tunnel.
    pub(crate) target: String,
    /// What squid answered: 200 for a tunnel that opened, 407 without the right password.
    pub(crate) status: u16,
    /// The user who passed; none without the right password.
    pub(crate) user: Option<String>,
}

impl Squid {
    /// The user and password it wants. The password has what must be escaped in a URL.
    pub(crate) const USER: &str = "traveller";
    pub(crate) const PASSWORD: &str = "p@ss:w/rd";
    /// The same password as a URL carries it.
    pub(crate) const PASSWORD_ESCAPED: &str = "p%40ss%3Aw%2Frd";

    /// Starts it with Basic authentication and waits until its port accepts.
    pub(crate) fn start() -> Self {
        Self::start_as(&Manner::default())
    }

    /// Starts it in another manner and waits until its port accepts.
    pub(crate) fn start_as(manner: &Manner<'_>) -> Self {
        let binary = program("squid");
        let helper = authenticator();
        let folder = tempfile::Builder::new().prefix("rungs-squid-").tempdir().expect("a folder for squid");
        let root = folder.path();
        // Started by root, squid becomes another user, who must be able to write here.
        fs::set_permissions(root, fs::Permissions::from_mode(0o777)).expect("the folder is ours");
        fs::write(root.join("htpasswd"), htpasswd(Self::USER, Self::PASSWORD))
            .expect("squid's users are written");
        fs::write(root.join("anybody"), ANYBODY).expect("squid's helper is written");
        let names = NAMES.into_iter().chain(rungs::lab::SITES).collect::<Vec<_>>().join(" ");
        fs::write(root.join("hosts"), format!("127.0.0.1 {names}\n")).expect("squid's hosts are written");
        if let Some(leaf) = manner.leaf {
            for (from, to) in [(&leaf.chain, "tls.pem"), (&leaf.key, "tls.key")] {
                let to = root.join(to);
                fs::copy(from, &to).expect("squid's certificate is copied");
                fs::set_permissions(to, fs::Permissions::from_mode(0o644)).expect("the file is ours");
            }
        }
        let conf = root.join("squid.conf");
        let ([port], daemon) = start_on_free_ports(|[port]| {
            fs::write(&conf, configuration(root, &helper, manner, port))
                .expect("squid's configuration is written");
            let service = format!("rungs{port}");
            let arguments = ["-N".as_ref(), "-n".as_ref(), service.as_ref(), "-f".as_ref(), conf.as_os_str()];
            let daemon = Daemon::start(&binary, arguments, &[port], root);
            forget_shared_memory(&service);
            daemon
        });
        let scheme = if manner.leaf.is_some() { "https" } else { "http" };
        Self { scheme, port, _daemon: daemon, folder }
    }

    /// Its address with user and password, as `--proxy` takes it.
    pub(crate) fn url(&self) -> String {
        self.url_as(Self::USER, Self::PASSWORD_ESCAPED)
    }

    /// Its address with another user or password, already escaped.
    pub(crate) fn url_as(&self, user: &str, password: &str) -> String {
        format!("{}://{user}:{password}@127.0.0.1:{}", self.scheme, self.port)
    }

    /// Its address with no user.
    pub(crate) fn url_without_user(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From now on, where it let anybody through, it wants other credentials (407), from whom it knows after a second. Tunnels stay.
    pub(crate) fn close(&self) {
        fs::write(self.folder.path().join("closed"), "").expect("the folder is ours");
    }

    /// What passed so far, in order of its end, once there are at least `count`. A tunnel counts when it has closed.
    pub(crate) fn passages(&self, count: usize) -> Vec<Passage> {
        until_some(&format!("{count} lines in squid's log"), || {
            let log = fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
            let passages: Vec<Passage> = log.split_inclusive('\n').filter_map(Passage::read).collect();
            (passages.len() >= count).then_some(passages)
        })
    }
}

impl Passage {
    /// Reads a line as the configuration formats it; none while it is half written, or for a mere connection (our
    /// own question whether the port accepts).
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

/// Says yes to every name and password, as long as the file it is given is not there.
const ANYBODY: &str = r#"while read -r line; do if [ -e "$1" ]; then echo ERR; else echo OK; fi; done
"#;

/// What sets one squid apart from another.
#[derive(Default)]
pub(crate) struct Manner<'a> {
    /// The certificate of its own TLS; without, it is an http proxy.
    pub(crate) leaf: Option<&'a Leaf>,
    /// Lets everybody through.
    pub(crate) open: bool,
    /// Lets everybody through who says a name and a password, any at all, until it is [closed](Squid::close).
    pub(crate) anyone: bool,
    /// The address it comes out of, for instance 127.0.0.2. Default: the system's choice.
    pub(crate) exit: Option<&'a str>,
}

fn configuration(root: &Path, helper: &Path, manner: &Manner<'_>, port: u16) -> String {
    let (root, helper) = (root.display(), helper.display());
    let listen = match manner.leaf {
        None => format!("http_port 127.0.0.1:{port}"),
        Some(_) => format!("https_port 127.0.0.1:{port} tls-cert={root}/tls.pem tls-key={root}/tls.key"),
    };
    let exit = manner.exit.map_or(String::new(), |exit| format!("tcp_outgoing_address {exit}"));
    let program = if manner.anyone {
        format!("/bin/sh {root}/anybody {root}/closed")
    } else {
        format!("{helper} {root}/htpasswd")
    };
    let known = if manner.open { "" } else { "http_access allow known" };
    let rest = if manner.open { "allow" } else { "deny" };
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

/// Takes the names from the shared memory that squid has open by now. It would remove them itself in an orderly
/// end, but takes a second for that.
fn forget_shared_memory(service: &str) {
    for part in ["metadata", "queues", "readers"] {
        let _ = fs::remove_file(format!("/dev/shm/{service}-cf__{part}.shm"));
    }
}

/// squid's reader of password files.
fn authenticator() -> PathBuf {
    ["/usr/lib/squid", "/usr/lib64/squid", "/usr/libexec/squid", "/opt/homebrew/opt/squid/libexec"]
        .map(|folder| Path::new(folder).join("basic_ncsa_auth"))
        .into_iter()
        .find(|file| file.exists())
        .expect("squid's basic_ncsa_auth is installed with it: run `make deps`")
}

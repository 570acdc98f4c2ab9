//! Real SOCKS5 servers, with a password (microsocks) and without (dante).

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::daemon::{Daemon, program, start_on_free_ports, until_some};

/// microsocks, with user and password.
pub(crate) struct Microsocks {
    port: u16,
    daemon: Daemon,
    _folder: TempDir,
}

impl Microsocks {
    pub(crate) const USER: &str = "walker";
    pub(crate) const PASSWORD: &str = "p@ss:w/rd";
    /// The same password, percent-encoded.
    pub(crate) const PASSWORD_ESCAPED: &str = "p%40ss%3Aw%2Frd";

    /// Starts it and waits until its port accepts. Its outgoing address is `exit`.
    pub(crate) fn start(exit: &str) -> Self {
        let folder = folder("microsocks");
        let binary = program("microsocks");
        let ([port], daemon) = start_on_free_ports(|[port]| {
            let text = port.to_string();
            let arguments =
                ["-i", "127.0.0.1", "-p", &text, "-b", exit, "-u", Self::USER, "-P", Self::PASSWORD];
            Daemon::start(&binary, arguments, &[port], folder.path())
        });
        Self { port, daemon, _folder: folder }
    }

    /// Its URL with user and password; `scheme` is socks5 or socks5h.
    pub(crate) fn url(&self, scheme: &str) -> String {
        self.url_as(scheme, &format!("{}:{}", Self::USER, Self::PASSWORD_ESCAPED))
    }

    /// Its URL with other credentials, already percent-encoded.
    pub(crate) fn url_as(&self, scheme: &str, credentials: &str) -> String {
        format!("{scheme}://{credentials}@127.0.0.1:{}", self.port)
    }

    /// Its URL without credentials.
    pub(crate) fn url_without_user(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// The requested targets so far, as `host:port`. Waits until there are at least `count`.
    pub(crate) fn requests(&self, count: usize) -> Vec<String> {
        until_some(&format!("{count} lines of microsocks"), || {
            let said = self.daemon.said();
            let requests: Vec<String> = said
                .lines()
                .filter_map(|line| line.split_once(": connected to ").map(|(_, to)| to.to_owned()))
                .collect();
            (requests.len() >= count).then_some(requests)
        })
    }
}

/// dante, without a password: its users are system accounts, which a test cannot create.
pub(crate) struct Dante {
    port: u16,
    _daemon: Daemon,
    _folder: TempDir,
}

impl Dante {
    /// Starts it and waits until its port accepts. Its outgoing address is `exit`.
    pub(crate) fn start(exit: &str) -> Self {
        let folder = folder("dante");
        let binary = program("danted");
        let conf = folder.path().join("danted.conf");
        let ([port], daemon) = start_on_free_ports(|[port]| {
            fs::write(&conf, configuration(folder.path(), exit, port))
                .expect("dante's configuration is written");
            let pid = folder.path().join("danted.pid");
            let arguments = ["-f".as_ref(), conf.as_os_str(), "-p".as_ref(), pid.as_os_str()];
            Daemon::start(&binary, arguments, &[port], folder.path())
        });
        Self { port, _daemon: daemon, _folder: folder }
    }

    /// Its URL; `scheme` is socks5 or socks5h.
    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }
}

fn configuration(root: &Path, exit: &str, port: u16) -> String {
    format!(
        "logoutput: {}/danted.log
internal: 127.0.0.1 port = {port}
external: {exit}
clientmethod: none
socksmethod: none
client pass {{
    from: 127.0.0.0/8 to: 0.0.0.0/0
}}
socks pass {{
    from: 127.0.0.0/8 to: 0.0.0.0/0
    command: connect
}}
",
        root.display()
    )
}

fn folder(of: &str) -> TempDir {
    tempfile::Builder::new().prefix(&format!("rungs-{of}-")).tempdir().expect("a folder for a server")
}

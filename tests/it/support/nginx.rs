//! A real nginx with a site for each protocol and certificate case. `nginx_conf.rs` lists its paths.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::certs::Certs;
use super::daemon::{Daemon, htpasswd, program, start_on_free_ports, until_some};
use super::nginx_conf;

/// A running nginx in its own temporary folder.
pub(crate) struct Nginx {
    ports: [u16; Site::ALL.len()],
    brotli: bool,
    _daemon: Daemon,
    folder: TempDir,
}

/// Sites, each on its own port. All serve the same pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    /// http, HTTP/1.1.
    Clear,
    /// https, HTTP/2 or HTTP/1.1 by ALPN.
    H2,
    /// https, HTTP/1.1 alone.
    H1,
    /// https, HTTP/2 too, no TLS newer than 1.2.
    Tls12,
    /// https, HTTP/1.1 alone, no TLS newer than 1.2.
    Old,
    /// https with the expired certificate.
    Expired,
    /// https with the self-signed certificate.
    SelfSigned,
    /// https with the certificate for another name.
    WrongName,
}

/// One line of nginx's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) status: u16,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub(crate) protocol: String,
    /// `TLSv1.3`, or `-` without TLS.
    pub(crate) tls: String,
    /// nginx's number of the connection: equal numbers mean that the connection was reused.
    pub(crate) connection: u64,
    /// Whether the TLS session was resumed.
    pub(crate) resumed: bool,
    pub(crate) user_agent: String,
}

impl Site {
    pub(crate) const ALL: [Self; 8] = [
        Self::Clear,
        Self::H2,
        Self::H1,
        Self::Tls12,
        Self::Old,
        Self::Expired,
        Self::SelfSigned,
        Self::WrongName,
    ];

    fn scheme(self) -> &'static str {
        if self == Self::Clear { "http" } else { "https" }
    }
}

impl Nginx {
    /// The user and password of `/auth`.
    pub(crate) const USER: &str = "reader";
    pub(crate) const PASSWORD: &str = "open sesame";
    /// Sizes in bytes of the pages under `/page/`, `/gzip/`, `/br/`.
    pub(crate) const SMALL: usize = 10 * 1024;
    pub(crate) const LARGE: usize = 700 * 1024;
    pub(crate) const HUGE: usize = 40 * 1024 * 1024;

    /// Starts it and waits until every port accepts.
    pub(crate) fn start(certs: &Certs) -> Self {
        let binary = program("nginx");
        let folder = tempfile::Builder::new().prefix("rungs-nginx-").tempdir().expect("a folder for nginx");
        let root = folder.path();
        write_pages(&root.join("pages"));
        fs::create_dir(root.join("temp")).expect("a folder for nginx's temp files");
        fs::write(root.join("htpasswd"), htpasswd(Self::USER, Self::PASSWORD))
            .expect("nginx's users are written");
        let brotli = nginx_conf::brotli_module();
        let conf = root.join("nginx.conf");
        let (ports, daemon) = start_on_free_ports(|ports| {
            let text = nginx_conf::write(root, certs, brotli.as_deref(), ports);
            fs::write(&conf, text).expect("nginx's configuration is written");
            let arguments = [root.as_os_str(), conf.as_os_str(), "stderr".as_ref()];
            let arguments = ["-p", "-c", "-e"].iter().map(AsRef::as_ref).zip(arguments);
            Daemon::start(&binary, arguments.flat_map(|(flag, value)| [flag, value]), &ports, root)
        });
        Self { ports, brotli: brotli.is_some(), _daemon: daemon, folder }
    }

    /// The URL of `path` at a site, by 127.0.0.1, which is in the certificate.
    pub(crate) fn url(&self, site: Site, path: &str) -> String {
        self.url_by(site, "127.0.0.1", path)
    }

    /// The same by a name, for use with `--resolve`.
    pub(crate) fn url_by(&self, site: Site, host: &str, path: &str) -> String {
        format!("{}://{host}:{}{path}", site.scheme(), self.port(site))
    }

    /// A name for 127.0.0.1 at a site, as `--resolve` takes it.
    pub(crate) fn resolve(&self, site: Site, host: &str) -> String {
        format!("{host}:{}:127.0.0.1", self.port(site))
    }

    pub(crate) fn port(&self, site: Site) -> u16 {
        self.ports[site as usize]
    }

    /// Whether this nginx supports brotli. Not every system has a package of the module.
    pub(crate) fn has_brotli(&self) -> bool {
        self.brotli
    }

    /// A page as it is on disk: `10k`, `700k`, `40m`, `latin1`, ….
    pub(crate) fn page(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join("pages").join(name)).expect("nginx has the page")
    }

    /// The requests so far, in the order in which they ended. Waits until there are at least `count`.
    pub(crate) fn visits(&self, count: usize) -> Vec<Visit> {
        until_some(&format!("{count} requests in nginx's log"), || {
            let log = fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
            let visits: Vec<Visit> = log.split_inclusive('\n').filter_map(Visit::read).collect();
            (visits.len() >= count).then_some(visits)
        })
    }
}

impl Visit {
    /// Parses a log line as `nginx_conf` formats it. `None` if the line is incomplete.
    fn read(line: &str) -> Option<Self> {
        let mut fields = line.strip_suffix('\n')?.split('\t').map(str::to_owned);
        let mut next = || fields.next();
        Some(Self {
            method: next()?,
            uri: next()?,
            status: next()?.parse().ok()?,
            protocol: next()?,
            tls: next()?,
            connection: next()?.parse().ok()?,
            resumed: next()? == "r",
            user_agent: next()?,
        })
    }
}

/// Writes the pages. Their lines are numbered, so that a lost or repeated part is noticed.
fn write_pages(folder: &Path) {
    fs::create_dir(folder).expect("a folder for pages");
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).expect("a page is written");
    write("10k", &page(Nginx::SMALL));
    write("700k", &page(Nginx::LARGE));
    write("hello", b"<!doctype html><title>hello</title><p>hello\n");
    write("latin1", b"<!doctype html><title>caf\xe9</title>\n");
    write("meta", b"<!doctype html><meta charset=\"windows-1251\"><title>\xcf\xf0\xe8\xe2\xe5\xf2</title>\n");
    write("bom", b"\xff\xfec\0a\0f\0\xe9\0");
    // A sparse file: 40 MiB that take no space on disk.
    let mut huge = fs::File::create(folder.join("40m")).expect("a page is written");
    huge.set_len(Nginx::HUGE as u64).expect("a page is written");
    for mark in 0..40_u64 {
        huge.seek(SeekFrom::Start(mark << 20)).expect("a page is written");
        writeln!(huge, "mebibyte {mark}").expect("a page is written");
    }
}

fn page(length: usize) -> Vec<u8> {
    let mut text = b"<!doctype html><title>a page</title>\n".to_vec();
    let mut line = 0_usize;
    while text.len() < length {
        let hash = line.wrapping_mul(2_654_435_761) % 99_991;
        writeln!(text, "<p>line {line} of the page, {hash} to be hard to pack</p>").expect("a Vec takes all");
        line += 1;
    }
    text.truncate(length);
    text
}

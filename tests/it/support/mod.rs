//! Real servers on loopback for the integration tests, each ended when its value is dropped.
//!
//! ```ignore
//! let certs = Certs::new();
//! let nginx = Nginx::start(&certs);
//! let run = rungs(["fetch", "--cacert", certs.ca(), &nginx.url(Site::H2, "/page/10k")]);
//! assert_eq!(run.code, 0, "{run}");
//! ```
#![allow(dead_code, reason = "the servers offer more than today's tests ask of them")]
#![allow(unused_imports, reason = "the tests name what they need of it")]

mod answers;
mod captured;
mod certs;
mod check;
mod daemon;
mod frames;
mod made_certs;
mod name_server;
mod namespace;
mod nginx;
mod nginx_conf;
mod own_process;
mod program;
mod python;
mod raw;
mod relay;
mod socks;
mod squid;
mod suites;
mod until;
mod warc;

pub(crate) use answers::*;
pub(crate) use captured::{capture_profile, captured_profile, captured_profile_file};
pub(crate) use certs::{Certs, Leaf, NAMES};
pub(crate) use daemon::{Daemon, start_on_free_ports, until_some};
pub(crate) use frames::*;
pub(crate) use made_certs::{CertFolder, Draft, Made, ec_key, rsa_key};
pub(crate) use name_server::NameServer;
pub(crate) use namespace::{Namespace, in_namespace};
pub(crate) use nginx::{Nginx, Site, Visit};
pub(crate) use own_process::run_ignored_test;
pub(crate) use program::{FinishedRun, Program, RunningProgram, rungs};
pub(crate) use python::PythonEnvironment;
pub(crate) use raw::{RawConnection, RawServer, Wire};
pub(crate) use relay::{End, Flow, FullBacklog, Relay};
pub(crate) use socks::{Dante, Microsocks};
pub(crate) use squid::{ProxiedRequest, Squid, SquidOptions};
pub(crate) use suites::{BROWSER_LOCK, ManualChromium, SuiteServer};
pub(crate) use until::{until, until_async};
pub(crate) use warc::{WarcRecord, warc_records};

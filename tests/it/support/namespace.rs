//! Runs a test in a network namespace of its own, where public addresses are on the loopback interface.
//!
//! A test that needs public addresses is two functions: one that calls [`in_namespace`], and one with
//! `#[ignore]` that the first runs as a process of its own.

use std::fs;
use std::process::Command;

use super::run_ignored_test;

/// What the namespace contains, beside 127.0.0.0/8 and ::1.
#[derive(Default)]
pub(crate) struct Namespace<'a> {
    /// The addresses of its loopback interface, such as `93.184.216.34` or `2606:2800::1`.
    pub addresses: &'a [&'a str],
    /// The content of `/etc/resolv.conf`. Empty: the machine's own.
    pub resolv_conf: &'a str,
    /// Variables for the test's process.
    pub variables: &'a [(&'a str, &'a str)],
}

/// Sets up the interface and the resolver (`$1`), then replaces itself by the test's process.
const SETUP: &str = r#"
set -e
PATH=$PATH:/usr/sbin:/sbin
ip link set lo up
for address in $RUNGS_TEST_ADDRESSES; do
    case $address in
        *:*) ip -6 addr add "$address/128" dev lo nodad ;;
        *) ip addr add "$address/32" dev lo ;;
    esac
done
if [ -s "$1" ]; then mount --bind "$1" /etc/resolv.conf; fi
shift
exec "$@"
"#;

/// Runs the ignored test `name` of `module` (its `module_path!()`) in a namespace. Panics with its output
/// when it fails, or when the namespace cannot be made: that needs root, `unshare` and `ip`.
#[track_caller]
pub(crate) fn in_namespace(module: &str, name: &str, namespace: &Namespace<'_>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let resolv_conf = folder.path().join("resolv.conf");
    fs::write(&resolv_conf, namespace.resolv_conf).expect("the file is written");
    let mut wrapper = Command::new("unshare");
    wrapper
        .args(["--net", "--mount", "sh", "-c", SETUP, "sh"])
        .arg(&resolv_conf)
        .env("RUNGS_TEST_ADDRESSES", namespace.addresses.join(" "))
        .envs(namespace.variables.iter().copied());
    run_ignored_test(wrapper, module, name);
}

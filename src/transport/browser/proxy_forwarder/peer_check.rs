//! Identifies the process at the other end of a loopback connection, on Linux by the kernel's tables. The
//! forwarder gives access to a proxy with its password, so it serves only its own browser.

use std::net::SocketAddr;

/// Whether the connection from `peer` belongs to the process group `group`. If the group's processes cannot be
/// inspected, whether it belongs to this process's user. Reads files.
#[cfg(target_os = "linux")]
pub(super) fn is_peer_in_group(peer: SocketAddr, here: SocketAddr, group: u32) -> bool {
    let Some((user, inode)) = linux::find_socket(peer, here) else { return false };
    if user != rustix::process::geteuid().as_raw() {
        return false;
    }
    linux::has_socket(group, inode).unwrap_or(true)
}

/// Whether `peer` is on this machine: other systems cannot identify the process.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_peer_in_group(peer: SocketAddr, _here: SocketAddr, _group: u32) -> bool {
    peer.ip().is_loopback()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::net::{IpAddr, SocketAddr};
    use std::path::Path;

    /// Returns user and inode of the socket at `peer` that is connected to `here`.
    pub(super) fn find_socket(peer: SocketAddr, here: SocketAddr) -> Option<(u32, u64)> {
        let table = fs::read_to_string("/proc/self/net/tcp").ok()?;
        find_row(&table, &format_address(peer)?, &format_address(here)?)
    }

    /// Finds the row with these addresses in a table like /proc/net/tcp. Returns user and inode.
    pub(super) fn find_row(table: &str, local: &str, remote: &str) -> Option<(u32, u64)> {
        table.lines().skip(1).find_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            if fields.next()? != local || fields.next()? != remote {
                return None;
            }
            // Next fields: state, queues, timer, retransmits; user, timeout, inode.
            let user = fields.nth(4)?.parse().ok()?;
            Some((user, fields.nth(1)?.parse().ok()?))
        })
    }

    /// Formats an IPv4 address as in the table: the bytes as one number in this machine's byte order.
    pub(super) fn format_address(address: SocketAddr) -> Option<String> {
        let IpAddr::V4(four) = address.ip() else { return None };
        Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(four.octets()), address.port()))
    }

    /// Whether a process of `group` holds the socket. `None` when none of its processes can be inspected.
    pub(super) fn has_socket(group: u32, inode: u64) -> Option<bool> {
        let wanted = format!("socket:[{inode}]");
        let mut inspected = false;
        for entry in fs::read_dir("/proc").ok()?.flatten() {
            let path = entry.path();
            if !is_in_group(&path, group) {
                continue;
            }
            let Ok(descriptors) = fs::read_dir(path.join("fd")) else { continue };
            inspected = true;
            let mut links = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
            if links.any(|link| link.as_os_str() == wanted.as_str()) {
                return Some(true);
            }
        }
        inspected.then_some(false)
    }

    fn is_in_group(process: &Path, group: u32) -> bool {
        let name = process.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) {
            return false;
        }
        let Ok(stat) = fs::read_to_string(process.join("stat")) else { return false };
        // The name in parentheses may contain any character; state, parent and group follow it.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        fields.split_ascii_whitespace().nth(2).is_some_and(|field| field.parse() == Ok(group))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    #[test]
    fn a_socket_belongs_to_the_group_of_the_process_that_holds_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        let client = TcpStream::connect(here).unwrap();
        let (_server, peer) = listener.accept().unwrap();
        let ours = rustix::process::getpgrp().as_raw_nonzero().get().cast_unsigned();
        assert!(is_peer_in_group(peer, here, ours));
        let mut other =
            Command::new("sleep").arg("60").stdin(Stdio::null()).process_group(0).spawn().unwrap();
        assert!(!is_peer_in_group(peer, here, other.id()), "held by this process, not by the other");
        other.kill().unwrap();
        other.wait().unwrap();
        drop(client);
    }

    #[test]
    fn the_kernel_s_table_is_read_by_its_columns() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1F90 0100007F:A1B2 01 00000000:00000000 00:00000000 00000000  1000        0 777 1 0 20 4\n";
        assert_eq!(linux::find_row(table, "0100007F:1F90", "0100007F:A1B2"), Some((1000, 777)));
        assert_eq!(linux::find_row(table, "0100007F:A1B2", "0100007F:1F90"), None);
    }
}

//! A DNS server for a network namespace, whose answers may change from question to question.

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The server, at port 53. Name it in [`Namespace::resolv_conf`](super::Namespace).
pub(crate) struct NameServer {
    /// The message ids of the questions for the IPv4 address of a name. A client without an answer repeats its question
    /// with the same id.
    questions: Arc<Mutex<HashMap<String, Vec<[u8; 2]>>>>,
    names: Arc<Mutex<BTreeSet<String>>>,
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// The line for `/etc/resolv.conf`.
    pub(crate) const RESOLV_CONF: &str = "nameserver 127.0.0.1\noptions attempts:2\n";

    /// Starts it. `answer` returns the IPv4 addresses of a name, for the n-th question from 0. Names have no IPv6
    /// addresses, and no answer may be stored.
    pub(crate) fn start(answer: impl Fn(&str, usize) -> Vec<Ipv4Addr> + Send + 'static) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST, answer)
    }

    /// Starts it. Questions for IPv6 addresses have no answer.
    pub(crate) fn start_silent_about_ipv6(
        answer: impl Fn(&str, usize) -> Vec<Ipv4Addr> + Send + 'static,
    ) -> Self {
        Self::serve(Ipv4Addr::LOCALHOST, answer, true)
    }

    /// Starts it at an address of the namespace.
    pub(crate) fn start_at(
        address: Ipv4Addr,
        answer: impl Fn(&str, usize) -> Vec<Ipv4Addr> + Send + 'static,
    ) -> Self {
        Self::serve(address, answer, false)
    }

    fn serve(
        address: Ipv4Addr,
        answer: impl Fn(&str, usize) -> Vec<Ipv4Addr> + Send + 'static,
        is_silent_about_ipv6: bool,
    ) -> Self {
        let socket = UdpSocket::bind((address, 53)).expect("the namespace's port 53 is free");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout can be set");
        let questions = Arc::<Mutex<HashMap<String, Vec<[u8; 2]>>>>::default();
        let names = Arc::<Mutex<BTreeSet<String>>>::default();
        let is_stopping = Arc::<AtomicBool>::default();
        let thread = thread::spawn({
            let (questions, is_stopping) = (Arc::clone(&questions), Arc::clone(&is_stopping));
            let names = Arc::clone(&names);
            move || {
                let mut packet = [0; 1500];
                while !is_stopping.load(Ordering::SeqCst) {
                    let Ok((length, client)) = socket.recv_from(&mut packet) else { continue };
                    let Some((name, kind, end)) = read_question(&packet[..length]) else { continue };
                    names.lock().expect("no thread panics with it").insert(name.clone());
                    if kind != A && is_silent_about_ipv6 {
                        continue;
                    }
                    let addresses = if kind == A {
                        let mut questions = questions.lock().expect("no thread panics with it");
                        let asked = questions.entry(name.clone()).or_default();
                        let id = [packet[0], packet[1]];
                        let number = asked.iter().position(|other| *other == id).unwrap_or_else(|| {
                            asked.push(id);
                            asked.len() - 1
                        });
                        answer(&name, number)
                    } else {
                        Vec::new()
                    };
                    let _ = socket.send_to(&build_response(&packet[..end], &addresses), client);
                }
            }
        });
        Self { questions, names, is_stopping, thread: Some(thread) }
    }

    /// How often the IPv4 address of `name` was asked for.
    pub(crate) fn questions(&self, name: &str) -> usize {
        self.questions.lock().expect("no thread panics with it").get(name).map_or(0, Vec::len)
    }
}

impl NameServer {
    /// The names that were asked for, whatever the type of the question.
    pub(crate) fn names(&self) -> Vec<String> {
        self.names.lock().expect("no thread panics with it").iter().cloned().collect()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || ended.is_none_or(|ended| ended.is_ok()), "the answers panicked");
    }
}

/// Returns the name, the type and the end of the first question.
fn read_question(packet: &[u8]) -> Option<(String, u16, usize)> {
    let mut at = HEADER;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = packet.get(at..at + 2)?;
    Some((labels.join("."), u16::from_be_bytes([kind[0], kind[1]]), at + 4))
        .filter(|_| packet.len() >= at + 4)
}

/// Answers the question at the start of `packet`.
fn build_response(packet: &[u8], addresses: &[Ipv4Addr]) -> Vec<u8> {
    let mut response = packet.to_vec();
    // A response to a recursive question, without an error.
    response[2..4].copy_from_slice(&[0x85, 0x80]);
    let count = u16::try_from(addresses.len()).expect("few addresses").to_be_bytes();
    response[4..HEADER].copy_from_slice(&[0, 1, count[0], count[1], 0, 0, 0, 0]);
    for address in addresses {
        // A pointer to the name, type A, class IN, a lifetime of 0, and 4 bytes.
        response.extend_from_slice(&[0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        response.extend_from_slice(&address.octets());
    }
    response
}

const HEADER: usize = 12;
const A: u16 = 1;

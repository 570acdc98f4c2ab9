//! What leaves the machine while the browser works: nothing but what the proxy, or the page, needs.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::process::Command;
use std::time::Duration;

use crate::support::{
    Dante, Microsocks, NameServer, Namespace, Program, RawConnection, RawServer, Squid, in_namespace, until,
};

const SITE: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
/// A resolver that Chromium knows to answer over HTTPS too.
const RESOLVER: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);
const NAMESPACE: Namespace<'static> = Namespace {
    addresses: &["93.184.216.34", "10.0.0.1", "8.8.8.8"],
    resolv_conf: "nameserver 8.8.8.8\noptions attempts:2\n",
    variables: &[],
};

/// An interface with the default route. What leaves the namespace leaves by it.
struct WayOut {
    name: &'static str,
}

impl WayOut {
    fn open() -> Self {
        // Questions for neighbours and routers are not about a page.
        for line in [
            "link add out0 type veth peer name out1",
            "addr add 198.51.100.1/24 dev out0",
            "link set out0 arp off addrgenmode none",
            "link set out0 up",
            "link set out1 up",
            "route add default dev out0",
        ] {
            let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
            let status = Command::new("ip").args(line.split(' ')).env("PATH", path).status();
            assert!(status.expect("ip starts; `make deps`").success(), "ip {line}");
        }
        Self { name: "out0:" }
    }

    /// The number of packets that left.
    fn packets(&self) -> u64 {
        let table = fs::read_to_string("/proc/net/dev").expect("Linux has it");
        let line = table.lines().find_map(|line| line.trim().strip_prefix(self.name)).expect("it exists");
        line.split_whitespace().nth(9).expect("the tenth field").parse().expect("a number")
    }
}

fn start_names() -> NameServer {
    NameServer::start_at(RESOLVER, |name, _| if name.ends_with("shop.test") { vec![SITE] } else { vec![] })
}

/// A page that gives the browser reasons to look names up and to connect.
fn start_site(script: &'static str) -> RawServer {
    RawServer::start_at(SocketAddr::from((SITE, 80)), move |conn: &mut RawConnection| {
        loop {
            conn.read_head()?;
            let page = format!(
                "<title>page</title><link rel=dns-prefetch href=//prefetch.test>\
                 <link rel=preconnect href=https://preconnect.test><a href=http://link.test/>link</a>\
                 <script>{script}</script>"
            );
            conn.send(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{page}",
                page.len()
            ))?;
        }
    })
}

/// Gathers ICE candidates. Without a proxy, a browser asks its network for them.
const WEBRTC: &str = "new RTCPeerConnection({iceServers:[{urls:'stun:stun.test'}]}).createDataChannel('x')";

fn fetch(arguments: &[&str]) {
    let fixed = ["fetch", "--tier", "browser", "http://shop.test/"];
    let run = Program::new().run(fixed.into_iter().chain(arguments.iter().copied()));
    assert!(run.code == 0 && run.text().contains("<title>page</title>"), "{run}");
}

#[test]
fn behind_a_proxy_nothing_leaves_the_machine_but_to_the_proxy() {
    in_namespace(module_path!(), "behind_each_kind_of_proxy", &NAMESPACE);
}

#[test]
#[ignore = "run by the one above, in a network namespace"]
fn behind_each_kind_of_proxy() {
    let (names, way_out, _site) = (start_names(), WayOut::open(), start_site(WEBRTC));
    let (squid, dante, microsocks) =
        (Squid::start(), Dante::start("93.184.216.34"), Microsocks::start("93.184.216.34"));
    let proxies = [
        squid.url(),
        dante.url("socks5"),
        dante.url("socks5h"),
        microsocks.url("socks5"),
        microsocks.url("socks5h"),
    ];
    for proxy in &proxies {
        fetch(&["-x", proxy]);
        // The proxies and rungs look the site up. The browser looks nothing up.
        let foreign: Vec<String> =
            names.names().into_iter().filter(|name| !name.ends_with("shop.test")).collect();
        // squid and dante may ask for names that the page named, because the browser connected through them.
        let foreign: Vec<String> = foreign.into_iter().filter(|name| name != "preconnect.test").collect();
        assert_eq!((way_out.packets(), foreign), (0, Vec::<String>::new()), "{proxy}");
    }
}

#[test]
fn without_a_proxy_the_browser_sends_nothing_of_its_own() {
    in_namespace(module_path!(), "without_a_proxy", &NAMESPACE);
}

#[test]
#[ignore = "run by the one above, in a network namespace"]
fn without_a_proxy() {
    let (names, way_out, _site) = (start_names(), WayOut::open(), start_site(""));
    fetch(&[]);
    let foreign: Vec<String> =
        names.names().into_iter().filter(|name| name.strip_suffix(".test").is_none()).collect();
    assert_eq!((way_out.packets(), foreign), (0, Vec::<String>::new()));
}

#[test]
fn a_public_page_reaches_no_private_address_by_webrtc() {
    in_namespace(module_path!(), "webrtc_to_private_addresses", &NAMESPACE);
}

#[test]
#[ignore = "run by the one above, in a network namespace"]
fn webrtc_to_private_addresses() {
    // A peer connection to a candidate that the page makes up, over UDP.
    const TO_PRIVATE: &str = "
        const peer = new RTCPeerConnection();
        const lines = (ufrag, fingerprint) => ['v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 0',
            'm=application 9 UDP/DTLS/SCTP webrtc-datachannel', 'c=IN IP4 0.0.0.0', 'a=ice-ufrag:' + ufrag,
            'a=ice-pwd:0123456789012345678901234', 'a=fingerprint:sha-256 ' + fingerprint, 'a=setup:passive',
            'a=mid:0', 'a=sctp-port:5000', ''].join('\\r\\n');
        peer.createDataChannel('x');
        peer.setLocalDescription().then(async () => {
            const sdp = lines('abcd', Array(32).fill('AB').join(':'));
            await peer.setRemoteDescription({type: 'answer', sdp});
            for (const address of ADDRESSES)
                await peer.addIceCandidate({sdpMid: '0', candidate: `candidate:1 1 udp 2113937151 ${address} 4000 typ host`});
            document.title = 'candidates added';
        }).catch(error => document.title = 'failed: ' + error);";
    let script: &'static str = Box::leak(
        TO_PRIVATE.replace("ADDRESSES", "['10.0.0.1', '127.0.0.1', '93.184.216.34']").into_boxed_str(),
    );
    // WebRTC uses no loopback interface.
    let (_names, _way_out, _site) = (start_names(), WayOut::open(), start_site(script));
    let listen = |address: Ipv4Addr| {
        let socket = UdpSocket::bind((address, 4000)).expect("the port is free");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout can be set");
        socket
    };
    let (lan, loopback, public) =
        (listen(Ipv4Addr::new(10, 0, 0, 1)), listen(Ipv4Addr::LOCALHOST), listen(SITE));
    let arguments = ["fetch", "--tier", "browser", "--settle-timeout", "5", "http://shop.test/"];
    let run = Program::new().run(arguments);
    assert!(run.code == 0 && run.text().contains("candidates added"), "{run}");
    let came = |socket: &UdpSocket| socket.recv_from(&mut [0; 1500]).is_ok();
    assert_eq!((came(&lan), came(&loopback)), (false, false), "private addresses");
    assert!(came(&public), "the page does try");
}

#[test]
fn what_leaves_the_machine_is_counted() {
    in_namespace(module_path!(), "a_packet_and_a_question", &NAMESPACE);
}

#[test]
#[ignore = "run by the one above, in a network namespace"]
fn a_packet_and_a_question() {
    let (names, way_out) = (start_names(), WayOut::open());
    assert_eq!((way_out.packets(), names.names()), (0, vec![]));
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a free port");
    socket.send_to(b"x", "203.0.113.9:9").expect("it is sent");
    assert_eq!(way_out.packets(), 1);
    let elsewhere = SocketAddr::from(([203, 0, 113, 9], 9));
    let _ = TcpStream::connect_timeout(&elsewhere, Duration::from_millis(50));
    assert!(way_out.packets() > 1);
    let _ = ("clients2.google.com", 443).to_socket_addrs();
    until("the question", || names.names().contains(&"clients2.google.com".to_owned()));
}

//! Host names: those that DNS has although host names may not, a silent name server for IPv6, a trailing dot.

use std::net::Ipv4Addr;

use crate::support::{Certs, NameServer, Namespace, Nginx, RawServer, Site, in_namespace, rungs};

const TIERS: [&str; 2] = ["plain", "impersonate"];

/// Runs an ignored test of this file in a namespace whose name server the test starts.
fn run_with_name_server(test: &str) {
    let namespace = Namespace { resolv_conf: NameServer::RESOLV_CONF, ..Namespace::default() };
    in_namespace(module_path!(), test, &namespace);
}

fn server() -> RawServer {
    RawServer::start(|conn| {
        conn.read_head()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfound")
    })
}

#[test]
fn names_with_underscores_and_hyphens_are_asked_of_dns() {
    run_with_name_server("names_with_underscores_and_hyphens");
}

#[test]
#[ignore = "runs in a network namespace"]
fn names_with_underscores_and_hyphens() {
    let names = NameServer::start(|_, _| vec![Ipv4Addr::LOCALHOST]);
    let server = server();
    for host in [
        "my_shop.example",
        "_dmarc.shop.example",
        "-lead.example",
        "trailing_.example",
        "r3---sn.example",
        "dot_.example.",
    ] {
        for tier in TIERS {
            let run = rungs([
                "fetch",
                "--retry",
                "0",
                "--tier",
                tier,
                &format!("http://{host}:{}/", server.port()),
            ]);
            assert_eq!((run.code, run.text().as_str()), (0, "found"), "{host} {tier}\n{run}");
        }
        assert!(names.questions(host.trim_end_matches('.')) > 0, "{host}: {:?}", names.names());
    }
}

#[test]
fn a_name_server_that_is_silent_about_ipv6_does_not_fail_a_fetch() {
    run_with_name_server("silent_about_ipv6");
}

#[test]
#[ignore = "runs in a network namespace"]
fn silent_about_ipv6() {
    let _names = NameServer::start_silent_about_ipv6(|_, _| vec![Ipv4Addr::LOCALHOST]);
    let server = server();
    for tier in TIERS {
        // The lookup of the IPv6 addresses alone takes longer than all of it may.
        let url = format!("http://shop.example:{}/", server.port());
        let run = rungs(["fetch", "--retry", "0", "--tier", tier, "--connect-timeout", "4", &url]);
        assert_eq!((run.code, run.text().as_str()), (0, "found"), "{tier}\n{run}");
    }
}

#[test]
fn a_certificate_is_compared_without_the_trailing_dot() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    for site in [Site::H1, Site::H2] {
        for tier in TIERS {
            let resolve = nginx.resolve(site, "site.test");
            let url = nginx.url_by(site, "site.test.", "/page/hello");
            let run = rungs([
                "fetch",
                "--retry",
                "0",
                "--tier",
                tier,
                "--cacert",
                certs.ca(),
                "--resolve",
                &resolve,
                &url,
            ]);
            assert_eq!((run.code, run.stdout.clone()), (0, nginx.page("hello")), "{site:?} {tier}\n{run}");
        }
    }
    let resolve = nginx.resolve(Site::H2, "elsewhere.test");
    let url = nginx.url_by(Site::H2, "elsewhere.test.", "/page/hello");
    let run = rungs([
        "fetch",
        "--retry",
        "0",
        "--tier",
        "plain",
        "--cacert",
        certs.ca(),
        "--resolve",
        &resolve,
        &url,
    ]);
    assert!(run.code == 1 && run.stderr.contains("is for another name"), "{run}");
}

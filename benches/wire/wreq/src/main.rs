//! Prints its name and version, then fetches URLs one after the other as wreq's newest Chrome.
//!
//! `wire-wreq CA_FILE HOST PORT URL...`: HOST resolves to 127.0.0.1.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};

use wreq::Client;
use wreq::tls::trust::CertStore;
use wreq_util::{Emulation, Platform, Profile};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(ca), Some(host), Some(port)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: wire-wreq CA_FILE HOST PORT URL...".into());
    };
    let chrome = |profile: &&Profile| format!("{profile:?}").starts_with("Chrome");
    let profile = *Profile::VARIANTS.iter().filter(chrome).next_back().ok_or("wreq has no Chrome profile")?;
    println!("wreq 6.0.0-rc.31 {profile:?}");
    let client = Client::builder()
        .emulation(Emulation::builder().profile(profile).platform(Platform::Linux).build())
        .tls_cert_store(CertStore::from_pem_stack(std::fs::read(ca)?)?)
        .resolve(host, SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse()?)))
        .build()?;
    for url in args {
        client.get(url).send().await?.bytes().await?;
    }
    Ok(())
}

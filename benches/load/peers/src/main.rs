//! The Rust clients that rungs is compared with.
//!
//! `load-peers wreq|reqwest URL COUNT AT_ONCE`: fetches URL COUNT times with AT_ONCE concurrent requests, and fails if a
//! status is not 200. `load-peers lag CLIENT URL COUNT AT_ONCE`: the same, and prints how long a task waits to be run.

#[path = "../../src/lag.rs"]
mod lag;
#[path = "../../src/many.rs"]
mod many;

use std::sync::Arc;

use many::{Done, many};
use wreq_util::{Emulation, Platform, Profile};

#[tokio::main]
async fn main() -> Done<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (lag, args) = args
        .split_first()
        .filter(|(first, _)| *first == "lag")
        .map_or((false, &args[..]), |(_, rest)| (true, rest));
    let [client, url, count, at_once] = args else { return Err("see the top of this file".into()) };
    let (url, count, at_once): (Arc<str>, _, _) = (url.as_str().into(), count.parse()?, at_once.parse()?);
    let work = run(client, url, count, at_once);
    if lag { lag::during(work).await } else { work.await }
}

/// Fetches `url` `count` times with `client`, `at_once` concurrently.
async fn run(client: &str, url: Arc<str>, count: usize, at_once: usize) -> Done<()> {
    match client {
        "wreq" => {
            let chrome = |profile: &&Profile| format!("{profile:?}").starts_with("Chrome");
            let profile =
                *Profile::VARIANTS.iter().filter(chrome).next_back().ok_or("wreq has no Chrome profile")?;
            let client = wreq::Client::builder()
                .emulation(Emulation::builder().profile(profile).platform(Platform::Linux).build())
                .tls_cert_verification(false)
                .build()?;
            many(count, at_once, move || {
                let (client, url) = (client.clone(), Arc::clone(&url));
                async move {
                    let answer = client.get(&*url).send().await?;
                    let status = answer.status().as_u16();
                    Ok((status, answer.bytes().await?.len()))
                }
            })
            .await
        }
        "reqwest" => {
            let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build()?;
            many(count, at_once, move || {
                let (client, url) = (client.clone(), Arc::clone(&url));
                async move {
                    let answer = client.get(&*url).send().await?;
                    let status = answer.status().as_u16();
                    Ok((status, answer.bytes().await?.len()))
                }
            })
            .await
        }
        other => Err(format!("unknown client {other}").into()),
    }
}

//! The Rust clients that rungs is held against.
//!
//! `load-peers wreq|reqwest URL COUNT AT_ONCE`: gets URL so often, so many at a time, and ends with an error when one
//! was no 200.

use std::error::Error;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use wreq_util::{Emulation, Platform, Profile};

type Done<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Done<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [client, url, count, at_once] = &args[..] else { return Err("see the top of this file".into()) };
    let (count, at_once): (usize, usize) = (count.parse()?, at_once.parse()?);
    match client.as_str() {
        "wreq" => {
            let chrome = |profile: &&Profile| format!("{profile:?}").starts_with("Chrome");
            let profile = *Profile::VARIANTS.iter().filter(chrome).next_back().ok_or("no Chrome")?;
            let client = wreq::Client::builder()
                .emulation(Emulation::builder().profile(profile).platform(Platform::Linux).build())
                .tls_cert_verification(false)
                .build()?;
            many(count, at_once, || async {
                let answer = client.get(url).send().await?;
                let status = answer.status().as_u16();
                Ok((status, answer.bytes().await?.len()))
            })
            .await
        }
        "reqwest" => {
            let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build()?;
            many(count, at_once, || async {
                let answer = client.get(url).send().await?;
                let status = answer.status().as_u16();
                Ok((status, answer.bytes().await?.len()))
            })
            .await
        }
        other => Err(format!("no client {other}").into()),
    }
}

/// Runs `get` so often, so many at a time.
async fn many<F: Future<Output = Done<(u16, usize)>>>(count: usize, at_once: usize, get: impl Fn() -> F) -> Done<()> {
    let all = stream::iter(0..count).map(|_| get()).buffer_unordered(at_once);
    all.try_for_each(|(status, length)| async move {
        if status == 200 && length > 0 { Ok(()) } else { Err(format!("{status}, {length} bytes").into()) }
    })
    .await
}

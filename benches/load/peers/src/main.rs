//! The Rust clients that rungs is held against.
//!
//! `load-peers wreq|reqwest URL COUNT AT_ONCE`: gets URL so often, so many at a time, and ends with an error when one
//! was no 200. `load-peers lag CLIENT URL COUNT AT_ONCE`: the same, and prints how long a task waits for its turn.

#[path = "../../src/lag.rs"]
mod lag;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;
use wreq_util::{Emulation, Platform, Profile};

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

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

/// Gets `url` so often as `client`, so many at a time.
async fn run(client: &str, url: Arc<str>, count: usize, at_once: usize) -> Done<()> {
    match client {
        "wreq" => {
            let chrome = |profile: &&Profile| format!("{profile:?}").starts_with("Chrome");
            let profile = *Profile::VARIANTS.iter().filter(chrome).next_back().ok_or("no Chrome")?;
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
        other => Err(format!("no client {other}").into()),
    }
}

/// Runs `get` so often, by so many tasks of the runtime. An error when one was no 200.
async fn many<F, G>(count: usize, at_once: usize, get: G) -> Done<()>
where
    F: Future<Output = Done<(u16, usize)>> + Send + 'static,
    G: Fn() -> F + Clone + Send + 'static,
{
    let left = Arc::new(AtomicUsize::new(count));
    let mut tasks = JoinSet::<Done<()>>::new();
    for _ in 0..at_once {
        let (left, get) = (Arc::clone(&left), get.clone());
        tasks.spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            {
                let (status, length) = get().await?;
                if status != 200 || length == 0 {
                    return Err(format!("{status}, {length} bytes").into());
                }
            }
            Ok(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(())
}

//! Sends several requests in one session: cookies of the first response are sent with the second request.
//!
//! `cargo run --example session -- https://shop.example/login https://shop.example/orders`

use rungs::{Fetcher, Result, Tier};

#[tokio::main]
async fn main() -> Result<()> {
    let fetcher = Fetcher::builder().max_tier(Tier::Impersonate).build()?;
    let shop = fetcher.session("shop");
    for url in std::env::args().skip(1) {
        match shop.get(&url).header("accept-language", "en").send().await {
            Ok(page) => println!("{url}: {} by {}, {} bytes", page.status(), page.tier(), page.body_len()),
            Err(error) if error.is_blocked() => {
                println!("{url}: blocked");
                for attempt in error.trace().map(rungs::Trace::attempts).unwrap_or_default() {
                    println!("  {} {:?}", attempt.tier, attempt.status);
                }
            }
            Err(error) => println!("{url}: {}", error.chain()),
        }
    }
    Ok(())
}

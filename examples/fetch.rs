//! The smallest program: fetches one URL with the cheapest tier that works.
//!
//! `cargo run --example fetch -- https://shop.example/p/1`

use rungs::{Fetcher, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let Some(url) = std::env::args().nth(1) else {
        eprintln!("usage: fetch URL");
        return Ok(());
    };
    let fetcher = Fetcher::builder().build()?;
    let page = fetcher.get(&url).send().await?;
    println!("{} by {} in {:?}", page.status(), page.tier(), page.elapsed());
    println!("{}", page.text()?);
    fetcher.close().await;
    Ok(())
}

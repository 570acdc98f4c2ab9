//! Simulates a week with a site that becomes stricter and relaxes again, with and without host memory.
//!
//! `cargo run --example week`

use rungs::Result;
use rungs::lab::{Strategy, simulate_week};

#[tokio::main]
async fn main() -> Result<()> {
    println!(
        "| strategy | fetches | genuine pages | by plain tier | browser visits | HTTP requests | of these blocked |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for strategy in Strategy::ALL {
        let week = simulate_week(strategy).await?;
        println!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            strategy.name(),
            week.fetches,
            week.pages,
            week.plain_pages,
            week.browser_visits,
            week.http_requests,
            week.wasted
        );
    }
    Ok(())
}

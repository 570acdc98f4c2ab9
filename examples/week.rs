//! Simulates a week with a site that becomes stricter and relaxes again: with and without host memory, and with challenges
//! that no block rule knows, with and without the structural detector.
//!
//! `cargo run --example week`

use rungs::Result;
use rungs::detect::Rules;
use rungs::lab::{SimulatedChallenge, SimulationCost, Strategy, simulate_week, simulate_week_with};

/// Disables the kinds of the structural detector that the challenges could be taken for.
const RULES_ALONE: &str = "schema = 1\nname = \"structure\"\noff = [\"challenge\", \"captcha\", \"block\"]\n";

#[tokio::main]
async fn main() -> Result<()> {
    println!("| strategy | {HEADINGS}");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for strategy in Strategy::ALL {
        print_row(strategy.name(), &simulate_week(strategy).await?);
    }
    println!("\n| challenge, with host memory | {HEADINGS}");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    let rules_alone = Rules::shipped().and_toml(RULES_ALONE, "rules alone")?;
    for challenge in SimulatedChallenge::ALL {
        for (rules, suffix) in [(&Rules::shipped(), ""), (&rules_alone, ", rules alone")] {
            let week = simulate_week_with(Strategy::Memory, challenge, rules).await?;
            print_row(&format!("{}{suffix}", challenge.name()), &week);
        }
    }
    Ok(())
}

const HEADINGS: &str = "fetches | genuine pages | challenges taken for pages | by plain tier | browser visits | HTTP requests | of these blocked |";

fn print_row(name: &str, week: &SimulationCost) {
    println!(
        "| {name} | {} | {} | {} | {} | {} | {} | {} |",
        week.fetches,
        week.pages,
        week.false_pages,
        week.plain_pages,
        week.browser_visits,
        week.http_requests,
        week.wasted
    );
}

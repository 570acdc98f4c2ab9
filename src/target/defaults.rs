//! What is so when nobody says otherwise, as the lowest layer.

use toml::Table;

use super::settings::{BudgetSettings, Expect, Limits, Retry, Robots, Settings, Tiers, Timeouts};
use crate::bounds::Bounds;
use crate::budget::Budget;
use crate::schedule::Schedule;
use crate::tier::Tier;
use crate::units::{Size, Span};

/// The lowest layer.
pub(super) fn table() -> Table {
    let (bounds, schedule, budget) = (Bounds::default(), Schedule::default(), Budget::default());
    let settings = Settings {
        robots: Some(Robots::Ignore),
        tiers: Tiers {
            start: None,
            min: Some(Tier::Plain),
            max: Some(if cfg!(feature = "browser") { Tier::Browser } else { Tier::Impersonate }),
        },
        retry: Retry {
            times: Some(schedule.times),
            backoff: Some(Span(schedule.backoff)),
            rate_limit_backoff: Some(Span(schedule.rate_limit_backoff)),
            max_wait: Some(Span(schedule.max_wait)),
            repeat_unsafe: Some(schedule.repeat_unsafe),
        },
        budget: BudgetSettings {
            attempts: Some(budget.attempts),
            visits: Some(budget.visits),
            bytes: budget.bytes.map(Size),
            elapsed: budget.elapsed.map(Span),
        },
        timeouts: Timeouts {
            total: bounds.fetch_total.map(Span),
            http: Some(Span(bounds.http_total)),
            browser: Some(Span(bounds.browser_total)),
            dns: Some(Span(bounds.dns)),
            connect: Some(Span(bounds.connect)),
            tls: Some(Span(bounds.tls)),
            first_byte: Some(Span(bounds.first_byte)),
            read_idle: Some(Span(bounds.read_idle)),
            settle: Some(Span(bounds.browser_settle)),
            challenge: Some(Span(bounds.browser_challenge)),
        },
        limits: Limits {
            max_body: Some(Size(bounds.max_body)),
            max_file: Some(Size(bounds.max_file)),
            max_redirects: Some(bounds.max_redirects),
        },
        expect: Expect { usual: Some(true), ..Expect::default() },
        ..Settings::default()
    };
    Table::try_from(settings).expect("settings are a table")
}

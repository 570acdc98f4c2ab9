//! What is so when nobody says otherwise, as the lowest layer.

use toml::Table;

use super::settings::{
    BudgetSettings, ExpectSettings, LimitSettings, RetrySettings, RobotsPolicy, Settings, TierSettings,
    TimeoutSettings,
};
use crate::budget::Budget;
use crate::limits::Limits;
use crate::retry::RetryPolicy;
use crate::tier::Tier;
use crate::units::{ByteSize, HumanDuration};

/// The lowest layer.
pub(super) fn table() -> Table {
    let (bounds, schedule, budget) = (Limits::default(), RetryPolicy::default(), Budget::default());
    let settings = Settings {
        robots: Some(RobotsPolicy::Ignore),
        tiers: TierSettings {
            start: None,
            min: Some(Tier::Plain),
            max: Some(if cfg!(feature = "browser") { Tier::Browser } else { Tier::Impersonate }),
        },
        retry: RetrySettings {
            times: Some(schedule.max_retries),
            backoff: Some(HumanDuration(schedule.backoff)),
            rate_limit_backoff: Some(HumanDuration(schedule.rate_limit_backoff)),
            max_wait: Some(HumanDuration(schedule.max_wait)),
            repeat_unsafe: Some(schedule.repeat_unsafe),
        },
        budget: BudgetSettings {
            attempts: Some(budget.attempts),
            visits: Some(budget.visits),
            bytes: budget.bytes.map(ByteSize),
            elapsed: budget.elapsed.map(HumanDuration),
        },
        timeouts: TimeoutSettings {
            total: bounds.fetch_total.map(HumanDuration),
            http: Some(HumanDuration(bounds.http_total)),
            browser: Some(HumanDuration(bounds.browser_total)),
            dns: Some(HumanDuration(bounds.dns)),
            connect: Some(HumanDuration(bounds.connect)),
            tls: Some(HumanDuration(bounds.tls)),
            first_byte: Some(HumanDuration(bounds.first_byte)),
            read_idle: Some(HumanDuration(bounds.read_idle)),
            settle: Some(HumanDuration(bounds.browser_settle)),
            challenge: Some(HumanDuration(bounds.browser_challenge)),
        },
        limits: LimitSettings {
            max_body: Some(ByteSize(bounds.max_body)),
            max_file: Some(ByteSize(bounds.max_file)),
            max_redirects: Some(bounds.max_redirects),
        },
        expect: ExpectSettings { usual: Some(true), ..ExpectSettings::default() },
        ..Settings::default()
    };
    Table::try_from(settings).expect("settings are a table")
}

//! The defaults, as the lowest layer.

use toml::Table;

use super::settings::{
    BudgetSettings, ExpectSettings, LimitSettings, RequestSettings, RetrySettings, RobotsPolicy, Settings,
    TierSettings, TimeoutSettings,
};
use crate::exchange::tier::Tier;
use crate::settings::budget::Budget;
use crate::settings::limits::Limits;
use crate::settings::retry::RetryPolicy;
use crate::settings::units::{ByteSize, HumanDuration};

/// Returns the lowest layer.
pub(super) fn table() -> Table {
    let (limits, retry, budget) = (Limits::default(), RetryPolicy::default(), Budget::default());
    let settings = Settings {
        robots: Some(RobotsPolicy::Ignore),
        tiers: TierSettings {
            start: None,
            min: Some(Tier::Plain),
            max: Some(if cfg!(feature = "browser") { Tier::Browser } else { Tier::Impersonate }),
        },
        retry: RetrySettings {
            times: Some(retry.max_retries),
            backoff: Some(HumanDuration(retry.backoff)),
            rate_limit_backoff: Some(HumanDuration(retry.rate_limit_backoff)),
            max_wait: Some(HumanDuration(retry.max_wait)),
            repeat_unsafe: Some(retry.repeat_unsafe),
        },
        budget: BudgetSettings {
            attempts: Some(budget.attempts),
            visits: Some(budget.visits),
            bytes: budget.bytes.map(ByteSize),
            elapsed: budget.elapsed.map(HumanDuration),
        },
        timeouts: TimeoutSettings {
            total: limits.fetch_total.map(HumanDuration),
            http: Some(HumanDuration(limits.http_total)),
            browser: Some(HumanDuration(limits.browser_total)),
            dns: Some(HumanDuration(limits.dns)),
            connect: Some(HumanDuration(limits.connect)),
            tls: Some(HumanDuration(limits.tls)),
            first_byte: Some(HumanDuration(limits.first_byte)),
            read_idle: Some(HumanDuration(limits.read_idle)),
            settle: Some(HumanDuration(limits.browser_settle)),
            challenge: Some(HumanDuration(limits.browser_challenge)),
        },
        limits: LimitSettings {
            max_body: Some(ByteSize(limits.max_body)),
            max_file: Some(ByteSize(limits.max_file)),
            max_redirects: Some(limits.max_redirects),
        },
        request: RequestSettings { meta_refresh: Some(true), ..RequestSettings::default() },
        expect: ExpectSettings { usual: Some(true), ..ExpectSettings::default() },
        ..Settings::default()
    };
    Table::try_from(settings).expect("settings are a table")
}

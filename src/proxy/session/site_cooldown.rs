//! Sites that an endpoint should avoid for a while. Pure.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::settings::cooldown::{Cooldown, CooldownPolicy};

/// The cooldown of each site.
#[derive(Debug, Default)]
pub(super) struct SiteCooldowns(HashMap<String, Cooldown>);

impl SiteCooldowns {
    /// When the cooldown of `site` ends; `None` when the site may be requested.
    pub(super) fn until(&self, site: &str, now: Instant) -> Option<Instant> {
        self.0.get(site).map(Cooldown::until).filter(|until| *until > now)
    }

    /// Records that `site` refused the endpoint. Each refusal in a row doubles the cooldown.
    pub(super) fn record_refusal(&mut self, site: &str, now: Instant) {
        if self.0.len() >= MAX_SITES && !self.0.contains_key(site) {
            self.0.retain(|_, cooldown| cooldown.until() > now);
        }
        if self.0.len() >= MAX_SITES && !self.0.contains_key(site) {
            // All entries are cooling down: remove the one that ends first.
            let next =
                self.0.iter().min_by_key(|(_, cooldown)| cooldown.until()).map(|(site, _)| site.clone());
            next.map(|site| self.0.remove(&site));
        }
        match self.0.get_mut(site) {
            // The request began before the refusal that started this cooldown.
            Some(cooldown) if cooldown.until() > now => {}
            Some(cooldown) => *cooldown = cooldown.doubled(now),
            None => {
                self.0.insert(site.to_owned(), COOLDOWNS.begin(now));
            }
        }
    }

    /// Records that `site` returned a page.
    pub(super) fn clear(&mut self, site: &str) {
        self.0.remove(site);
    }
}

static COOLDOWNS: CooldownPolicy =
    CooldownPolicy { first: Duration::from_secs(60), max: Duration::from_secs(30 * 60), probe_timeout: None };
const MAX_SITES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_doubles_the_cooldown_until_the_site_returns_a_page() {
        let (mut cooldowns, mut now) = (SiteCooldowns::default(), Instant::now());
        for lasts in [60, 120, 240, 480, 960, 1_800, 1_800] {
            cooldowns.record_refusal("a", now);
            cooldowns.record_refusal("a", now);
            assert_eq!(cooldowns.until("a", now), Some(now + Duration::from_secs(lasts)), "{lasts}");
            assert_eq!(cooldowns.until("b", now), None);
            now += Duration::from_secs(lasts);
            assert_eq!(cooldowns.until("a", now), None);
        }
        cooldowns.record_refusal("a", now);
        cooldowns.clear("a");
        assert_eq!(cooldowns.until("a", now), None);
    }

    #[test]
    fn the_number_of_sites_is_limited() {
        let (mut cooldowns, now) = (SiteCooldowns::default(), Instant::now());
        for site in 0..MAX_SITES + 10 {
            cooldowns.record_refusal(&site.to_string(), now + Duration::from_millis(site as u64));
        }
        assert_eq!(cooldowns.0.len(), MAX_SITES);
        assert!(cooldowns.until("521", now).is_some() && cooldowns.until("0", now).is_none());
    }
}

//! Sites that an exit had better leave alone for a while. Pure.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// By site: until when, and how long that was.
#[derive(Debug, Default)]
pub(super) struct SiteCooldowns(HashMap<String, (Instant, Duration)>);

impl SiteCooldowns {
    /// Until when `site` is to be left alone; `None` when it may be asked.
    pub(super) fn until(&self, site: &str, now: Instant) -> Option<Instant> {
        self.0.get(site).map(|(until, _)| *until).filter(|until| *until > now)
    }

    /// `site` refused the exit: each time in a row it is left alone twice as long.
    pub(super) fn record_refusal(&mut self, site: &str, now: Instant) {
        if self.0.len() >= MAX_SITES && !self.0.contains_key(site) {
            self.0.retain(|_, (until, _)| *until > now);
        }
        if self.0.len() >= MAX_SITES && !self.0.contains_key(site) {
            // All of them cool: the one that is nearest to its end makes room.
            let next = self.0.iter().min_by_key(|(_, (until, _))| *until).map(|(site, _)| site.clone());
            next.map(|site| self.0.remove(&site));
        }
        match self.0.get_mut(site) {
            // What was under way when it was refused is no news.
            Some((until, _)) if *until > now => {}
            Some((until, lasts)) => {
                *lasts = (*lasts * 2).min(MAX_COOLDOWN);
                *until = now + *lasts;
            }
            None => {
                self.0.insert(site.to_owned(), (now + FIRST_COOLDOWN, FIRST_COOLDOWN));
            }
        }
    }

    /// `site` gave a page.
    pub(super) fn clear(&mut self, site: &str) {
        self.0.remove(site);
    }
}

const FIRST_COOLDOWN: Duration = Duration::from_secs(60);
const MAX_COOLDOWN: Duration = Duration::from_secs(30 * 60);
const MAX_SITES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_that_refuses_again_is_left_alone_for_longer_until_it_gives_a_page() {
        let (mut cooling, mut now) = (SiteCooldowns::default(), Instant::now());
        for lasts in [60, 120, 240, 480, 960, 1_800, 1_800] {
            cooling.record_refusal("a", now);
            cooling.record_refusal("a", now);
            assert_eq!(cooling.until("a", now), Some(now + Duration::from_secs(lasts)), "{lasts}");
            assert_eq!(cooling.until("b", now), None);
            now += Duration::from_secs(lasts);
            assert_eq!(cooling.until("a", now), None);
        }
        cooling.record_refusal("a", now);
        cooling.clear("a");
        assert_eq!(cooling.until("a", now), None);
    }

    #[test]
    fn no_more_sites_are_kept_than_there_is_room_for() {
        let (mut cooling, now) = (SiteCooldowns::default(), Instant::now());
        for site in 0..MAX_SITES + 10 {
            cooling.record_refusal(&site.to_string(), now + Duration::from_millis(site as u64));
        }
        assert_eq!(cooling.0.len(), MAX_SITES);
        assert!(cooling.until("521", now).is_some() && cooling.until("0", now).is_none());
    }
}

//! How large the pages of one part of a site usually are. Pure: the time comes from outside.

use serde::{Deserialize, Serialize};
use url::Url;

/// In which form a page is measured: the same page has another size in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkupSource {
    /// As the server sent it, content coding removed.
    Html,
    /// As the browser wrote it out.
    Dom,
}

impl MarkupSource {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Html, Self::Dom];

    /// The stable lower-case name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Dom => "dom",
        }
    }
}

/// What was learned of the sizes, page by page. Older pages weigh less and less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageSizeModel {
    /// How many pages were measured, ever.
    pub pages: u32,
    /// Mean of the sizes' logarithms: one huge page among many does not count as many.
    pub mean: f64,
    /// Variance of the sizes' logarithms.
    pub spread: f64,
    /// Which pages they were: each sets one of 64 bits, by its URL.
    pub urls: u64,
    /// How many fetches in a row ended with a page that was refused for its size alone.
    pub doubts: u32,
    /// When the last was seen, in seconds since 1970.
    pub seen: i64,
}

/// One thing learned of a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SizeSample {
    /// A genuine page of so many bytes, by its [`mark`].
    Page { bytes: u64, url_bit: u64 },
    /// A fetch ended with nothing but a page far too small.
    TooSmall,
}

impl PageSizeModel {
    pub(crate) fn learn(&mut self, measure: SizeSample, now: i64) {
        self.seen = self.seen.max(now);
        let SizeSample::Page { bytes, url_bit: mark } = measure else {
            self.doubts = self.doubts.saturating_add(1);
            return;
        };
        self.doubts = 0;
        self.pages = self.pages.saturating_add(1);
        self.urls |= mark;
        #[expect(clippy::cast_precision_loss, reason = "a size's logarithm needs no 52 bits")]
        let size = (bytes.max(1) as f64).ln();
        let weight = f64::from(self.pages.min(AVERAGING_WINDOW));
        let off = size - self.mean;
        self.mean += off / weight;
        self.spread += (off * (size - self.mean) - self.spread) / weight;
    }

    /// The usual size in bytes, where one can be told: enough pages were measured, of sizes that are much
    /// alike, and of several URLs or of the very one that is asked for.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        let is_varied = self.urls.count_ones() >= MIN_URLS;
        (is_varied && self.is_steady()).then(|| self.size())
    }

    /// The usual size for judging the page of this [`mark`].
    pub(crate) fn bytes_for(&self, mark: u64) -> Option<u64> {
        let is_known = self.urls & mark != 0 || self.urls.count_ones() >= MIN_URLS;
        (is_known && self.is_steady() && self.doubts < MAX_DOUBTS).then(|| self.size())
    }

    fn is_steady(&self) -> bool {
        self.pages >= MIN_PAGES && self.spread <= MAX_VARIANCE
    }

    fn size(&self) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the exponential is positive, and `as` saturates"
        )]
        let size = self.mean.exp().round() as u64;
        size
    }

    /// Whether the numbers can be those of sizes: what comes from a file is looked at.
    pub(crate) fn is_valid(&self) -> bool {
        (0.0..=MAX_LOG_SIZE).contains(&self.mean)
            && (0.0..=MAX_LOG_SIZE * MAX_LOG_SIZE).contains(&self.spread)
            && self.seen >= 0
    }
}

/// One bit of 64 for a URL, the same in every process.
pub(crate) fn url_bit(url: &Url) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let (path, query) = (url.path().bytes(), url.query().unwrap_or_default().bytes());
    let hash = path.chain([b'?']).chain(query).fold(0xcbf2_9ce4_8422_2325, |hash, byte| fnv(hash, &byte));
    // The last bytes, in which neighbours differ, hardly reach the highest bits by themselves.
    1 << ((hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

/// Whether two tiers got what is the same page by its size: a browser writes one out somewhat larger.
pub(crate) const fn is_similar_size(one: u64, other: u64) -> bool {
    let (small, large) = if one < other { (one, other) } else { (other, one) };
    large <= small.saturating_mul(2).saturating_add(BROWSER_OVERHEAD)
}

/// Over how many pages the mean is taken.
const AVERAGING_WINDOW: u32 = 20;
/// How many pages must have been measured before their size is called usual, and of how many URLs.
const MIN_PAGES: u32 = 10;
const MIN_URLS: u32 = 5;
/// The most variance of a size that can be called usual: most pages are within a factor of 2.7 of it.
const MAX_VARIANCE: f64 = 0.25;
/// After so many fetches in a row that ended with a page too small, the site has changed.
const MAX_DOUBTS: u32 = 3;
/// No page is larger than this one's logarithm says: 2^64 bytes.
const MAX_LOG_SIZE: f64 = 44.4;
/// What a browser may add to the smallest page, in bytes.
const BROWSER_OVERHEAD: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;

    fn url(at: usize) -> Url {
        format!("https://shop.example/p/{at}").parse().unwrap()
    }

    fn learned(sizes: &[u64]) -> PageSizeModel {
        let mut usual = PageSizeModel::default();
        for (at, bytes) in sizes.iter().enumerate() {
            usual.learn(SizeSample::Page { bytes: *bytes, url_bit: url_bit(&url(at)) }, NOW);
        }
        usual
    }

    /// So many pages around 100 kB.
    fn about(pages: usize) -> Vec<u64> {
        (0..pages).map(|at| 80_000 + 10_000 * (at as u64 % 5)).collect()
    }

    #[test]
    fn a_size_is_usual_after_ten_pages_that_are_much_alike() {
        let mixed = [2_000, 90_000, 500, 40_000, 300_000].repeat(10);
        let one_off: Vec<u64> = about(19).into_iter().chain([600]).collect();
        for (sizes, usual) in [
            (about(9), None),
            (about(10), Some(80_000..120_000)),
            (about(500), Some(80_000..120_000)),
            (mixed, None),
            (one_off, None),
            (vec![0; 30], Some(0..2)),
        ] {
            let bytes = learned(&sizes).bytes();
            assert_eq!(bytes.is_some(), usual.is_some(), "{sizes:?}");
            assert!(bytes.is_none_or(|bytes| usual.unwrap().contains(&bytes)), "{bytes:?} of {sizes:?}");
        }
    }

    #[test]
    fn neighbours_set_different_bits() {
        for pages in ["https://a.example/p/", "https://a.example/search?q=x&page="] {
            let bits = (0..10).map(|at| url_bit(&format!("{pages}{at}").parse().unwrap()));
            let urls = bits.fold(0, |urls, bit| urls | bit);
            assert!(urls.count_ones() >= 8, "{urls:b}");
        }
    }

    #[test]
    fn one_page_seen_often_says_nothing_of_another() {
        let mut usual = PageSizeModel::default();
        for _ in 0..50 {
            usual.learn(SizeSample::Page { bytes: 100_000, url_bit: url_bit(&url(1)) }, NOW);
        }
        assert_eq!((usual.bytes(), usual.bytes_for(url_bit(&url(1)))), (None, Some(100_000)));
        let other = (2..100).map(|at| url_bit(&url(at))).find(|other| *other != url_bit(&url(1))).unwrap();
        assert_eq!(usual.bytes_for(other), None);
    }

    #[test]
    fn a_site_that_changed_is_judged_by_no_size_until_its_new_ones_agree() {
        let mut usual = learned(&about(200));
        let mut silent = 0;
        for at in 0..200 {
            usual.learn(SizeSample::Page { bytes: 4_000, url_bit: url_bit(&url(at)) }, NOW);
            // At no time would the new size be called too small.
            assert!(usual.bytes().is_none_or(|bytes| bytes / 10 <= 4_000), "{:?}", usual.bytes());
            silent += u32::from(usual.bytes().is_none());
        }
        assert!((10..120).contains(&silent), "{silent}");
        assert!((3_900..4_400).contains(&usual.bytes().unwrap()));
    }

    #[test]
    fn a_size_refused_three_times_in_a_row_is_held_against_no_page_until_one_is_seen_again() {
        let mut usual = learned(&about(20));
        let page = url_bit(&url(1));
        for left in [2, 1, 0] {
            usual.learn(SizeSample::TooSmall, NOW);
            assert_eq!(usual.bytes_for(page).is_some(), left > 0, "{left}");
        }
        usual.learn(SizeSample::Page { bytes: 100_000, url_bit: page }, NOW);
        assert!(usual.bytes_for(page).is_some());
    }

    #[test]
    fn tiers_agree_on_a_page_when_its_size_is_about_the_same() {
        for (one, other, alike) in [
            (0, 900, true),
            (300, 1_500, true),
            (300, 2_000, false),
            (9_000, 18_000, true),
            (9_000, 90_000, false),
        ] {
            assert_eq!(
                (is_similar_size(one, other), is_similar_size(other, one)),
                (alike, alike),
                "{one} {other}"
            );
        }
    }

    #[test]
    fn what_cannot_be_sizes_is_known_as_such() {
        assert!(learned(&[u64::MAX, 0, u64::MAX]).is_valid());
        for (mean, spread) in [(f64::NAN, 0.0), (-1.0, 0.0), (1e9, 0.0), (1.0, f64::INFINITY), (1.0, -1.0)] {
            assert!(
                !PageSizeModel { mean, spread, ..PageSizeModel::default() }.is_valid(),
                "{mean} {spread}"
            );
        }
    }
}

//! The usual page size of a site section. Pure: the caller passes the time.

use serde::{Deserialize, Serialize};
use url::Url;

/// The markup whose size is measured. A page's size differs between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkupSource {
    /// The HTML from the server, after content decoding.
    Html,
    /// The DOM as the browser serialized it.
    Dom,
}

impl MarkupSource {
    /// All variants.
    pub const ALL: [Self; 2] = [Self::Html, Self::Dom];

    /// Returns the stable lower-case name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Dom => "dom",
        }
    }
}

/// Mean and variance of the page sizes, updated page by page. The weight of older pages decreases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageSizeModel {
    /// Number of pages ever measured.
    pub pages: u32,
    /// Mean of the logarithms of the sizes, so that one huge page does not dominate.
    pub mean: f64,
    /// Variance of the logarithms of the sizes.
    pub spread: f64,
    /// Bit set of the measured URLs: each URL sets one of 64 bits.
    pub urls: u64,
    /// Number of consecutive fetches whose page was rejected for its size alone.
    pub doubts: u32,
    /// When the last sample was recorded, in seconds since 1970.
    pub seen: i64,
}

/// One size measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SizeSample {
    /// A genuine page of `bytes` bytes; `url_bit` is the [`url_bit`] of its URL.
    Page { bytes: u64, url_bit: u64 },
    /// A fetch whose only page was far too small.
    TooSmall,
}

impl PageSizeModel {
    pub(crate) fn learn(&mut self, sample: SizeSample, now: i64) {
        self.seen = self.seen.max(now);
        let SizeSample::Page { bytes, url_bit } = sample else {
            self.doubts = self.doubts.saturating_add(1);
            return;
        };
        self.doubts = 0;
        self.pages = self.pages.saturating_add(1);
        self.urls |= url_bit;
        #[expect(clippy::cast_precision_loss, reason = "a size's logarithm needs no 52 bits")]
        let size = (bytes.max(1) as f64).ln();
        let weight = f64::from(self.pages.min(AVERAGING_WINDOW));
        let deviation = size - self.mean;
        self.mean += deviation / weight;
        self.spread += (deviation * (size - self.mean) - self.spread) / weight;
    }

    /// Returns the usual size in bytes. `None` unless enough pages of several URLs were measured and their sizes
    /// are similar.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        let is_varied = self.urls.count_ones() >= MIN_URLS;
        (is_varied && self.is_steady()).then(|| self.size())
    }

    /// Returns the usual size for the page whose URL has this [`url_bit`]. That URL alone suffices.
    pub(crate) fn bytes_for(&self, url_bit: u64) -> Option<u64> {
        let is_known = self.urls & url_bit != 0 || self.urls.count_ones() >= MIN_URLS;
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

    /// Whether the numbers are possible. Data from a file is not trusted.
    pub(crate) fn is_valid(&self) -> bool {
        (0.0..=MAX_LOG_SIZE).contains(&self.mean)
            && (0.0..=MAX_LOG_SIZE * MAX_LOG_SIZE).contains(&self.spread)
            && self.seen >= 0
    }
}

/// Returns one of 64 bits for a URL, the same in every process.
pub(crate) fn url_bit(url: &Url) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let (path, query) = (url.path().bytes(), url.query().unwrap_or_default().bytes());
    let hash = path.chain([b'?']).chain(query).fold(0xcbf2_9ce4_8422_2325, |hash, byte| fnv(hash, &byte));
    // Similar URLs differ in their last bytes, which FNV hardly spreads to the highest bits.
    1 << ((hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

/// Whether two sizes can be of the same page. A browser's serialized page is somewhat larger.
pub(crate) const fn is_similar_size(one: u64, other: u64) -> bool {
    let (small, large) = if one < other { (one, other) } else { (other, one) };
    large <= small.saturating_mul(2).saturating_add(BROWSER_OVERHEAD)
}

/// Number of pages over which the mean is taken.
const AVERAGING_WINDOW: u32 = 20;
/// Minimum number of pages, and of URLs, before their size counts as usual.
const MIN_PAGES: u32 = 10;
const MIN_URLS: u32 = 5;
/// Maximum variance of a usual size: most pages are within a factor of 2.7 of it.
const MAX_VARIANCE: f64 = 0.25;
/// After this many consecutive fetches with a page that is too small, the site is assumed to have changed.
const MAX_DOUBTS: u32 = 3;
/// Logarithm of the largest possible size, 2^64 bytes.
const MAX_LOG_SIZE: f64 = 44.4;
/// Number of bytes that a browser may add to the smallest page.
const BROWSER_OVERHEAD: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;

    fn url(at: usize) -> Url {
        format!("https://shop.example/p/{at}").parse().unwrap()
    }

    fn model_of(sizes: &[u64]) -> PageSizeModel {
        let mut model = PageSizeModel::default();
        for (at, bytes) in sizes.iter().enumerate() {
            model.learn(SizeSample::Page { bytes: *bytes, url_bit: url_bit(&url(at)) }, NOW);
        }
        model
    }

    /// Returns `pages` sizes around 100 kB.
    fn similar_sizes(pages: usize) -> Vec<u64> {
        (0..pages).map(|at| 80_000 + 10_000 * (at as u64 % 5)).collect()
    }

    #[test]
    fn a_size_is_usual_after_ten_pages_of_similar_size() {
        let mixed = [2_000, 90_000, 500, 40_000, 300_000].repeat(10);
        let one_off: Vec<u64> = similar_sizes(19).into_iter().chain([600]).collect();
        for (sizes, expected) in [
            (similar_sizes(9), None),
            (similar_sizes(10), Some(80_000..120_000)),
            (similar_sizes(500), Some(80_000..120_000)),
            (mixed, None),
            (one_off, None),
            (vec![0; 30], Some(0..2)),
        ] {
            let bytes = model_of(&sizes).bytes();
            assert_eq!(bytes.is_some(), expected.is_some(), "{sizes:?}");
            assert!(bytes.is_none_or(|bytes| expected.unwrap().contains(&bytes)), "{bytes:?} of {sizes:?}");
        }
    }

    #[test]
    fn similar_urls_set_different_bits() {
        for prefix in ["https://a.example/p/", "https://a.example/search?q=x&page="] {
            let bits = (0..10).map(|at| url_bit(&format!("{prefix}{at}").parse().unwrap()));
            let urls = bits.fold(0, |urls, bit| urls | bit);
            assert!(urls.count_ones() >= 8, "{urls:b}");
        }
    }

    #[test]
    fn a_page_measured_often_is_not_a_model_for_another() {
        let mut model = PageSizeModel::default();
        for _ in 0..50 {
            model.learn(SizeSample::Page { bytes: 100_000, url_bit: url_bit(&url(1)) }, NOW);
        }
        assert_eq!((model.bytes(), model.bytes_for(url_bit(&url(1)))), (None, Some(100_000)));
        let other = (2..100).map(|at| url_bit(&url(at))).find(|other| *other != url_bit(&url(1))).unwrap();
        assert_eq!(model.bytes_for(other), None);
    }

    #[test]
    fn a_changed_site_has_no_usual_size_until_its_new_sizes_are_similar() {
        let mut model = model_of(&similar_sizes(200));
        let mut unknown = 0;
        for at in 0..200 {
            model.learn(SizeSample::Page { bytes: 4_000, url_bit: url_bit(&url(at)) }, NOW);
            // The new size never counts as too small.
            assert!(model.bytes().is_none_or(|bytes| bytes / 10 <= 4_000), "{:?}", model.bytes());
            unknown += u32::from(model.bytes().is_none());
        }
        assert!((10..120).contains(&unknown), "{unknown}");
        assert!((3_900..4_400).contains(&model.bytes().unwrap()));
    }

    #[test]
    fn a_size_rejected_three_times_in_a_row_is_not_used_until_the_next_page() {
        let mut model = model_of(&similar_sizes(20));
        let page = url_bit(&url(1));
        for remaining in [2, 1, 0] {
            model.learn(SizeSample::TooSmall, NOW);
            assert_eq!(model.bytes_for(page).is_some(), remaining > 0, "{remaining}");
        }
        model.learn(SizeSample::Page { bytes: 100_000, url_bit: page }, NOW);
        assert!(model.bytes_for(page).is_some());
    }

    #[test]
    fn tiers_agree_on_a_page_if_its_sizes_are_similar() {
        for (one, other, similar) in [
            (0, 900, true),
            (300, 1_500, true),
            (300, 2_000, false),
            (9_000, 18_000, true),
            (9_000, 90_000, false),
        ] {
            assert_eq!(
                (is_similar_size(one, other), is_similar_size(other, one)),
                (similar, similar),
                "{one} {other}"
            );
        }
    }

    #[test]
    fn impossible_sizes_are_invalid() {
        assert!(model_of(&[u64::MAX, 0, u64::MAX]).is_valid());
        for (mean, spread) in [(f64::NAN, 0.0), (-1.0, 0.0), (1e9, 0.0), (1.0, f64::INFINITY), (1.0, -1.0)] {
            assert!(
                !PageSizeModel { mean, spread, ..PageSizeModel::default() }.is_valid(),
                "{mean} {spread}"
            );
        }
    }
}

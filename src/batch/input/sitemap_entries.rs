//! The entries of a sitemap, and the problems of reading them.

/// The entries of one file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SitemapEntries {
    pub(super) pages: Vec<String>,
    pub(super) sitemaps: Vec<String>,
    /// Why entries are missing, and where. At most [`MAX_PROBLEMS`].
    pub(super) problems: Vec<String>,
    /// Further problems.
    pub(super) more_problems: usize,
}

impl SitemapEntries {
    pub(super) const fn len(&self) -> usize {
        self.pages.len() + self.sitemaps.len()
    }

    /// Whether there is no room for another entry.
    pub(super) fn is_full(&mut self) -> bool {
        if self.len() < MAX_ENTRIES {
            return false;
        }
        self.add_problem(|| format!("the sitemap exceeds {MAX_ENTRIES} entries; the rest was ignored"));
        true
    }

    /// Adds a problem. The text is created only if it is kept.
    pub(super) fn add_problem(&mut self, problem: impl FnOnce() -> String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem());
        } else {
            self.more_problems += 1;
        }
    }

    /// Describes the problems in one line.
    pub(super) fn describe_problems(&self) -> Option<String> {
        let more = (self.more_problems > 0).then(|| format!("and {} more", self.more_problems));
        let all: Vec<&str> = self.problems.iter().map(String::as_str).chain(more.as_deref()).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// The limit of the sitemap protocol for the entries of one file.
pub(super) const MAX_ENTRIES: usize = 50_000;
/// The maximum number of problems that are described.
const MAX_PROBLEMS: usize = 10;

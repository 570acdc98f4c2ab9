//! The different names of a page: of tags, attributes and classes.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use html5ever::tokenizer::Tag;

use super::floor_char_boundary;

/// Counts the different names of a page. The parser stores each in one table of the process, in which a search takes
/// time that grows with the number of names.
#[derive(Default)]
pub(super) struct Names {
    hasher: RandomState,
    seen: RefCell<HashSet<u64>>,
    has_cut: Cell<bool>,
}

impl Names {
    /// Counts the names of a tag, and cuts its list of classes.
    pub(super) fn add(&self, tag: &mut Tag) {
        let mut seen = self.seen.borrow_mut();
        let mut count = |name: &str| {
            // Shorter names are not in the table.
            if name.len() > INLINE_LEN {
                seen.insert(self.hasher.hash_one(name));
            }
        };
        count(&tag.name);
        for attribute in &mut tag.attrs {
            count(&attribute.name.local);
            if &*attribute.name.local != "class" {
                continue;
            }
            if attribute.value.len() > MAX_CLASSES_LEN {
                let end = floor_char_boundary(&attribute.value, MAX_CLASSES_LEN);
                attribute.value = attribute.value[..end].into();
                self.has_cut.set(true);
            }
            attribute.value.split_ascii_whitespace().for_each(&mut count);
        }
    }

    /// Whether there are more than [`MAX_NAMES`] names.
    pub(super) fn is_full(&self) -> bool {
        self.seen.borrow().len() > MAX_NAMES
    }

    /// Whether a list of classes was cut.
    pub(super) const fn has_cut(&self) -> bool {
        self.has_cut.get()
    }
}

/// Maximum bytes of a name that is stored in place.
const INLINE_LEN: usize = 7;
/// Maximum different names of a page.
pub(super) const MAX_NAMES: usize = 20_000;
/// Maximum bytes of a list of classes.
const MAX_CLASSES_LEN: usize = 16 * 1024;

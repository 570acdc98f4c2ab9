//! Page sizes: the usual size of the pages of a site section, if their sizes are similar.

mod model;
#[cfg(feature = "memory")]
mod table;

use std::collections::HashMap;
use std::sync::Mutex;

use super::{HostMemory, SiteSection, make_room};
use crate::os::sync::lock_unpoisoned;

pub use model::{MarkupSource, PageSizeModel};

pub(crate) use model::{SizeSample, is_similar_size, url_bit};
#[cfg(feature = "memory")]
pub use table::SizeEntry;
#[cfg(feature = "memory")]
pub(super) use table::{SizeTable, SizeUpdate, load};

/// Models by path prefix.
type SectionModels = HashMap<String, PageSizeModel>;

/// The models of this process: by site, for each markup form.
#[derive(Default)]
pub(super) struct SizeCache(Mutex<HashMap<String, [SectionModels; MarkupSource::ALL.len()]>>);

impl HostMemory {
    /// Returns the usual size in bytes of the page with this [`url_bit`], if known.
    pub(crate) fn usual_page_size(
        &self,
        section: &SiteSection,
        form: MarkupSource,
        url_bit: u64,
    ) -> Option<u64> {
        let sites = lock_unpoisoned(&self.page_sizes.0);
        sites.get(&section.site)?[form as usize].get(&section.path_prefix)?.bytes_for(url_bit)
    }

    /// Records the size of a page.
    pub(crate) fn record_page_size(&self, section: &SiteSection, form: MarkupSource, sample: SizeSample) {
        let at = self.now();
        #[cfg(feature = "memory")]
        if let Some(store) = &self.store {
            let update = SizeUpdate { section: section.clone(), form, sample, at };
            store.change(|table: &mut SizeTable| table.add(update));
        }
        let mut sites = lock_unpoisoned(&self.page_sizes.0);
        if !sites.contains_key(&section.site) {
            make_room(&mut sites).insert(section.site.clone(), Default::default());
        }
        let Some(site) = sites.get_mut(&section.site) else { return };
        model_mut(&mut site[form as usize], &section.path_prefix).learn(sample, at);
    }
}

/// Returns the model of a section, which it creates if it is missing. At the limit the oldest model makes room.
fn model_mut<'a>(models: &'a mut SectionModels, path_prefix: &str) -> &'a mut PageSizeModel {
    if !models.contains_key(path_prefix) {
        if models.len() >= MAX_MODELS
            && let Some(oldest) =
                models.iter().min_by_key(|(_, model)| model.seen).map(|(prefix, _)| prefix.clone())
        {
            models.remove(&oldest);
        }
        models.insert(path_prefix.to_owned(), PageSizeModel::default());
    }
    models.get_mut(path_prefix).expect("it was just inserted")
}

/// Maximum number of models per site and markup form in the cache.
const MAX_MODELS: usize = 1000;

//! Words of a set beyond those in its entry.

use super::sync::{AtomicU64, OnceLock, Ordering};
use crate::permission::Permission;

/// The tiers of a wider set end at 16, 64, .. 16,384 words, the last one at [`Permission::LIMIT`].
pub(super) const FAR_FIRST: usize = 16;
const FAR_TIERS: usize = 6;
const _: () = assert!(FAR_FIRST << (2 * (FAR_TIERS - 1)) == Permission::LIMIT as usize / 64);

/// All words up to the tier's end; absent for as long as they are empty.
type Tier = OnceLock<Box<[AtomicU64]>>;

/// Words of any number, in tiers of which only those are allocated that were ever needed.
#[derive(Debug, Default)]
pub(super) struct Wide(OnceLock<Box<[Tier; FAR_TIERS]>>);

impl Wide {
    pub(super) fn word(&self, index: usize) -> u64 {
        self.cell(index).map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn cell(&self, index: usize) -> Option<&AtomicU64> {
        self.0.get()?.get(far_tier(index))?.get()?.get(index)
    }

    /// Whether anything was ever stored here.
    pub(super) fn is_used(&self) -> bool {
        self.0.get().is_some()
    }

    pub(super) fn store(&self, words: &[u64]) {
        let tiers = self.0.get_or_init(Box::default);
        let mut start = 0;
        for (end, tier) in (0..).map(|n| FAR_FIRST << (2 * n)).zip(tiers.iter()) {
            let span = words.get(start..words.len().min(end)).unwrap_or_default();
            if tier.get().is_some() || span.iter().any(|word| *word != 0) {
                let cells = tier.get_or_init(|| (0..end).map(|_| AtomicU64::new(0)).collect());
                let padded = span.iter().copied().chain(std::iter::repeat(0));
                for (cell, word) in cells.iter().skip(start).zip(padded) {
                    cell.store(word, Ordering::Release);
                }
            }
            start = end;
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.get().map_or(0, |tiers| {
            let cells: usize = tiers.iter().filter_map(OnceLock::get).map(|cells| cells.len()).sum();
            size_of_val(&**tiers) + cells * size_of::<AtomicU64>()
        })
    }
}

/// The tier that has a word: counted, as `Segmented` says why the highest bit is not asked for.
fn far_tier(index: usize) -> usize {
    (0..FAR_TIERS).filter(|tier| index >= FAR_FIRST << (2 * tier)).count()
}

//! Memory of hashes that finished, kept for the next ones: faulting in fresh pages costs more than a tenth of the hash.

use argon2::Block;

/// INVARIANT: what is lent and what is kept never exceed the budget together, nor the number of hashes that run at once.
#[derive(Debug)]
pub(super) struct Memory {
    budget: usize,
    hashes: usize,
    lent: usize,
    lent_blocks: usize,
    /// The one given back last at the end.
    kept: Vec<Vec<Block>>,
    kept_blocks: usize,
    peak_blocks: usize,
}

impl Memory {
    pub(super) fn new(hashes: usize, budget: usize) -> Self {
        Self { budget, hashes, lent: 0, lent_blocks: 0, kept: Vec::new(), kept_blocks: 0, peak_blocks: 0 }
    }

    /// Room for so many blocks: memory of exactly that size, or none yet, which the borrower then may make. What is kept
    /// and would be too much beside it is freed before this returns. INVARIANT: the borrower was admitted, so what is
    /// lent fits the budget.
    pub(super) fn lend(&mut self, blocks: usize) -> Vec<Block> {
        let fitting = self.kept.iter().rposition(|kept| kept.len() == blocks);
        let found = fitting.map(|place| self.kept.remove(place)).unwrap_or_default();
        self.kept_blocks -= found.len();
        self.lent += 1;
        self.lent_blocks += blocks;
        while !self.kept.is_empty()
            && (self.blocks() > self.budget || self.lent + self.kept.len() > self.hashes)
        {
            self.kept_blocks -= self.kept.remove(0).len();
        }
        self.peak_blocks = self.peak_blocks.max(self.blocks());
        found
    }

    /// The room is free again, and its memory, if it was made, for the next borrower.
    pub(super) fn give_back(&mut self, blocks: usize, memory: Vec<Block>) {
        self.lent -= 1;
        self.lent_blocks -= blocks;
        if !memory.is_empty() {
            self.kept_blocks += memory.len();
            self.kept.push(memory);
        }
    }

    /// Blocks lent and kept.
    pub(super) fn blocks(&self) -> usize {
        self.lent_blocks + self.kept_blocks
    }

    pub(super) fn peak_blocks(&self) -> usize {
        self.peak_blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn memory_of_the_same_size_is_used_again_and_other_memory_makes_room() {
        let mut memory = Memory::new(2, 10);
        for size in [4, 5] {
            assert!(memory.lend(size).is_empty());
        }
        memory.give_back(4, vec![Block::default(); 4]);
        memory.give_back(5, vec![Block::default(); 5]);
        assert_eq!((memory.lend(4).len(), memory.blocks()), (4, 9));
        assert!(memory.lend(6).is_empty(), "there is none of that size");
        assert_eq!(memory.blocks(), 10, "and the five kept were too much beside it");
        memory.give_back(6, Vec::new());
        assert_eq!(memory.blocks(), 4, "nobody made that memory");
    }

    proptest! {
        #[test]
        fn what_is_kept_and_lent_stays_within_the_budget(
            steps in prop::collection::vec((any::<bool>(), 1..12_usize, any::<bool>()), 0..80)
        ) {
            let (budget, hashes) = (16, 3);
            let mut memory = Memory::new(hashes, budget);
            let mut out: Vec<(usize, Vec<Block>)> = Vec::new();
            for (lend, blocks, made) in steps {
                let lent: usize = out.iter().map(|(blocks, _)| blocks).sum();
                if lend && out.len() < hashes && lent + blocks <= budget {
                    let mut found = memory.lend(blocks);
                    prop_assert!(found.is_empty() || found.len() == blocks);
                    if made {
                        found.resize(blocks, Block::default());
                    }
                    out.push((blocks, found));
                } else if !lend && !out.is_empty() {
                    let (blocks, found) = out.remove(0);
                    memory.give_back(blocks, found);
                }
                let lent: usize = out.iter().map(|(blocks, _)| blocks).sum();
                let kept: usize = memory.kept.iter().map(Vec::len).sum();
                prop_assert_eq!(memory.blocks(), lent + kept);
                prop_assert!(lent + kept <= budget, "{} lent and {} kept", lent, kept);
                prop_assert!(memory.kept.len() + out.len() <= hashes);
            }
        }
    }
}

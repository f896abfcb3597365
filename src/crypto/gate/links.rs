//! Doubly linked lists of numbers, so that a waiter leaves the middle of a queue without a search and a queue that has
//! been as long before takes no memory from the allocator.

const NONE: usize = usize::MAX;

/// The neighbours of each number, in whichever one list it is.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<Link>);

#[derive(Clone, Copy, Debug)]
struct Link {
    before: usize,
    after: usize,
}

/// The ends of one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct List {
    first: usize,
    last: usize,
}

impl List {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE };

    pub(super) fn first(self) -> Option<usize> {
        (self.first != NONE).then_some(self.first)
    }
}

impl Links {
    /// INVARIANT: the number is in no list of these links.
    pub(super) fn push(&mut self, list: &mut List, number: usize) {
        if self.0.len() <= number {
            self.0.resize(number + 1, Link { before: NONE, after: NONE });
        }
        self.set(number, Link { before: list.last, after: NONE });
        match self.0.get_mut(list.last) {
            Some(last) => last.after = number,
            None => list.first = number,
        }
        list.last = number;
    }

    /// INVARIANT: the number is in that list.
    pub(super) fn remove(&mut self, list: &mut List, number: usize) {
        let Some(Link { before, after }) = self.0.get(number).copied() else { return };
        match self.0.get_mut(before) {
            Some(link) => link.after = after,
            None => list.first = after,
        }
        match self.0.get_mut(after) {
            Some(link) => link.before = before,
            None => list.last = before,
        }
    }

    fn set(&mut self, number: usize, link: Link) {
        if let Some(place) = self.0.get_mut(number) {
            *place = link;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(links: &Links, list: List) -> Vec<usize> {
        let mut found = Vec::new();
        let mut at = list.first;
        while at != NONE {
            found.push(at);
            at = links.0[at].after;
        }
        found
    }

    proptest! {
        /// Two lists over one set of links, beside two vectors.
        #[test]
        fn lists_are_what_vectors_would_be(steps in prop::collection::vec((0..8_usize, 0..2_usize), 0..64)) {
            let (mut links, mut lists, mut model) = (Links::default(), [List::EMPTY; 2], [vec![], vec![]]);
            for (number, which) in steps {
                match model.iter().position(|list: &Vec<usize>| list.contains(&number)) {
                    Some(holder) => {
                        links.remove(&mut lists[holder], number);
                        model[holder].retain(|other| *other != number);
                    }
                    None => {
                        links.push(&mut lists[which], number);
                        model[which].push(number);
                    }
                }
                for (list, model) in lists.iter().zip(&model) {
                    prop_assert_eq!(&numbers(&links, *list), model);
                    prop_assert_eq!(list.first(), model.first().copied());
                    prop_assert_eq!((list.last != NONE).then_some(list.last), model.last().copied());
                }
            }
        }
    }
}

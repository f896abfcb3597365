//! What a user holds at one scope: roles and single permissions, given or denied, perhaps for a time.

use super::ViewTime;
use crate::clock::Timestamp;
use crate::grant::{Effect, Grant};
use crate::id::RoleId;
use crate::permission::Permission;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Holding {
    Role(RoleId),
    Permission(Permission),
}

/// One thing that is held, and from when until when. Sets of parts are in rising order, each holding once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Part {
    pub(crate) holding: Holding,
    pub(crate) denies: bool,
    from: u32,
    /// `FOREVER` where there is no end.
    until: u32,
}

const FOREVER: u32 = u32::MAX;

impl Part {
    /// For ever.
    #[cfg(any(test, view_model))]
    pub(crate) const fn role(role: RoleId) -> Self {
        Self { holding: Holding::Role(role), denies: false, from: 0, until: FOREVER }
    }

    /// On the terms of a stored grant, whose bounds are whole seconds.
    pub(crate) fn new(holding: Holding, terms: &Grant) -> Self {
        let second = |instant: Timestamp| ViewTime::from(instant).secs();
        let from = terms.from.map_or(0, second);
        let until = terms.until.map_or(FOREVER, |until| match ViewTime::from(until) {
            // Later than can be told, which no clock reaches.
            ViewTime::LAST => FOREVER,
            until => until.secs(),
        });
        Self { holding, denies: terms.effect == Effect::Deny, from, until }
    }

    pub(crate) const fn holds_at(&self, now: ViewTime) -> bool {
        self.from <= now.secs() && now.secs() < self.until
    }

    pub(super) const fn has_ended(&self, now: ViewTime) -> bool {
        now.secs() >= self.until
    }

    /// The instants at which it begins and ends, where it does.
    fn turns(&self) -> impl Iterator<Item = u32> {
        [self.from, self.until].into_iter().filter(|turn| *turn != 0 && *turn != FOREVER)
    }
}

/// The seconds around `now` in which the parts that hold are the same: from the first on, before the second.
pub(super) fn window(parts: &[Part], now: ViewTime) -> (u32, u32) {
    let (mut first, mut end) = (0, FOREVER);
    for turn in parts.iter().flat_map(Part::turns) {
        match turn <= now.secs() {
            true => first = first.max(turn),
            false => end = end.min(turn),
        }
    }
    (first, end)
}

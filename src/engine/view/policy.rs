//! The role graph: what each role grants by itself and through the roles it inherits from.

use super::bits::{Bits, is_flag, set_bit, union};
use super::part::{Holding, Part};
use super::selection::Choice;
use super::time::ViewTime;
use crate::error::{Error, Result};
use crate::grant::Effect;
use crate::id::{Flag, RoleId};
use crate::permission::{Permission, PermissionSet};
use crate::role::CHUNK_WORDS;
use std::collections::{HashMap, HashSet};

const CHUNKS: u32 = Permission::LIMIT / 64 / CHUNK_WORDS as u32;

/// A role, or a place kept for one that something names but that is not there.
#[derive(Clone, Debug, Default)]
struct Node {
    id: Option<RoleId>,
    /// False for a role that only its chunks or its seniors have named: it counts as nothing.
    present: bool,
    parents: Vec<u32>,
    /// Roles that name this one as a parent.
    seniors: Vec<u32>,
    own: Bits,
    /// Own bits and those of all juniors, when `clean`.
    effective: Bits,
    clean: bool,
}

/// Roles by a dense place in `nodes`; the edges are places.
// INVARIANT: when a node is not clean, none of its seniors is, so that marking can stop at the first unclean one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    nodes: Vec<Node>,
    places: HashMap<RoleId, u32>,
    free: Vec<u32>,
    defined: Vec<u64>,
}

impl Policy {
    /// Puts a role and its parents, in place of whatever parents it had.
    pub(crate) fn put_role(&mut self, id: RoleId, parents: &[RoleId]) -> Result<()> {
        let place = self.place(id)?;
        let mut list = Vec::with_capacity(parents.len());
        for parent in parents {
            list.push(self.place(*parent)?);
        }
        list.sort_unstable();
        list.dedup();
        self.relink(place, &list);
        if let Some(node) = self.node_mut(place) {
            node.present = true;
        }
        self.mark(place);
        Ok(())
    }

    /// Takes a role away; its chunks stay until they are taken away themselves.
    pub(crate) fn remove_role(&mut self, id: RoleId) {
        let Some(&place) = self.places.get(&id) else { return };
        self.relink(place, &[]);
        if let Some(node) = self.node_mut(place) {
            node.present = false;
        }
        self.mark(place);
        self.drop_if_unused(place);
    }

    /// Puts 8,192 of the bits that the role itself grants, or denies; missing words are empty.
    pub(crate) fn put_chunk(&mut self, id: RoleId, chunk: u32, words: &[u64], denies: bool) -> Result<()> {
        if chunk >= CHUNKS || words.len() > CHUNK_WORDS {
            return Err(Error::limit(
                "permission",
                format!("chunk {chunk} of {id} is beyond the last permission"),
            ));
        }
        let place = self.place(id)?;
        let start = chunk as usize * CHUNK_WORDS;
        if let Some(node) = self.node_mut(place) {
            let own = if denies { &mut node.own.denied } else { &mut node.own.allowed };
            if own.len() < start + words.len() {
                own.resize(start + words.len(), 0);
            }
            let padded = words.iter().copied().chain(std::iter::repeat(0));
            for (mine, word) in own.iter_mut().skip(start).take(CHUNK_WORDS).zip(padded) {
                *mine = word;
            }
            while own.last() == Some(&0) {
                own.pop();
            }
            own.shrink_to_fit();
        }
        self.mark(place);
        self.drop_if_unused(place);
        Ok(())
    }

    /// Puts the rule that the role itself has for a flag.
    pub(super) fn put_flag(&mut self, id: RoleId, flag: Flag, effect: Option<Effect>) -> Result<()> {
        if flag.get() >= Flag::LIMIT {
            return Err(Error::limit("flag", format!("{flag} is beyond the last one")));
        }
        let place = self.place(id)?;
        if let Some(node) = self.node_mut(place) {
            let bit = (flag.word(), flag.mask());
            set_bit(&mut node.own.on, bit, effect == Some(Effect::Allow));
            set_bit(&mut node.own.off, bit, effect == Some(Effect::Deny));
        }
        self.mark(place);
        self.drop_if_unused(place);
        Ok(())
    }

    /// The flags that a role turns on, and those that it turns off, with what it inherits.
    pub(super) fn flags_of_role(&mut self, role: RoleId) -> [Vec<Flag>; 2] {
        let mut bits = Bits::default();
        self.add_role(role, false, &mut bits);
        [bits.on, bits.off].map(|words| {
            let set = PermissionSet::from_words(words);
            set.iter().map(|bit| Flag::from_number(bit.bit())).collect()
        })
    }

    pub(super) fn has_role(&self, id: RoleId) -> bool {
        let node = self.places.get(&id).and_then(|place| self.nodes.get(*place as usize));
        node.is_some_and(|node| node.present)
    }

    pub(super) fn is_defined(&self, permission: Permission) -> bool {
        self.defined.get(permission.word()).is_some_and(|word| word & permission.mask() != 0)
    }

    /// Makes a permission count, or no longer count.
    pub(super) fn define(&mut self, permission: Permission, defined: bool) -> Result<()> {
        if permission.bit() >= Permission::LIMIT {
            return Err(Error::limit("permission", format!("{permission} is beyond the last one")));
        }
        if self.defined.len() <= permission.word() {
            self.defined.resize(permission.word() + 1, 0);
        }
        if let Some(word) = self.defined.get_mut(permission.word()) {
            *word = if defined { *word | permission.mask() } else { *word & !permission.mask() };
        }
        Ok(())
    }

    /// What all these parts that hold now come to: `allowed` is defined and not denied by any of them.
    ///
    /// Where roles were selected, only they give anything, each if it is held itself or by way of a role above it; where
    /// permissions were, nothing else is allowed. What is denied is denied all the same.
    pub(super) fn bits_into(
        &mut self,
        parts: &[Part],
        choice: Option<&Choice>,
        now: ViewTime,
        out: &mut Bits,
    ) {
        out.clear();
        let (selected, mask) = match choice {
            Some(Choice::Roles(roles)) => (Some(&**roles), None),
            Some(Choice::Limits { permissions, .. }) => (None, permissions.as_ref()),
            None => (None, None),
        };
        for part in parts.iter().filter(|part| part.holds_at(now)) {
            match (part.holding, selected) {
                (Holding::Role(role), Some(selected)) if !part.denies => {
                    self.add_selected(role, selected, out);
                }
                (Holding::Permission(permission), Some(_)) if !part.denies && !is_flag(permission) => {}
                (Holding::Role(role), _) => self.add_role(role, part.denies, out),
                (Holding::Permission(permission), _) => out.add_one(permission, part.denies),
            }
        }
        out.allowed.truncate(self.defined.len());
        if let Some(mask) = mask {
            out.allowed.truncate(mask.words().len());
            for (word, mask) in out.allowed.iter_mut().zip(mask.words()) {
                *word &= mask;
            }
        }
        let denied = out.denied.iter().copied().chain(std::iter::repeat(0));
        for ((word, defined), denied) in out.allowed.iter_mut().zip(&self.defined).zip(denied) {
            *word &= defined & !denied;
        }
    }

    fn add_role(&mut self, role: RoleId, denies: bool, out: &mut Bits) {
        let Some(&place) = self.places.get(&role) else { return };
        if self.settle(place) {
            if let Some(node) = self.node(place) {
                out.add(&node.effective, denies);
            }
            return;
        }
        // Damaged data: a cycle. Nothing is remembered, every question walks it again.
        for junior in self.walk(place, |node| &node.parents) {
            if let Some(node) = self.node(junior).filter(|node| node.present) {
                out.add(&node.own, denies);
            }
        }
    }

    /// What a role that is held gives where only some roles are active.
    fn add_selected(&mut self, role: RoleId, selected: &[RoleId], out: &mut Bits) {
        let Some(&place) = self.places.get(&role) else { return };
        let mut bits = Bits::default();
        self.add_role(role, false, &mut bits);
        union(&mut out.denied, &bits.denied);
        union(&mut out.off, &bits.off);
        let below: HashSet<u32> = self.walk(place, |node| &node.parents).into_iter().collect();
        let held = |active: &&RoleId| self.places.get(active).is_some_and(|place| below.contains(place));
        for active in selected.iter().filter(held).copied().collect::<Vec<_>>() {
            bits.clear();
            self.add_role(active, false, &mut bits);
            union(&mut out.allowed, &bits.allowed);
            union(&mut out.on, &bits.on);
        }
    }

    /// The permissions that these parts give now, all of them or those that are chosen, whatever the scope.
    pub(crate) fn effective(
        &mut self,
        parts: &[Part],
        choice: Option<&Choice>,
        now: ViewTime,
    ) -> PermissionSet {
        let mut bits = Bits::default();
        self.bits_into(parts, choice, now, &mut bits);
        PermissionSet::from_words(bits.allowed)
    }

    /// The roles that give a permission and do not deny it themselves, in rising order.
    pub(super) fn giving(&mut self, permission: Permission) -> Vec<RoleId> {
        let word =
            |words: &[u64]| words.get(permission.word()).is_some_and(|word| word & permission.mask() != 0);
        if !word(&self.defined) {
            return Vec::new();
        }
        let own: Vec<u32> = (0u32..)
            .zip(&self.nodes)
            .filter(|(_, node)| node.present && word(&node.own.allowed))
            .map(|(place, _)| place)
            .collect();
        let (mut reached, mut order, mut open) = (HashSet::new(), Vec::new(), own);
        while let Some(place) = open.pop() {
            let Some(node) = self.node(place).filter(|node| node.present) else { continue };
            if reached.insert(place) {
                order.push(place);
                open.extend_from_slice(&node.seniors);
            }
        }
        let mut found = Vec::with_capacity(order.len());
        for place in order {
            let settled = self.settle(place);
            if let Some(node) = self.node(place)
                && !(settled && word(&node.effective.denied))
            {
                found.extend(node.id);
            }
        }
        found.sort_unstable();
        found
    }

    /// The permissions that a role gives, and those that it denies, with what it inherits.
    pub(super) fn of_role(&mut self, role: RoleId) -> [PermissionSet; 2] {
        let mut bits = Bits::default();
        self.add_role(role, false, &mut bits);
        let Bits { mut allowed, mut denied, .. } = bits;
        for words in [&mut allowed, &mut denied] {
            words.truncate(self.defined.len());
            for (word, defined) in words.iter_mut().zip(&self.defined) {
                *word &= defined;
            }
        }
        [allowed, denied].map(PermissionSet::from_words)
    }

    /// The roles that this one inherits from, near and far, in rising order.
    pub(crate) fn juniors(&self, role: RoleId) -> Vec<RoleId> {
        self.around(role, |node| &node.parents)
    }

    /// The roles that inherit from this one, near and far, in rising order.
    pub(crate) fn seniors(&self, role: RoleId) -> Vec<RoleId> {
        self.around(role, |node| &node.seniors)
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.iter().filter(|node| node.present).count()
    }

    pub(super) fn bytes(&self) -> usize {
        let of = |bits: &Bits| {
            [&bits.allowed, &bits.denied, &bits.on, &bits.off].map(Vec::capacity).iter().sum::<usize>()
        };
        let words = |node: &Node| of(&node.own) + of(&node.effective);
        let edges = |node: &Node| node.parents.capacity() + node.seniors.capacity();
        let lists: usize = self.nodes.iter().map(|node| 8 * words(node) + 4 * edges(node)).sum();
        lists + self.nodes.capacity() * size_of::<Node>() + self.places.capacity() * 8 / 7 * 9
    }

    fn around(&self, role: RoleId, edges: fn(&Node) -> &Vec<u32>) -> Vec<RoleId> {
        let Some(&place) = self.places.get(&role) else { return Vec::new() };
        let mut found: Vec<RoleId> = self
            .walk(place, edges)
            .into_iter()
            .filter_map(|place| self.node(place).filter(|node| node.present)?.id)
            .filter(|found| *found != role)
            .collect();
        found.sort_unstable();
        found
    }

    /// The node and all that the edges lead to from it, each once. An absent role has no parents to lead on.
    fn walk(&self, from: u32, edges: fn(&Node) -> &Vec<u32>) -> Vec<u32> {
        let (mut seen, mut order, mut next) = (HashSet::from([from]), vec![from], 0);
        while let Some(&place) = order.get(next) {
            next += 1;
            for edge in self.node(place).map_or(&[][..], |node| edges(node)) {
                if seen.insert(*edge) {
                    order.push(*edge);
                }
            }
        }
        order
    }

    /// Makes the node and all below it clean; false if a cycle forbids it.
    fn settle(&mut self, root: u32) -> bool {
        if self.node(root).is_some_and(|node| node.clean) {
            return true;
        }
        // The path from the root down, each with the number of the parent to look at next.
        let mut path: Vec<(u32, usize)> = vec![(root, 0)];
        let mut on_path = HashSet::from([root]);
        while let Some((place, next)) = path.last_mut() {
            let (place, at) = (*place, *next);
            *next += 1;
            let Some(node) = self.node(place) else { return false };
            match node.parents.get(at).copied() {
                Some(parent) if self.node(parent).is_some_and(|node| node.clean) => {}
                Some(parent) if !on_path.insert(parent) => return false,
                Some(parent) => path.push((parent, 0)),
                None => {
                    self.combine(place);
                    on_path.remove(&place);
                    path.pop();
                }
            }
        }
        true
    }

    /// Works out a node whose parents are all clean.
    fn combine(&mut self, place: u32) {
        let Some(node) = self.node_mut(place) else { return };
        let mut bits = Bits::default();
        if node.present {
            bits.clone_from(&node.own);
            let parents = std::mem::take(&mut node.parents);
            for parent in parents.iter().filter_map(|parent| self.node(*parent)) {
                bits.add(&parent.effective, false);
            }
            if let Some(node) = self.node_mut(place) {
                node.parents = parents;
            }
        }
        for words in [&mut bits.allowed, &mut bits.denied, &mut bits.on, &mut bits.off] {
            words.shrink_to_fit();
        }
        if let Some(node) = self.node_mut(place) {
            node.effective = bits;
            node.clean = true;
        }
    }

    /// Forgets what was worked out for the node and for every role above it.
    fn mark(&mut self, place: u32) {
        let mut todo = vec![place];
        while let Some(place) = todo.pop() {
            if let Some(node) = self.nodes.get_mut(place as usize)
                && std::mem::take(&mut node.clean)
            {
                node.effective = Bits::default();
                todo.extend_from_slice(&node.seniors);
            }
        }
    }

    // INVARIANT: `parents` is in rising order, each once, here and in the node.
    fn relink(&mut self, place: u32, parents: &[u32]) {
        let Some(node) = self.node_mut(place) else { return };
        let former = std::mem::replace(&mut node.parents, parents.to_vec());
        for parent in parents.iter().filter(|parent| former.binary_search(parent).is_err()) {
            if let Some(node) = self.node_mut(*parent) {
                node.seniors.push(place);
            }
        }
        for parent in former.into_iter().filter(|parent| parents.binary_search(parent).is_err()) {
            if let Some(node) = self.node_mut(parent) {
                node.seniors.retain(|senior| *senior != place);
            }
            self.drop_if_unused(parent);
        }
    }

    fn place(&mut self, id: RoleId) -> Result<u32> {
        if let Some(&place) = self.places.get(&id) {
            return Ok(place);
        }
        let node = Node { id: Some(id), ..Node::default() };
        let place = match self.free.pop() {
            Some(place) => place,
            None => u32::try_from(self.nodes.len()).map_err(|_| Error::limit("role", "too many roles"))?,
        };
        match self.node_mut(place) {
            Some(free) => *free = node,
            None => self.nodes.push(node),
        }
        self.places.insert(id, place);
        Ok(place)
    }

    fn drop_if_unused(&mut self, place: u32) {
        let Some(node) = self.node_mut(place) else { return };
        if node.present || !node.own.is_empty() || !node.seniors.is_empty() || !node.parents.is_empty() {
            return;
        }
        if let Some(id) = std::mem::take(node).id {
            self.places.remove(&id);
            self.free.push(place);
        }
    }

    fn node(&self, place: u32) -> Option<&Node> {
        self.nodes.get(place as usize)
    }

    fn node_mut(&mut self, place: u32) -> Option<&mut Node> {
        self.nodes.get_mut(place as usize)
    }
}

//! The role links of a policy: no cycle, and no chain longer than Casbin follows.

use super::{fault, fault_of, shown};
use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

/// Links in a row that Casbin follows whatever else is in the policy. Its Rust implementation stops at the tenth name in
/// a row, the first one counted; the one in Go goes one further.
const MOST_LINKS: usize = 9;
/// Names of a cycle or a chain that are told.
const MOST_NAMES: usize = 6;

/// A `g` line: the first name holds the second one, in a domain or everywhere.
pub(super) struct Link<'t> {
    pub(super) line: usize,
    pub(super) from: &'t str,
    pub(super) to: &'t str,
    /// Empty where there are no domains.
    pub(super) domain: &'t str,
}

pub(super) fn check(links: &[Link<'_>]) -> Result<()> {
    let mut by_domain: BTreeMap<&str, Vec<&Link<'_>>> = BTreeMap::new();
    for link in links {
        by_domain.entry(link.domain).or_default().push(link);
    }
    by_domain.values().try_for_each(|links| check_domain(links))
}

/// A name as a place in a list, and the links to and from it.
#[derive(Default)]
struct Node<'l> {
    out: Vec<(usize, &'l Link<'l>)>,
    into: Vec<(usize, &'l Link<'l>)>,
    /// Links to it that the walk has not passed yet.
    waiting: usize,
    /// Length of the longest chain that ends here.
    depth: usize,
}

fn check_domain<'l>(links: &[&'l Link<'l>]) -> Result<()> {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut number = |name: &'l str| {
        let next = numbers.len();
        *numbers.entry(name).or_insert(next)
    };
    let ends: Vec<(usize, usize)> = links.iter().map(|link| (number(link.from), number(link.to))).collect();
    let mut nodes: Vec<Node<'_>> = Vec::new();
    nodes.resize_with(numbers.len(), Node::default);
    for ((from, to), link) in ends.into_iter().zip(links) {
        if let Some(node) = nodes.get_mut(from) {
            node.out.push((to, link));
        }
        if let Some(node) = nodes.get_mut(to) {
            node.into.push((from, link));
            node.waiting += 1;
        }
    }
    // From those that nobody holds upwards (Kahn 1962): whoever is never reached is in a cycle, or behind one.
    let mut open: Vec<usize> =
        (0..nodes.len()).filter(|n| nodes.get(*n).is_some_and(|node| node.waiting == 0)).collect();
    let mut reached = open.len();
    while let Some(place) = open.pop() {
        let Some(node) = nodes.get_mut(place) else { continue };
        let (depth, out) = (node.depth + 1, std::mem::take(&mut node.out));
        for (to, _) in &out {
            let Some(next) = nodes.get_mut(*to) else { continue };
            next.depth = next.depth.max(depth);
            next.waiting -= 1;
            if next.waiting == 0 {
                reached += 1;
                open.push(*to);
            }
        }
    }
    if reached < nodes.len() {
        return Err(cycle(&nodes));
    }
    // The first name at the limit: a longer chain passes through one that is just too long.
    match nodes.iter().position(|node| node.depth == MOST_LINKS + 1) {
        Some(end) => Err(too_long(&nodes, end)),
        None => Ok(()),
    }
}

/// Goes back from somebody in or behind a cycle until a name comes again.
fn cycle(nodes: &[Node<'_>]) -> Error {
    let waits = |place: usize| nodes.get(place).is_some_and(|node| node.waiting > 0);
    let mut way: Vec<&Link<'_>> = Vec::new();
    let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
    let mut at = (0..nodes.len()).find(|place| waits(*place));
    while let Some(place) = at {
        if let Some(start) = seen.insert(place, way.len()) {
            way.drain(..start);
            break;
        }
        // Whoever waits is waited for by somebody who waits too.
        let back = nodes.get(place).and_then(|node| node.into.iter().find(|(from, _)| waits(*from)));
        way.extend(back.map(|(_, link)| *link));
        at = back.map(|(from, _)| *from);
    }
    way.reverse();
    let last = way.iter().map(|link| link.line).max().unwrap_or_default();
    let message = format!("closes a cycle of roles: {}; remove one of these links", told(&way));
    fault_of(ErrorKind::Cycle, "policy", last, message)
}

fn too_long(nodes: &[Node<'_>], end: usize) -> Error {
    let mut way: Vec<&Link<'_>> = Vec::new();
    let mut at = nodes.get(end);
    while let Some(node) = at {
        let back = node
            .into
            .iter()
            .find(|(from, _)| nodes.get(*from).is_some_and(|before| before.depth + 1 == node.depth));
        way.extend(back.map(|(_, link)| *link));
        at = back.and_then(|(from, _)| nodes.get(*from));
    }
    way.reverse();
    let last = way.iter().map(|link| link.line).max().unwrap_or_default();
    let message = format!(
        "makes a chain of {} links, of which Casbin follows {MOST_LINKS}: {}; link the far roles nearer to who \
         needs them",
        way.len(),
        told(&way)
    );
    fault("policy", last, message)
}

/// The names along some links, and their lines.
fn told(way: &[&Link<'_>]) -> String {
    let mut names: Vec<String> = way.iter().take(MOST_NAMES).map(|link| shown(link.from)).collect();
    if way.len() > MOST_NAMES {
        names.push("...".to_owned());
    }
    names.extend(way.last().map(|link| shown(link.to)));
    let mut lines: Vec<String> = way.iter().take(MOST_NAMES).map(|link| link.line.to_string()).collect();
    if way.len() > MOST_NAMES {
        lines.push("...".to_owned());
    }
    let word = if way.len() == 1 { "line" } else { "lines" };
    format!("{} ({word} {})", names.join(" -> "), lines.join(", "))
}

//! Random arrivals, ends, withdrawals and waits, beside a model that searches vectors.

use super::super::queue::{Arrival, Limits, Queue, Refusal};
use super::super::source::Source;
use super::from;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const LIMITS: Limits =
    Limits { hashes: 3, queue: 6, share: 4, blocks: 10, patience: Duration::from_millis(50) };

#[derive(Clone, Copy, Debug)]
struct Waiting {
    id: u32,
    need: usize,
    since: Duration,
}

/// What somebody who waited was told.
type Answer = Result<usize, Refusal>;

#[derive(Debug, Default)]
struct Model {
    running: BTreeMap<u32, usize>,
    urgent: Vec<Waiting>,
    /// In turn; a line and since which change it has been as long as it is.
    lines: Vec<(Source, Vec<Waiting>, u32)>,
    answers: BTreeMap<u32, Answer>,
    changes: u32,
}

impl Model {
    fn waiting(&self) -> usize {
        self.urgent.len() + self.lines.iter().map(|line| line.1.len()).sum::<usize>()
    }

    fn fits(&self, need: usize) -> bool {
        self.running.len() < LIMITS.hashes && self.running.values().sum::<usize>() + need <= LIMITS.blocks
    }

    fn changed(&mut self, place: usize) {
        self.changes += 1;
        self.lines[place].2 = self.changes;
        if self.lines[place].1.is_empty() {
            self.lines.remove(place);
        }
    }

    fn arrive(&mut self, now: Duration, source: Source, id: u32, need: usize) -> &'static str {
        if self.waiting() == 0 && self.fits(need) {
            self.running.insert(id, need);
            return "admitted";
        }
        let mine = self.lines.iter().find(|line| line.0 == source).map_or(0, |line| line.1.len());
        if mine >= LIMITS.share {
            return "share";
        }
        let mut answer = "waiting";
        if self.waiting() - self.urgent.len() >= LIMITS.queue {
            let most = self.lines.iter().map(|line| line.1.len()).max().unwrap_or(0);
            if mine + 1 >= most {
                return "full";
            }
            let longest = (0..self.lines.len()).filter(|place| self.lines[*place].1.len() == most);
            let place = longest.min_by_key(|place| self.lines[*place].2).unwrap();
            let displaced = self.lines[place].1.remove(0);
            self.changed(place);
            self.answers.insert(displaced.id, Err(Refusal::Displaced));
            answer = "waiting in another's place";
        }
        let place = self.lines.iter().position(|line| line.0 == source).unwrap_or_else(|| {
            self.lines.push((source, Vec::new(), 0));
            self.lines.len() - 1
        });
        self.lines[place].1.push(Waiting { id, need, since: now });
        self.changed(place);
        answer
    }

    /// Whoever's time is over goes; then whoever is next runs, as long as there is room.
    fn settle(&mut self, now: Duration) {
        self.expire(now);
        loop {
            if let Some(next) = self.urgent.first().copied() {
                if !self.fits(next.need) {
                    return;
                }
                self.urgent.remove(0);
                self.grant(next);
                continue;
            }
            let Some(next) = self.lines.first().map(|line| line.1[0]) else { return };
            if !self.fits(next.need) {
                return;
            }
            self.lines[0].1.remove(0);
            let source = self.lines[0].0;
            self.changed(0);
            if self.lines.first().is_some_and(|line| line.0 == source) {
                self.lines.rotate_left(1);
            }
            self.grant(next);
        }
    }

    fn grant(&mut self, next: Waiting) {
        self.running.insert(next.id, next.need);
        self.answers.insert(next.id, Ok(next.need));
    }

    fn expire(&mut self, now: Duration) {
        let all: Vec<Waiting> =
            self.lines.iter().flat_map(|line| line.1.iter()).chain(&self.urgent).copied().collect();
        let mut over: Vec<Waiting> =
            all.into_iter().filter(|waiting| waiting.since + LIMITS.patience <= now).collect();
        // In the order of their coming, which is that of their numbers but for those who came back for more.
        over.sort_by_key(|waiting| waiting.since);
        for waiting in over {
            self.remove(waiting.id);
            self.answers.insert(waiting.id, Err(Refusal::Patience));
        }
    }

    fn remove(&mut self, id: u32) {
        self.urgent.retain(|waiting| waiting.id != id);
        if let Some(place) = self.lines.iter().position(|line| line.1.iter().any(|waiting| waiting.id == id))
        {
            self.lines[place].1.retain(|waiting| waiting.id != id);
            self.changed(place);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Arrive(u8, usize),
    Finish(usize),
    Exchange(usize, usize),
    Abandon(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..5_u8, 0..=LIMITS.blocks).prop_map(|(source, need)| Step::Arrive(source, need)),
        // One source brings more than all others.
        4 => (1..5_usize).prop_map(|need| Step::Arrive(0, need)),
        4 => any::<usize>().prop_map(Step::Finish),
        1 => (any::<usize>(), 0..=LIMITS.blocks).prop_map(|(which, need)| Step::Exchange(which, need)),
        2 => any::<usize>().prop_map(Step::Abandon),
        2 => (0..30_u64).prop_map(Step::Pass),
    ]
}

/// The queue, and who waits in it under which ticket.
struct World {
    queue: Queue<u32, usize>,
    model: Model,
    tickets: BTreeMap<u32, usize>,
    now: Duration,
    ids: u32,
    came: u64,
}

impl World {
    fn new() -> Self {
        Self {
            queue: Queue::new(LIMITS),
            model: Model::default(),
            tickets: BTreeMap::new(),
            now: Duration::ZERO,
            ids: 0,
            came: 0,
        }
    }

    fn arrive(&mut self, source: Source, need: usize) -> u32 {
        let id = self.ids;
        self.ids += 1;
        self.came += 1;
        // As the gate does: whose time is over takes nobody's place.
        while self.queue.expire(self.now).is_some() {}
        self.model.expire(self.now);
        let due = self.model.arrive(self.now, source, id, need);
        let found = match self.queue.arrive(self.now, source, need, || id, |need| need) {
            Arrival::Admitted(lent) => {
                assert_eq!(lent, need);
                "admitted"
            }
            Arrival::Waiting(ticket, displaced) => {
                self.tickets.insert(id, ticket);
                let woken = displaced.map(|woken| self.model.answers.get(&woken));
                match woken {
                    None => "waiting",
                    Some(Some(Err(Refusal::Displaced))) => "waiting in another's place",
                    Some(other) => panic!("woken with {other:?}"),
                }
            }
            Arrival::Refused(Refusal::Share) => "share",
            Arrival::Refused(Refusal::Full) => "full",
            Arrival::Refused(other) => panic!("{other:?}"),
        };
        assert_eq!(found, due);
        id
    }

    fn nth(of: &[u32], which: usize) -> Option<u32> {
        (!of.is_empty()).then(|| of[which % of.len()])
    }

    fn run(&mut self, step: Step) {
        // Who was granted and has not heard of it yet has a ticket and runs.
        let running: Vec<u32> =
            self.model.running.keys().filter(|id| !self.tickets.contains_key(id)).copied().collect();
        let waiting: Vec<u32> = self.tickets.keys().copied().collect();
        match step {
            Step::Arrive(source, need) => {
                self.arrive(from(source), need);
            }
            Step::Finish(which) => {
                if let Some(id) = Self::nth(&running, which) {
                    let need = self.model.running.remove(&id).unwrap();
                    self.queue.finish(need, Some(Duration::from_millis(3)));
                }
            }
            Step::Exchange(which, need) => {
                if let Some(id) = Self::nth(&running, which) {
                    self.queue.finish(self.model.running.remove(&id).unwrap(), None);
                    let alone = self.model.urgent.is_empty();
                    match self.queue.urge(self.now, need, || id, |need| need) {
                        Arrival::Admitted(_) => {
                            assert!(alone && self.model.fits(need));
                            self.model.running.insert(id, need);
                        }
                        Arrival::Waiting(ticket, None) => {
                            assert!(!(alone && self.model.fits(need)));
                            self.tickets.insert(id, ticket);
                            self.model.urgent.push(Waiting { id, need, since: self.now });
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
            Step::Abandon(which) => {
                if let Some(id) = Self::nth(&waiting, which) {
                    let (lent, woken_by) = self.queue.abandon(self.tickets.remove(&id).unwrap());
                    assert!(woken_by.is_none_or(|woken| woken == id));
                    let answered = self.model.answers.remove(&id);
                    assert_eq!(lent, answered.and_then(Result::ok));
                    self.model.remove(id);
                    if let Some(need) = lent {
                        self.model.running.remove(&id);
                        self.queue.finish(need, None);
                    }
                }
            }
            Step::Pass(millis) => self.now += Duration::from_millis(millis),
        }
        self.settle();
    }

    fn settle(&mut self) {
        let mut woken = Vec::new();
        while let Some(id) = self.queue.settle(self.now, |need| need) {
            woken.push(id);
        }
        self.model.settle(self.now);
        for id in woken {
            assert!(self.model.answers.contains_key(&id), "{id} was woken for nothing");
        }
        self.compare();
    }

    fn compare(&self) {
        let model = &self.model;
        assert_eq!(self.queue.running(), model.running.len());
        assert_eq!(self.queue.lent(), model.running.values().sum::<usize>());
        assert_eq!(self.queue.waiting(), model.waiting());
        assert_eq!(self.queue.sources(), model.lines.len());
        assert!(self.queue.running() <= LIMITS.hashes && self.queue.lent() <= LIMITS.blocks);
        assert!(model.waiting() - model.urgent.len() <= LIMITS.queue);
        assert!(model.urgent.len() <= LIMITS.hashes);
        assert!(model.lines.iter().all(|line| line.1.len() <= LIMITS.share));
        assert!(model.waiting() == 0 || !model.running.is_empty(), "somebody waits for nobody");
    }

    /// Some of those who were answered hear of it.
    fn hear(&mut self) {
        let answered: Vec<u32> = self.model.answers.keys().copied().collect();
        for id in answered {
            let ticket = self.tickets.remove(&id).unwrap();
            assert_eq!(self.queue.take(ticket), self.model.answers.remove(&id), "{id}");
        }
        for ticket in self.tickets.values() {
            assert!(self.queue.take(*ticket).is_none());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_queue_does_what_the_model_does(
        steps in prop::collection::vec((step(), any::<bool>()), 0..120)
    ) {
        let mut world = World::new();
        for (step, hear) in steps {
            world.run(step);
            if hear {
                world.hear();
            }
        }
        // At the end everybody finishes, and nobody is left.
        world.hear();
        while !world.model.running.is_empty() {
            world.run(Step::Finish(0));
            world.hear();
        }
        prop_assert_eq!(world.queue.waiting() + world.queue.running() + world.queue.sources(), 0);
        let seen = world.queue.figures();
        let refused =
            seen.refused_full + seen.refused_share + seen.displaced + seen.timed_out + seen.abandoned;
        prop_assert!(seen.admitted + refused >= world.came);
        prop_assert!(seen.peak_running <= LIMITS.hashes);
    }

    /// However many others flood the gate, the first waiter of a source runs before any source has had two turns: after
    /// as many grants as there were sources when it came.
    #[test]
    fn nobody_waits_longer_than_one_turn_of_all_sources(
        before in prop::collection::vec(0..5_u8, 3..40),
        between in prop::collection::vec(prop::collection::vec(0..5_u8, 0..12), 12)
    ) {
        let mut world = World::new();
        world.now = Duration::ZERO;
        for source in before {
            world.arrive(from(source), 1);
            world.settle();
        }
        let sources = world.queue.sources();
        let victim = world.arrive(from(99), 1);
        world.settle();
        prop_assume!(world.queue.waiting() > 0);
        let mut granted = 0;
        for flood in between {
            if world.model.running.contains_key(&victim) {
                break;
            }
            prop_assert!(world.tickets.contains_key(&victim), "a flood displaced or refused the only one of its source");
            for source in flood {
                world.arrive(from(source), 1);
                world.settle();
            }
            world.hear();
            world.run(Step::Finish(0));
            granted += 1;
        }
        prop_assert!(world.model.running.contains_key(&victim), "{} grants were not enough", granted);
        prop_assert!(granted <= sources + 1, "{} grants with {} sources before", granted, sources);
    }
}

#[test]
fn a_flood_keeps_nobody_out() {
    let mut world = World::new();
    for _ in 0..50 {
        world.arrive(from(0), 1);
    }
    // Three run, and one source has no more than its share of the six places.
    assert_eq!((world.queue.waiting(), world.queue.figures().refused_share), (4, 43));
    for source in [1, 1, 1, 1] {
        world.arrive(from(source), 1);
    }
    // Two found room; the third took a place of the flood, and the fourth would only turn the tables.
    let seen = world.queue.figures();
    assert_eq!((world.queue.waiting(), seen.displaced, seen.refused_full), (6, 1, 1));
    world.hear();
    let first: Vec<u32> = world.model.lines.iter().map(|line| line.1[0].id).collect();
    for id in first {
        world.run(Step::Finish(0));
        assert!(world.model.running.contains_key(&id), "the lines are served in turn");
    }
}

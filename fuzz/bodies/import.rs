//! Any bytes read as lines of users: the dry run changes nothing and tells what the run tells, and nobody comes by half.

use portcullis::import::{Import, Problem};
use portcullis::{Portcullis, SeparationKind};

/// Line endings of all files end in this, so that a secret is known when it shows.
const SECRET: &str = "hunter2";

pub(crate) fn run(data: &[u8]) {
    let gate = Portcullis::builder().danger_fast_password_hashes().in_memory().unwrap();
    let roles = ["viewer", "cashier", "auditor"].map(|name| gate.roles().create(name, []).unwrap());
    gate.separation().create(SeparationKind::Static, "till", roles[1..].iter().copied(), 2).unwrap();
    gate.scopes().ensure("acme/p42").unwrap();
    let import = Import::new(&gate);

    let mut told: Vec<Problem> = Vec::new();
    let before = gate.audit().head().length;
    let dry = import.dry_run(data, |problem| told.push(problem.clone())).unwrap();
    assert_eq!((gate.audit().head().length, gate.statistics().users), (before, 0));
    assert_eq!(dry.lines, dry.accepted + dry.skipped + dry.refused);
    let mut lines = 0;
    for problem in &told {
        let text = problem.to_string();
        assert!(problem.line >= lines, "in the order of the lines");
        lines = problem.line;
        assert!(!text.contains(SECRET) || !problem.field.starts_with("password"), "{text}");
        assert!(text.len() < 4096 && !text.chars().any(char::is_control), "{text:?}");
    }

    let mut again: Vec<Problem> = Vec::new();
    let real = import.run(data, |problem| again.push(problem.clone())).unwrap();
    assert_eq!((real, &again), (dry, &told));
    assert_eq!(gate.statistics().users, real.accepted);
    let rest = Import::new(&gate).skip_existing().run(data, |_| {}).unwrap();
    assert_eq!((rest.accepted, rest.lines), (0, real.lines));
    assert!(rest.skipped >= real.accepted);
    assert!(gate.verify().unwrap().is_sound());
}

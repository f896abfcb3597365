//! Questions the other way round, at a million users, ten thousand roles and five million assignments.
//!
//! `cargo bench --bench review`

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may end where something is wrong")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::testing::{ManualClock, populate_assignments, populate_users};
use portcullis::{PageRequest, Portcullis, RoleId, ScopeId, WhatIf};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Duration;
use support::{Report, size, time};

fn review(criterion: &mut Criterion) {
    let mut report = Report::default();
    let (users, roles) = (size(1_000_000, 1_000), size(10_000, 50));
    let clock = ManualClock::new();
    let gate = Portcullis::builder().clock(clock.clone()).in_memory().unwrap();
    let names: Vec<String> = (0..1000).map(|number| format!("permission:{number}")).collect();
    let permissions = gate.permissions().define_many(names.iter().map(String::as_str)).unwrap();
    let made: Vec<RoleId> = (0..roles)
        .map(|n| gate.roles().create(&format!("role{n}"), [permissions[n % 1000]]).unwrap())
        .collect();
    // Every fifth role inherits from the one before it.
    for pair in made.chunks(5).filter_map(|five| five.get(..2)) {
        gate.roles().inherit(pair[1], pair[0]).unwrap();
    }
    let tenants: Vec<ScopeId> =
        (0..size(100, 5)).map(|n| gate.scopes().ensure(&format!("tenant{n}/project")).unwrap()).collect();
    let people = populate_users(&gate, "u", users, &[]).unwrap();
    let mut state = 9u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut held = BTreeSet::new();
    for user in &people {
        for nth in 0..5 {
            // Two of five everywhere, three at a project.
            let scope = if nth < 2 { ScopeId::ROOT } else { tenants[draw(tenants.len())] };
            while !held.insert((*user, made[draw(made.len())], scope)) {}
        }
    }
    let held: Vec<_> = held.into_iter().collect();
    populate_assignments(&gate, &held).unwrap();
    report.line("users, roles, assignments", "", format!("{users}, {roles}, {}", held.len()));

    let mut group = criterion.benchmark_group("review");
    group.sample_size(10).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(200));
    let (page, review) = (PageRequest::first(100), gate.review());
    let (asked, project) = (permissions[7], tenants[3 % tenants.len()]);
    let mut run = |name: &str, once: &mut dyn FnMut()| {
        report.bench(&mut group, name, "milliseconds", 1, |n| time(|| (0..n).for_each(|_| once())));
    };
    run("who can do P at S, first 100", &mut || {
        black_box(review.who_can(asked, project, &page).unwrap());
    });
    let second = review.who_can(asked, project, &page).unwrap().next;
    if let Some(next) = second {
        let page = PageRequest::first(100).after(Some(next));
        run("who can do P at S, second 100", &mut || {
            black_box(review.who_can(asked, project, &page).unwrap());
        });
    }
    let someone = people[people.len() / 2];
    run("what can U do at S", &mut || {
        black_box(review.what_can(someone, project).unwrap());
    });
    run("where can U do P", &mut || {
        black_box(review.where_can(someone, asked, &page).unwrap());
    });
    run("explain", &mut || {
        black_box(review.explain(someone, asked, project).unwrap());
    });
    let change = WhatIf::Delete(made[7]);
    run("what if a role were deleted, first 100", &mut || {
        black_box(review.what_if(&change, &page).unwrap());
    });
    // Nobody was seen since, so that every holder of these roles is looked at.
    clock.advance(Duration::from_secs(40 * 86_400));
    let few = PageRequest::first(10);
    run("roles unused for 30 days, first 10 of all", &mut || {
        black_box(review.unused_roles(Duration::from_secs(30 * 86_400), &few).unwrap());
    });
    run("holders of a role, first 100", &mut || {
        black_box(gate.roles().holders(made[7], &page).unwrap());
    });
    group.finish();
    report.print("questions the other way round");
}

criterion_group!(benches, review);
criterion_main!(benches);

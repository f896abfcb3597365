//! Runs the models that the arguments name, or all of them, two at a time.

use std::sync::Mutex;
use std::time::Instant;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    let mut models = portcullis_view_model::models();
    models.retain(|(name, _)| chosen(name));
    assert!(!models.is_empty(), "no model has a name with any of {wanted:?} in it");
    let (count, queue, failed) = (models.len(), Mutex::new(models), Mutex::new(Vec::new()));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().pop();
                    let Some((name, model)) = next else { break };
                    let begun = Instant::now();
                    let held = std::panic::catch_unwind(model).is_ok();
                    println!("{} {name} ({:.1?})", if held { "holds" } else { "FAILS" }, begun.elapsed());
                    if !held {
                        failed.lock().unwrap().push(name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "of {count} models these fail: {failed:?}");
    println!("{count} models hold ({:.1?})", started.elapsed());
}

//! Loads a Casbin policy into a database and prints decisions.
//!
//! `cargo run --example casbin_import`
//! `cargo run --example casbin_import --features casbin -- MODEL_FILE POLICY_FILE VALUE...`
//!
//! The values are one request, in the order of the model's `r`. Without files it takes a small policy of its own and
//! asks it a few things.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a report for a person")]

use portcullis::Portcullis;
use portcullis::casbin::Policy;
use std::error::Error;
use std::process::ExitCode;

const MODEL: &str = "
[request_definition]
r = sub, dom, obj, act

[policy_definition]
p = sub, dom, obj, act, eft

[role_definition]
g = _, _, _

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = g(r.sub, p.sub, r.dom) && r.dom == p.dom && r.obj == p.obj && r.act == p.act
";

const POLICY: &str = "
# In the lab a chief has what staff has, and more.
p, staff, lab, door, open, allow
p, chief, lab, safe, open, allow
g, chief, staff, lab
g, ada, chief, lab
g, bob, staff, lab

# Bob lost his key; the shop has its own staff.
p, bob, lab, door, open, deny
p, staff, shop, till, open, allow
g, bob, staff, shop
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let given: Vec<&str>;
    let (model, policy, requests): (String, String, Vec<&[&str]>) = match arguments {
        [] => {
            let asked: Vec<&[&str]> = vec![
                &["ada", "lab", "door", "open"],
                &["ada", "lab", "safe", "open"],
                &["ada", "shop", "till", "open"],
                &["bob", "lab", "door", "open"],
                &["bob", "shop", "till", "open"],
                &["chief", "lab", "door", "open"],
            ];
            (MODEL.to_owned(), POLICY.to_owned(), asked)
        }
        [model, policy, values @ ..] => {
            given = values.iter().map(String::as_str).collect();
            let asked = if given.is_empty() { Vec::new() } else { vec![given.as_slice()] };
            (std::fs::read_to_string(model)?, std::fs::read_to_string(policy)?, asked)
        }
        _ => return Err("give a model file and a policy file, or nothing".into()),
    };
    let policy = Policy::parse(&model, &policy)?;
    for line in policy.without_effect() {
        println!("line {line} denies, but the effect of the model asks for allow only");
    }
    let gate = Portcullis::in_memory()?; // Portcullis::open("auth.db") to keep it
    let loaded = policy.load_into(&gate)?;
    let statistics = gate.statistics();
    println!("{} users, {} roles, {} domains", statistics.users, statistics.roles, statistics.scopes);
    for request in requests {
        let decision = if loaded.enforce(&gate, request)? { "allow" } else { "deny" };
        println!("{}: {decision}", request.join(", "));
    }
    Ok(())
}

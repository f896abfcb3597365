//! The sample policy of `portcullis::_docs::authorization`: the matrix there is made from this table.

use crate::support::{sound, user, world};
use portcullis::{Effect, Permission, Portcullis, RoleId, ScopeId, Standing, UserId};
use std::collections::{BTreeMap, BTreeSet};

struct Role {
    name: &'static str,
    inherits: &'static [&'static str],
    grants: &'static [&'static str],
    denies: &'static [&'static str],
}

const PERMISSIONS: &[&str] = &[
    "invoice:read",
    "invoice:write",
    "invoice:discount:change",
    "invoice:pay",
    "report:read",
    "user:manage",
];

/// Each names only roles above it.
const POLICY: &[Role] = &[
    Role { name: "viewer", inherits: &[], grants: &["invoice:read"], denies: &[] },
    Role { name: "clerk", inherits: &["viewer"], grants: &["invoice:write"], denies: &[] },
    Role { name: "cashier", inherits: &["viewer"], grants: &["invoice:pay"], denies: &[] },
    Role {
        name: "manager",
        inherits: &["clerk", "cashier"],
        grants: &["invoice:discount:change", "report:read", "user:manage"],
        denies: &[],
    },
    Role {
        name: "auditor",
        inherits: &["viewer"],
        grants: &["report:read"],
        denies: &["invoice:write", "invoice:pay", "invoice:discount:change"],
    },
    Role { name: "deputy", inherits: &["manager", "auditor"], grants: &[], denies: &[] },
];

fn role(name: &str) -> &'static Role {
    POLICY.iter().find(|role| role.name == name).unwrap()
}

/// A role and all that it inherits from.
fn with_juniors(name: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::from([role(name).name]);
    for junior in role(name).inherits {
        found.extend(with_juniors(junior));
    }
    found
}

/// What the table says, without the engine.
fn due(name: &str, permission: &str) -> &'static str {
    let any = |list: fn(&Role) -> &'static [&'static str]| {
        with_juniors(name).into_iter().any(|junior| list(role(junior)).contains(&permission))
    };
    match (any(|role| role.denies), any(|role| role.grants)) {
        (true, _) => "denied",
        (false, true) => "yes",
        (false, false) => "-",
    }
}

struct Office {
    gate: Portcullis,
    permissions: BTreeMap<&'static str, Permission>,
    /// A user for each role, who holds nothing else.
    users: BTreeMap<&'static str, UserId>,
}

fn office() -> Office {
    let gate = world().gate;
    let bits = gate.permissions().define_many(PERMISSIONS.iter().copied()).unwrap();
    let permissions: BTreeMap<_, _> = PERMISSIONS.iter().copied().zip(bits).collect();
    let (mut roles, mut users) = (BTreeMap::<&str, RoleId>::new(), BTreeMap::new());
    for Role { name, inherits, grants, denies } in POLICY {
        let id = gate.roles().create(name, grants.iter().map(|one| permissions[one])).unwrap();
        gate.roles().deny(id, denies.iter().map(|one| permissions[one])).unwrap();
        for junior in *inherits {
            gate.roles().inherit(id, roles[junior]).unwrap();
        }
        roles.insert(name, id);
        let holder = user(&gate, name).id;
        gate.roles().assign(holder, id).unwrap();
        users.insert(*name, holder);
    }
    Office { gate, permissions, users }
}

impl Office {
    /// What a check says, and for a refusal whether a denial is the reason.
    fn cell(&self, role: &str, permission: &str) -> &'static str {
        let (user, permission) = (self.users[role], self.permissions[permission]);
        if self.gate.check(user, permission).unwrap().is_allowed() {
            return "yes";
        }
        let why = self.gate.review().explain(user, permission, ScopeId::ROOT).unwrap();
        let denied =
            |link: &portcullis::Link| link.standing == Standing::Holds && link.effect == Effect::Deny;
        if why.links.iter().any(denied) { "denied" } else { "-" }
    }

    fn matrix(&self) -> String {
        let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = row(["permission"]
            .into_iter()
            .chain(POLICY.iter().map(|role| role.name))
            .map(str::to_owned)
            .collect());
        text += &format!("|{}\n", "---|".repeat(POLICY.len() + 1));
        for permission in PERMISSIONS {
            let cells = POLICY.iter().map(|role| self.cell(role.name, permission).to_owned());
            text += &row([format!("`{permission}`")].into_iter().chain(cells).collect());
        }
        text
    }
}

#[test]
fn every_role_may_do_what_the_table_says_and_nothing_else() {
    let office = office();
    for Role { name, .. } in POLICY {
        for permission in PERMISSIONS {
            assert_eq!(office.cell(name, permission), due(name, permission), "{name} {permission}");
        }
    }
    let cells: BTreeSet<_> =
        POLICY.iter().flat_map(|role| PERMISSIONS.iter().map(|one| due(role.name, one))).collect();
    assert_eq!(cells.len(), 3, "the sample shows all that a cell can say");
    sound(&office.gate);
}

#[test]
fn the_documented_matrix_is_the_one_that_the_engine_decides_by() {
    let document = include_str!("../../src/docs/authorization.md");
    let (_, rest) = document.split_once("<!-- matrix -->\n").unwrap();
    let (written, _) = rest.split_once("<!-- end of matrix -->").unwrap();
    let decided = office().matrix();
    assert_eq!(written, decided, "put this into src/docs/authorization.md:\n{decided}");
}

//! Every way round a delegation that anybody thought of is refused.

use crate::delegation::{EVERYTHING, Tenants, tenants, uncovered};
use crate::support::{OTHER, PASSWORD, all, later, sound};
use portcullis::{Grant, NewContact, NewUser, Portcullis, Result, RoleChange, RoleRange, Status, UserChange};

#[test]
fn every_way_round_is_refused() {
    type Attack = fn(&Tenants, &Portcullis) -> Result<()>;
    type Before = fn(&Tenants, &Portcullis);
    let nothing: Before = |_, _| {};
    let holds_root: Before =
        |t, gate| gate.roles().assign_with(t.bob, t.root, &Grant::new().at(t.acme)).unwrap();
    let attacks: &[(&str, Before, Attack)] = &[
        ("another scope", nothing, |t, g| g.roles().assign_with(t.bob, t.member, &Grant::new().at(t.other))),
        ("the scope above", nothing, |t, g| g.roles().assign(t.bob, t.member)),
        ("a role outside", nothing, |t, g| g.roles().assign_with(t.bob, t.root, &Grant::new().at(t.acme))),
        ("the admin role", nothing, |t, g| g.roles().assign_with(t.bob, t.admin, &Grant::new().at(t.acme))),
        ("many at once", nothing, |t, g| g.roles().assign_many(t.member, [t.bob, t.eve])),
        ("oneself", nothing, |t, g| g.roles().assign_with(t.ada, t.member, &Grant::new().at(t.acme))),
        ("oneself directly", nothing, |t, g| g.access().grant(t.ada, t.read, &Grant::new().at(t.acme))),
        (
            "one's own denial",
            |t, gate| gate.roles().assign_with(t.ada, t.member, &Grant::new().at(t.acme).denying()).unwrap(),
            |t, g| g.roles().unassign_at(t.ada, t.member, t.acme),
        ),
        (
            "one's own direct denial",
            |t, gate| gate.access().grant(t.ada, t.read, &Grant::new().at(t.acme).denying()).unwrap(),
            |t, g| g.access().withdraw(t.ada, t.read, t.acme),
        ),
        ("one's own end", nothing, |t, g| g.roles().assign_with(t.ada, t.admin, &Grant::new().at(t.doc))),
        ("a passkey for somebody", nothing, |t, g| g.passkeys().start_registration(t.bob).map(drop)),
        ("one's own password", nothing, |t, g| g.users().set_password(t.ada, OTHER)),
        ("a role of all tenants", nothing, |t, g| g.roles().grant(t.member, [t.read])),
        ("inherit from outside", nothing, |t, g| g.roles().inherit(t.own, t.root)),
        ("inherit from the admin role", nothing, |t, g| g.roles().inherit(t.own, t.admin)),
        ("let the outside inherit", nothing, |t, g| g.roles().inherit(t.root, t.member)),
        ("a permission outside", nothing, |t, g| g.roles().grant(t.own, [t.purge])),
        ("a permission outside among others", nothing, |t, g| g.roles().grant(t.own, [t.read, t.purge])),
        ("a direct permission outside", nothing, |t, g| {
            g.access().grant(t.bob, t.purge, &Grant::new().at(t.acme))
        }),
        ("a direct grant elsewhere", nothing, |t, g| {
            g.access().grant(t.bob, t.read, &Grant::new().at(t.other))
        }),
        (
            "lift a denial of what is outside",
            |t, gate| gate.roles().deny(t.own, [t.purge]).unwrap(),
            |t, g| g.roles().lift(t.own, [t.purge]),
        ),
        (
            "unassign a role that denies what is outside",
            |t, gate| {
                gate.roles().deny(t.own, [t.purge]).unwrap();
                gate.roles().assign_with(t.bob, t.own, &Grant::new().at(t.acme)).unwrap();
            },
            |t, g| g.roles().unassign_at(t.bob, t.own, t.acme),
        ),
        (
            "lift what both gives and denies",
            |t, gate| {
                gate.roles().grant(t.own, [t.purge]).unwrap();
                gate.roles().deny(t.own, [t.purge]).unwrap();
            },
            |t, g| g.roles().lift(t.own, [t.purge]),
        ),
        (
            "disinherit from a role that denies what is outside",
            |t, gate| gate.roles().deny(t.editor, [t.purge]).unwrap(),
            |t, g| g.roles().disinherit(t.own, t.editor),
        ),
        (
            "withdraw a direct denial of what is outside",
            |t, gate| gate.access().grant(t.bob, t.purge, &Grant::new().at(t.doc).denying()).unwrap(),
            |t, g| g.access().withdraw(t.bob, t.purge, t.doc),
        ),
        (
            "lift a denied role that is outside",
            |t, gate| gate.roles().assign_with(t.bob, t.root, &Grant::new().at(t.doc).denying()).unwrap(),
            |t, g| g.roles().unassign_at(t.bob, t.root, t.doc),
        ),
        ("an emergency elsewhere", nothing, |t, g| {
            let terms = Grant::break_glass("fire", later(g.now(), 60));
            g.roles().assign_with(t.bob, t.member, &terms.at(t.other))
        }),
        ("an emergency outside", nothing, |t, g| {
            let terms = Grant::break_glass("fire", later(g.now(), 60));
            g.roles().assign_with(t.bob, t.root, &terms.at(t.acme))
        }),
        (
            "move a document to where others may more",
            |t, gate| {
                let vault = gate.scopes().create(t.acme, "vault").unwrap();
                gate.roles().assign_with(t.bob, t.root, &Grant::new().at(vault)).unwrap();
            },
            |t, g| g.scopes().move_to(t.doc, g.scopes().find("acme/vault")?.unwrap()),
        ),
        (
            "move a document away from a denial",
            |t, gate| gate.access().grant(t.bob, t.purge, &Grant::new().at(t.folder).denying()).unwrap(),
            |t, g| g.scopes().move_to(t.doc, t.acme),
        ),
        (
            "move a document to where others administer",
            |t, gate| {
                let vault = gate.scopes().create(t.acme, "vault").unwrap();
                gate.roles().assign_with(t.bob, t.admin, &Grant::new().at(vault)).unwrap();
            },
            |t, g| g.scopes().move_to(t.doc, g.scopes().find("acme/vault")?.unwrap()),
        ),
        (
            "move a document to where one does not administer",
            |t, gate| {
                gate.roles().assign_with(t.ada, t.admin, &Grant::new().at(t.folder)).unwrap();
                gate.roles().unassign_at(t.ada, t.admin, t.acme).unwrap();
            },
            |t, g| g.scopes().move_to(t.doc, t.acme),
        ),
        (
            "move a document to where one does",
            |t, gate| {
                let mine = gate.scopes().create(t.acme, "mine").unwrap();
                gate.roles().assign_with(t.ada, t.admin, &Grant::new().at(mine)).unwrap();
                gate.roles().unassign_at(t.ada, t.admin, t.acme).unwrap();
            },
            |t, g| g.scopes().move_to(t.doc, g.scopes().find("acme/mine")?.unwrap()),
        ),
        (
            "move a document to above where one is denied",
            |t, gate| {
                let denied = gate.scopes().ensure("acme/vault/inner").unwrap();
                gate.roles().assign_with(t.ada, t.admin, &Grant::new().at(denied).denying()).unwrap();
            },
            |t, g| g.scopes().move_to(t.doc, g.scopes().find("acme/vault")?.unwrap()),
        ),
        (
            "delete what others hold more at",
            |t, gate| gate.roles().assign_with(t.bob, t.root, &Grant::new().at(t.doc)).unwrap(),
            |t, g| g.scopes().delete(t.folder),
        ),
        ("delete the tenant", nothing, |t, g| g.scopes().delete(t.acme)),
        (
            "delete a tenant with its roles",
            |t, gate| gate.roles().assign(t.ada, t.admin).unwrap(),
            |t, g| g.scopes().delete(t.other),
        ),
        ("rename the tenant", nothing, |t, g| g.scopes().rename(t.acme, "new")),
        ("another tenant's scope", nothing, |t, g| g.scopes().create(t.other, "new").map(drop)),
        ("a tenant", nothing, |_, g| g.scopes().ensure("third").map(drop)),
        ("a wider delegation", nothing, |t, g| {
            g.delegations().create(t.admin, RoleRange::Below(t.root), EVERYTHING).map(drop)
        }),
        ("an end to a delegation", nothing, |_, g| {
            let found = all(|page| g.delegations().list(page)).remove(0);
            g.delegations().delete(found.id)
        }),
        ("a new role", nothing, |t, g| g.roles().create_in(t.acme, "mine", [t.read]).map(drop)),
        ("delete a role", nothing, |t, g| g.roles().delete(t.own)),
        ("unmark a role", nothing, |t, g| {
            g.roles().update(t.own, RoleChange::new().privileged(false)).map(drop)
        }),
        ("a permission", nothing, |_, g| g.permissions().define("mine").map(drop)),
        ("delete a permission", nothing, |t, g| g.permissions().delete(t.purge)),
        ("the password of who may more", holds_root, |t, g| g.users().set_password(t.bob, OTHER)),
        ("the name of who may more", holds_root, |t, g| {
            g.users().update(t.bob, UserChange::new().login("x")).map(drop)
        }),
        ("the address of who may more", holds_root, |t, g| {
            g.users().add_contact(t.bob, &NewContact::email("a@x.org")).map(drop)
        }),
        ("the sessions of who may more", holds_root, |t, g| g.sessions().revoke_all(t.bob)),
        ("the account of who may more", holds_root, |t, g| g.users().delete(t.bob)),
        (
            "revive who may more",
            |t, gate| {
                gate.roles().assign_with(t.bob, t.root, &Grant::new().at(t.acme)).unwrap();
                gate.users().set_status(t.bob, Status::disabled("out")).unwrap();
            },
            |t, g| g.users().set_status(t.bob, Status::active()).map(drop),
        ),
        (
            "the password of who will do more",
            |t, gate| {
                let terms = Grant::new().at(t.acme).not_before(later(gate.now(), 1000));
                gate.roles().assign_with(t.bob, t.root, &terms).unwrap();
            },
            |t, g| g.users().set_password(t.bob, OTHER),
        ),
        (
            "the password of who may directly",
            |t, gate| gate.access().grant(t.bob, t.purge, &Grant::new().at(t.doc)).unwrap(),
            |t, g| g.users().set_password(t.bob, OTHER),
        ),
        (
            "the password of who may the same elsewhere",
            |t, gate| gate.roles().assign_with(t.bob, t.member, &Grant::new().at(t.other)).unwrap(),
            |t, g| g.users().set_password(t.bob, OTHER),
        ),
        (
            "the password of another administrator",
            |t, gate| gate.roles().assign_with(t.bob, t.admin, &Grant::new().at(t.doc)).unwrap(),
            |t, g| g.users().set_password(t.bob, OTHER),
        ),
        ("who is at home elsewhere", nothing, |t, g| g.users().set_password(t.eve, OTHER)),
        ("another home", nothing, |t, g| g.users().update(t.bob, UserChange::new().home(t.acme)).map(drop)),
        ("a user of nowhere", nothing, |_, g| {
            g.users().create(NewUser::new("x").password(PASSWORD)).map(drop)
        }),
        ("a user elsewhere", nothing, |t, g| {
            g.users().create_many([NewUser::new("x").home(t.acme), NewUser::new("y").home(t.other)]).map(drop)
        }),
    ];
    for (name, before, attack) in attacks {
        let t = tenants();
        before(&t, &t.world.gate);
        let handle = t.world.gate.delegated(t.ada);
        uncovered(&t.world.gate, name, || attack(&t, &handle));
        sound(&t.world.gate);
    }
}

//! What happens between the reading of a plan and its commit: see `engine/between`.

use crate::engine::between::{Scene, Step};
use crate::error::{Denial, ErrorKind, Result};
use crate::id::ContactId;
use crate::session::Client;
use crate::user::{NewContact, Status};

const HOME: ContactId = ContactId::from_number(0);
const PASSWORD: &str = "correct horse battery staple";

/// Each token's issuing and spending.
type Redeem = (fn(&Scene) -> Result<String>, fn(&Scene, &str) -> Result<()>);

const RESET: Redeem = (
    |s| Ok(s.gate.tickets().start_password_reset(s.ada, Some(HOME))?.token().as_str().to_owned()),
    |s, token| s.gate.tickets().reset_password(token, PASSWORD, None, &Client::new()).map(drop),
);
const KEEPING: Redeem = (RESET.0, |s, token| {
    s.gate.tickets().reset_password_and_keep_sessions(token, PASSWORD, None, &Client::new()).map(drop)
});
const VERIFICATION: Redeem = (
    |s| Ok(s.gate.tickets().verify_email(s.ada, HOME)?.token().as_str().to_owned()),
    |s, token| s.gate.tickets().confirm_email(token, &Client::new()).map(drop),
);
const LINK: Redeem = (
    |s| {
        let link = s.gate.tickets().danger_request_unbound_magic_link("ada", &Client::new())?;
        Ok(link.map(|link| link.token().as_str().to_owned()).unwrap())
    },
    |s, token| s.gate.tickets().login_with_link(token, None, &Client::new())?.done().map(drop),
);
const CHANGE: Redeem = (
    |s| {
        let change = s.gate.tickets().change_email(s.ada, HOME, "new@example.org")?;
        s.gate.tickets().confirm_email_change(change.new.token(), &Client::new())?;
        Ok(change.present.token().as_str().to_owned())
    },
    |s, token| s.gate.tickets().confirm_email_change(token, &Client::new()).map(drop),
);
const REFUSAL: Redeem =
    (CHANGE.0, |s, token| s.gate.tickets().refuse_email_change(token, &Client::new()).map(drop));
const INVITATION: Redeem = (
    |s| Ok(s.gate.tickets().invite_again(s.ada)?.token().as_str().to_owned()),
    |s, token| s.gate.tickets().accept_invitation(token, PASSWORD, &Client::new()).map(drop),
);

const DISABLE: Step = |s| s.gate.users().set_status(s.ada, Status::disabled("out")).map(drop);
const DELETE: Step = |s| s.gate.users().delete(s.ada);
const UNREACH: Step = |s| s.gate.users().remove_contact(s.ada, HOME).map(drop);
const REVOKE: Step = |s| s.gate.tickets().revoke_all(s.ada);
const END: Step = |s| s.gate.sessions().revoke_all(s.ada);
const CHANGE_PASSWORD: Step = |s| s.gate.users().set_password(s.ada, "set in between, by another way");
const REISSUE: Step = |s| (RESET.0)(s).map(drop);

fn scene(pending: bool) -> Scene {
    let s = Scene::new();
    s.gate.users().add_contact(s.ada, &NewContact::email("ada@example.org")).unwrap();
    s.gate.users().verify_contact(s.ada, HOME).unwrap();
    if pending {
        s.gate.users().set_status(s.ada, Status::pending()).unwrap();
    }
    s
}

#[test]
fn what_ends_a_token_while_it_is_spent_comes_first() {
    let all = [DISABLE, DELETE, UNREACH, REVOKE, END, CHANGE_PASSWORD];
    for (name, redeem, enders) in [
        ("reset", RESET, &[DISABLE, DELETE, UNREACH, REVOKE, END, CHANGE_PASSWORD, REISSUE][..]),
        ("keeping", KEEPING, &[DISABLE, DELETE, UNREACH, REVOKE, END, CHANGE_PASSWORD, REISSUE][..]),
        ("verification", VERIFICATION, &[DISABLE, DELETE, UNREACH, REVOKE][..]),
        ("link", LINK, &all[..]),
        ("change", CHANGE, &all[..]),
        ("refusal", REFUSAL, &all[..]),
        ("invitation", INVITATION, &all[..]),
    ] {
        for (number, ender) in enders.iter().enumerate() {
            let s = scene(name == "invitation");
            let token = (redeem.0)(&s).unwrap();
            let denied = s.meanwhile(*ender, || (redeem.1)(&s, &token)).unwrap_err();
            // A login whose account changed under it is refused like any other one.
            let due = [Some(Denial::Ticket), (name == "link").then_some(Denial::Credentials)];
            assert!(denied.denial().is_some() && due.contains(&denied.denial()), "{name} {number}: {denied}");
            assert!(s.gate.verify().unwrap().is_sound(), "{name} {number}");
        }
    }
}

#[test]
fn what_makes_a_token_impossible_while_it_is_issued_comes_first() {
    for (name, redeem, step, due) in [
        ("reset", RESET, DISABLE, ErrorKind::InvalidInput),
        ("reset", RESET, DELETE, ErrorKind::NotFound),
        ("reset", RESET, UNREACH, ErrorKind::NotFound),
        ("verification", VERIFICATION, UNREACH, ErrorKind::NotFound),
        ("verification", VERIFICATION, DELETE, ErrorKind::NotFound),
        ("change", CHANGE, DISABLE, ErrorKind::InvalidInput),
        ("change", CHANGE, UNREACH, ErrorKind::NotFound),
        ("invitation", INVITATION, CHANGE_PASSWORD, ErrorKind::InvalidInput),
        ("invitation", INVITATION, DELETE, ErrorKind::NotFound),
    ] {
        let s = scene(name == "invitation");
        let refused = s.meanwhile(step, || (redeem.0)(&s)).unwrap_err();
        assert_eq!(refused.kind(), due, "{name}: {refused}");
    }
    // What a stranger asks for comes to nothing.
    for step in [DISABLE, DELETE, UNREACH] {
        let s = scene(false);
        let asked = || s.gate.tickets().request_password_reset("ada", &Client::new());
        assert!(s.meanwhile(step, asked).unwrap().is_none());
    }
    // A password that changes while a reset is issued is the one that the token is for.
    let s = scene(false);
    let token = s.meanwhile(CHANGE_PASSWORD, || (RESET.0)(&s)).unwrap();
    (RESET.1)(&s, &token).unwrap();
    // And of two that are issued at once the later one is good.
    let s = scene(false);
    let token = s.meanwhile(REISSUE, || (RESET.0)(&s)).unwrap();
    assert_eq!(s.gate.tickets().of_user(s.ada, &Default::default()).unwrap().items.len(), 1);
    (RESET.1)(&s, &token).unwrap();
}

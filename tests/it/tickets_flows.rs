//! What each one-time token does, for whom, and what it does not.

use crate::delegation::uncovered;
use crate::support::{Disk, OTHER, PASSWORD, all, everything, is_live, log_in, refused, sound, world};
use crate::tickets::{HOME, Kind, MAIL, NEW_MAIL, Sent, client, is_refused, last, sent};
use portcullis::{
    Ability, Actor, Assurance, AuditKind, CheckContext, Client, ContactId, Denial, EmailChangeStep,
    ErrorKind, LoginStep, Method, Methods, NewContact, NewUser, Portcullis, RoleChange, RoleRange, Status,
    StatusKind, UserId,
};
use std::collections::BTreeSet;

fn verified(gate: &Portcullis, user: UserId) -> bool {
    all(|page| gate.users().contacts(user, page))[0].verified.is_some()
}

// E-mail verification

#[test]
fn verification_verifies_and_activates_only_where_it_was_asked_to() {
    let (world, ada, token) = sent(Kind::Verification);
    let contact = world.gate.tickets().confirm_email(&token.token, &client()).unwrap();
    assert_eq!((contact.id, contact.verified.is_some()), (HOME, true));
    assert!(verified(&world.gate, ada));
    for (kind, active) in [(Kind::Activation, true), (Kind::Verification, false)] {
        let gate = world_of_pending();
        let ada = UserId::from_number(0);
        let token = kind.issue(&gate, ada).unwrap();
        kind.spend(&gate, &token).unwrap();
        assert_eq!(gate.users().get(ada).unwrap().status == Status::active(), active);
        assert_eq!(log_in(&gate, "ada", PASSWORD).is_ok(), active);
        assert!(verified(&gate, ada));
        sound(&gate);
    }
    let (world, ada, _) = sent(Kind::Verification);
    let tickets = world.gate.tickets();
    refused(tickets.verify_email_to_activate(ada, HOME), ErrorKind::InvalidInput, Some("user"));
    world.gate.users().add_contact(ada, &NewContact::phone("1")).unwrap();
    refused(tickets.verify_email(ada, ContactId::from_number(1)), ErrorKind::InvalidInput, Some("contact"));
    refused(tickets.verify_email(ada, ContactId::from_number(2)), ErrorKind::NotFound, Some("contact"));
    refused(tickets.verify_email(UserId::from_number(9), HOME), ErrorKind::NotFound, Some("user"));
}

fn world_of_pending() -> Portcullis {
    let gate = world().gate;
    assert_eq!(Kind::Activation.user(&gate), UserId::from_number(0));
    gate
}

#[test]
fn an_account_that_is_made_to_wait_again_is_not_activated_by_an_old_token() {
    let (world, ada, token) = sent(Kind::Activation);
    world.gate.users().set_status(ada, Status::disabled("fraud")).unwrap();
    world.gate.users().set_status(ada, Status::pending()).unwrap();
    is_refused(Kind::Activation.spend(&world.gate, &token));
    assert_eq!(world.gate.users().get(ada).unwrap().status, Status::pending());
}

// Invitation

#[test]
fn who_is_invited_chooses_the_first_password_alone() {
    let world = world();
    let (gate, tickets) = (&world.gate, world.gate.tickets());
    let new = || NewUser::new("ada").contact(NewContact::phone("1")).email(MAIL).profile("team", "x");
    refused(tickets.invite(new().password(PASSWORD)), ErrorKind::InvalidInput, Some("password"));
    refused(tickets.invite(new().status(Status::disabled("x"))), ErrorKind::InvalidInput, Some("status"));
    let head = gate.audit().head().length;
    let (ada, invitation) = tickets.invite(new()).unwrap();
    assert_eq!((ada.status.kind, gate.audit().head().length), (StatusKind::Pending, head + 2));
    assert_eq!(gate.users().get(ada.id).unwrap(), ada);
    assert_eq!(invitation.address(), Some(MAIL));
    assert_eq!(invitation.ticket().contact, Some(ContactId::from_number(1)));
    refused(tickets.invite(new()), ErrorKind::AlreadyExists, Some("login"));
    log_in(gate, "ada", PASSWORD).unwrap_err();
    refused(
        tickets.accept_invitation(invitation.token(), "short", &client()),
        ErrorKind::InvalidInput,
        Some("password"),
    );
    assert_eq!(tickets.accept_invitation(invitation.token(), OTHER, &client()).unwrap(), ada.id);
    assert_eq!(gate.users().get(ada.id).unwrap().status, Status::active());
    assert!(all(|page| gate.users().contacts(ada.id, page))[1].verified.is_some());
    assert!(all(|page| gate.sessions().of_user(ada.id, page)).is_empty());
    log_in(gate, "ada", OTHER).unwrap();
    refused(tickets.invite_again(ada.id), ErrorKind::InvalidInput, Some("user"));
    // Handed over, where there is no address.
    let (eve, invitation) = tickets.invite(NewUser::new("eve")).unwrap();
    assert_eq!(invitation.address(), None);
    let again = tickets.invite_again(eve.id).unwrap();
    is_refused(tickets.accept_invitation(invitation.token(), OTHER, &client()).map(drop));
    tickets.accept_invitation(again.token(), OTHER, &client()).unwrap();
    sound(gate);
}

#[test]
fn an_invitation_is_worth_nothing_once_the_account_came_to_life_otherwise() {
    let (world, ada, token) = sent(Kind::Invitation);
    world.gate.users().set_status(ada, Status::active()).unwrap();
    is_refused(Kind::Invitation.spend(&world.gate, &token));
    let (world, ada, token) = sent(Kind::Invitation);
    world.gate.users().set_password(ada, PASSWORD).unwrap();
    is_refused(Kind::Invitation.spend(&world.gate, &token));
    refused(world.gate.tickets().invite_again(ada), ErrorKind::InvalidInput, Some("user"));
    is_refused(Kind::Invitation.spend(&world.gate, &token));
}

// Magic link

#[test]
fn a_link_is_good_in_the_browser_that_asked_for_it() {
    let (world, ada, mine) = sent(Kind::Link);
    let gate = &world.gate;
    let other = gate.tickets().request_magic_link("nobody", &client()).unwrap();
    let other = other.browser().as_str();
    for browser in [None, Some(""), Some("x"), Some(other), Some(mine.token.as_str())] {
        let step = gate.tickets().login_with_link(&mine.token, browser, &client()).unwrap();
        assert!(matches!(step, LoginStep::Denied(Denial::Ticket)), "{browser:?}");
        let record = last(gate);
        assert_eq!(record.kind, AuditKind::TicketRefused);
        assert!(record.detail.contains("browser"), "{record}");
    }
    let step = gate.tickets().login_with_link(&mine.token, mine.browser.as_deref(), &client()).unwrap();
    let login = step.done().unwrap();
    assert_eq!((login.user(), login.session().methods), (ada, Methods::of(Method::MagicLink)));
    assert!(is_live(gate, login.token().as_str()));
    // A second click in the same browser is no theft.
    is_refused(Kind::Link.spend(gate, &mine));
    assert!(is_live(gate, login.token().as_str()));
    sound(gate);
}

#[test]
fn an_unbound_link_that_comes_twice_ends_what_it_opened() {
    let world = world();
    let (gate, ada) = (&world.gate, Kind::Unbound.user(&world.gate));
    let before = log_in(gate, "ada", PASSWORD).unwrap();
    let open = |gate: &Portcullis, link: &Sent| {
        gate.tickets().login_with_link(&link.token, None, &client()).unwrap().done().unwrap()
    };
    let earlier = Kind::Unbound.issue(gate, ada).unwrap();
    let earlier = open(gate, &earlier);
    world.after(1);
    let link = Kind::Unbound.issue(gate, ada).unwrap();
    let stolen = open(gate, &link);
    // Also where a newer one was issued meanwhile.
    Kind::Unbound.issue(gate, ada).unwrap();
    is_refused(Kind::Unbound.spend(gate, &link));
    assert!(!is_live(gate, stolen.token().as_str()));
    assert!(is_live(gate, before.token().as_str()), "what the password opened goes on");
    assert!(is_live(gate, earlier.token().as_str()), "and what an earlier link opened");
    let record = last(gate);
    assert_eq!(record.kind, AuditKind::TicketReplayed);
    assert!(record.detail.contains("1 sessions and logins ended"), "{record}");
    is_refused(Kind::Unbound.spend(gate, &link));
    sound(gate);
    // A login under way ends, too.
    let role = gate.roles().create("careful", []).unwrap();
    gate.roles().update(role, RoleChange::new().assurance(Assurance::Two)).unwrap();
    gate.roles().assign(ada, role).unwrap();
    let link = Kind::Unbound.issue(gate, ada).unwrap();
    let step = gate.tickets().login_with_link(&link.token, None, &client()).unwrap();
    assert!(matches!(step, LoginStep::NeedsFactor(_)));
    let rows = |gate: &Portcullis| {
        let rows = portcullis::testing::dump(gate).unwrap();
        rows.iter().filter(|row| row.table == "challenge").count()
    };
    assert_eq!(rows(gate), 1);
    is_refused(Kind::Unbound.spend(gate, &link));
    assert_eq!(rows(gate), 0);
}

#[test]
fn a_link_is_one_factor_and_asks_the_rules() {
    let rule = |context: &CheckContext<'_>| context.client().and_then(Client::source).is_some();
    let gate = Portcullis::builder().context_rule(rule).danger_fast_password_hashes().in_memory().unwrap();
    let ada = Kind::Link.user(&gate);
    let role = gate.roles().create("careful", []).unwrap();
    gate.roles().update(role, RoleChange::new().assurance(Assurance::Two)).unwrap();
    gate.roles().assign(ada, role).unwrap();
    let link = Kind::Link.issue(&gate, ada).unwrap();
    let browser = link.browser.as_deref();
    // Refused by a rule, and not spent.
    let step = gate.tickets().login_with_link(&link.token, browser, &Client::new()).unwrap();
    assert!(matches!(step, LoginStep::Denied(Denial::Credentials)));
    let step = gate.tickets().login_with_link(&link.token, browser, &client()).unwrap();
    let LoginStep::NeedsFactor(challenge) = step else { panic!("{step:?}") };
    assert_eq!(challenge.proved(), Methods::of(Method::MagicLink));
    assert!(all(|page| gate.sessions().of_user(ada, page)).is_empty());
    is_refused(gate.tickets().login_with_link(&link.token, browser, &client()).unwrap().done().map(drop));
    gate.roles().unassign(ada, role).unwrap();
    let link = Kind::Link.issue(&gate, ada).unwrap();
    let step = gate.tickets().login_with_link(&link.token, link.browser.as_deref(), &client()).unwrap();
    assert!(step.done().is_ok());
    sound(&gate);
}

// E-mail change

#[test]
fn an_e_mail_change_takes_both_ends_in_whichever_order() {
    for present_first in [true, false] {
        let world = world();
        let (gate, ada) = (&world.gate, Kind::Reset.user(&world.gate));
        let reset = Kind::Reset.issue(gate, ada).unwrap();
        let change = gate.tickets().change_email(ada, HOME, NEW_MAIL).unwrap();
        assert_eq!((change.present.address(), change.new.address()), (Some(MAIL), Some(NEW_MAIL)));
        assert_eq!(change.present.ticket().new_address.as_deref(), Some(NEW_MAIL));
        let mut tokens = [change.present.token().as_str(), change.new.token().as_str()];
        if !present_first {
            tokens.reverse();
        }
        let tickets = gate.tickets();
        assert_eq!(tickets.confirm_email_change(tokens[0], &client()).unwrap(), EmailChangeStep::Waiting);
        assert_eq!(all(|page| gate.users().contacts(ada, page))[0].value, MAIL);
        is_refused(tickets.confirm_email_change(tokens[0], &client()).map(drop));
        assert_eq!(last(gate).kind, AuditKind::TicketReplayed);
        // The present address can still refuse.
        assert_eq!(tickets.preview(tokens[0]).unwrap().is_some(), present_first);
        let EmailChangeStep::Done(contact) = tickets.confirm_email_change(tokens[1], &client()).unwrap()
        else {
            panic!()
        };
        assert_eq!((contact.id, contact.value.as_str()), (HOME, NEW_MAIL));
        assert!(contact.verified.is_some());
        assert_eq!(all(|page| gate.users().contacts(ada, page)), [contact]);
        for token in tokens {
            is_refused(tickets.confirm_email_change(token, &client()).map(drop));
            is_refused(tickets.refuse_email_change(token, &client()).map(drop));
        }
        is_refused(Kind::Reset.spend(gate, &reset));
        assert!(tickets.request_password_reset(MAIL, &client()).unwrap().is_none());
        let reset = tickets.request_password_reset(NEW_MAIL, &client()).unwrap().unwrap();
        assert_eq!(reset.address(), Some(NEW_MAIL));
        assert_eq!(gate.users().by_email(NEW_MAIL, &Default::default()).unwrap().items.len(), 1);
        sound(gate);
    }
}

#[test]
fn the_present_address_can_refuse_a_change_and_the_new_one_can_not() {
    for confirmed in [None, Some(true), Some(false)] {
        let world = world();
        let (gate, ada) = (&world.gate, Kind::Reset.user(&world.gate));
        let change = gate.tickets().change_email(ada, HOME, NEW_MAIL).unwrap();
        let (present, new) = (change.present.token(), change.new.token());
        if let Some(present_first) = confirmed {
            let first = if present_first { present } else { new };
            gate.tickets().confirm_email_change(first, &client()).unwrap();
        }
        is_refused(gate.tickets().refuse_email_change(new, &client()).map(drop));
        assert_eq!(gate.tickets().refuse_email_change(present, &client()).unwrap(), ada);
        assert_eq!((last(gate).kind, last(gate).actor), (AuditKind::EmailChangeRefused, Actor::User(ada)));
        for token in [present, new] {
            assert!(gate.tickets().preview(token).unwrap().is_none());
            is_refused(gate.tickets().confirm_email_change(token, &client()).map(drop));
            is_refused(gate.tickets().refuse_email_change(token, &client()).map(drop));
        }
        let contacts = all(|page| gate.users().contacts(ada, page));
        assert_eq!(contacts[0].value, MAIL);
        sound(gate);
    }
}

#[test]
fn an_e_mail_change_that_can_not_be_is_refused_when_it_is_asked_for() {
    let world = world();
    let (gate, ada) = (&world.gate, Kind::Reset.user(&world.gate));
    gate.users().add_contact(ada, &NewContact::phone("1")).unwrap();
    let tickets = gate.tickets();
    let before = everything(gate);
    for address in ["", "ada", MAIL, "a b@x.org"] {
        refused(tickets.change_email(ada, HOME, address), ErrorKind::InvalidInput, Some("email"));
    }
    let phone = ContactId::from_number(1);
    refused(tickets.change_email(ada, phone, NEW_MAIL), ErrorKind::InvalidInput, Some("contact"));
    refused(
        tickets.change_email(ada, ContactId::from_number(2), NEW_MAIL),
        ErrorKind::NotFound,
        Some("contact"),
    );
    refused(tickets.change_email(UserId::from_number(9), HOME, NEW_MAIL), ErrorKind::NotFound, Some("user"));
    assert_eq!(everything(gate), before);
}

// In whose name

#[test]
fn a_delegated_administrator_issues_tokens_for_those_in_reach() {
    let world = world();
    let (gate, ada) = (&world.gate, Kind::Reset.user(&world.gate));
    let (boss, root) = (world.user("boss").id, world.user("root").id);
    gate.users().add_contact(root, &NewContact::email("root@example.org")).unwrap();
    let admin = gate.roles().create("admin", []).unwrap();
    let power = gate.roles().create("power", []).unwrap();
    gate.roles().assign(root, power).unwrap();
    gate.roles().assign(boss, admin).unwrap();
    let delegated = gate.delegated(boss);
    let pending = gate.tickets().invite(NewUser::new("new").email("new@example.org")).unwrap().0.id;
    uncovered(gate, "reset", || delegated.tickets().start_password_reset(ada, None));
    uncovered(gate, "invite", || delegated.tickets().invite(NewUser::new("x")));
    uncovered(gate, "again", || delegated.tickets().invite_again(pending));
    let range = RoleRange::Below(gate.roles().create("reader", []).unwrap());
    gate.delegations().create(admin, range, [Ability::ManageUsers]).unwrap();
    let tickets = delegated.tickets();
    let reset = tickets.start_password_reset(ada, None).unwrap();
    tickets.invite(NewUser::new("y").email("y@example.org")).unwrap();
    tickets.invite_again(pending).unwrap();
    tickets.verify_email(ada, HOME).unwrap();
    tickets.change_email(ada, HOME, NEW_MAIL).unwrap();
    tickets.revoke_all(pending).unwrap();
    // Whoever could take these would be whoever they are.
    let verify = gate.tickets().verify_email(root, HOME).unwrap();
    uncovered(gate, "reset", || tickets.start_password_reset(root, None));
    uncovered(gate, "verify", || tickets.verify_email(root, HOME));
    uncovered(gate, "change", || tickets.change_email(root, HOME, NEW_MAIL));
    uncovered(gate, "revoke", || tickets.revoke(verify.ticket().id));
    uncovered(gate, "revoke all", || tickets.revoke_all(root));
    uncovered(gate, "self", || tickets.start_password_reset(boss, None));
    // Who presents a token proves for himself who he is, whatever the handle.
    tickets.reset_password(reset.token(), OTHER, None, &client()).unwrap();
    log_in(gate, "ada", OTHER).unwrap();
    assert!(gate.tickets().preview(verify.token()).unwrap().is_some());
    sound(gate);
}

// On disk

#[test]
fn tokens_outlive_a_restart() {
    for kind in crate::tickets::KINDS {
        let disk = Disk::new();
        let gate = disk.open();
        let ada = kind.user(&gate);
        let old = kind.issue(&gate, ada).unwrap();
        let sent = kind.issue(&gate, ada).unwrap();
        gate.close().unwrap();
        drop(gate);
        let gate = disk.open();
        is_refused(kind.spend(&gate, &old));
        kind.spend(&gate, &sent).unwrap();
        gate.close().unwrap();
        drop(gate);
        let gate = disk.open();
        is_refused(kind.spend(&gate, &sent));
        let kinds: BTreeSet<AuditKind> = all(|page| gate.audit().list(page)).iter().map(|r| r.kind).collect();
        assert!(kinds.contains(&AuditKind::TicketUsed) && kinds.contains(&AuditKind::TicketReplayed));
        sound(&gate);
    }
}

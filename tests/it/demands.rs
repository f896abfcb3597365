//! Roles that ask for a second factor.

use crate::factors::{
    answer, challenge, demanding, denied, done, enrolled_app, keys, start, verified_mailbox,
};
use crate::support::{PASSWORD, all, is_live, sound, world_with};
use portcullis::testing::totp_code;
use portcullis::{Answer, Assurance, Client, Credentials, Denial, LoginStep, Method, NewContact, RoleChange};

#[test]
fn a_role_can_ask_for_a_second_factor() {
    let world = world_with(|builder| builder.keys(keys()));
    let gate = &world.gate;
    let bit = gate.permissions().define("vault:open").unwrap();
    let vault = gate.roles().create("vault", [bit]).unwrap();
    gate.roles().update(vault, RoleChange::new().assurance(Assurance::Two)).unwrap();
    let boss = gate.roles().create("boss", []).unwrap();
    gate.roles().inherit(boss, vault).unwrap();
    let ada = world.user("ada").id;
    let weak = world.login("ada");
    gate.roles().assign(ada, boss).unwrap();
    assert!(!is_live(gate, weak.token().as_str()), "no session of one factor has the role");

    let asked = challenge(gate, "ada");
    assert!(asked.methods().is_empty(), "the user has none: {asked:?}");
    denied(&answer(gate, &asked, &Answer::totp("000000")), Denial::Credentials);
    let first = gate.enrol_at_login(&asked, "phone").unwrap();
    let enrolment = gate.enrol_at_login(&asked, "phone").unwrap();
    let old = totp_code(first.secret(), gate.now()).unwrap();
    denied(&answer(gate, &asked, &Answer::totp(old)), Denial::Credentials);
    let code = totp_code(enrolment.secret(), gate.now()).unwrap();
    let strong = done(answer(gate, &asked, &Answer::totp(code)));
    assert!(gate.authenticate(strong.token()).unwrap().can(bit));
    assert_eq!(gate.factors().of_user(ada).unwrap().len(), 1);
    // A session of two factors stays when the role comes once more.
    gate.roles().unassign(ada, boss).unwrap();
    gate.roles().assign(ada, vault).unwrap();
    assert!(is_live(gate, strong.token().as_str()));

    // Who has a factor enrols none with a password alone.
    let again = challenge(gate, "ada");
    let error = gate.enrol_at_login(&again, "").unwrap_err();
    assert_eq!(error.denial(), Some(Denial::Challenge));
    sound(gate);
}

#[test]
fn a_mailbox_is_not_enough_for_a_role_that_asks_for_two_factors() {
    let world = world_with(|builder| builder.keys(keys()));
    let gate = &world.gate;
    let ada = world.user("ada").id;
    let mail = verified_mailbox(gate, ada);
    let role = demanding(gate, "vault");
    gate.roles().assign(ada, role).unwrap();
    let asked = challenge(gate, "ada");
    assert_eq!(asked.methods(), [Method::EmailCode], "what there is comes first");
    let code = gate.send_code(&asked, mail).unwrap();
    // It is a right answer, and still not enough: the next step asks for one that is.
    match answer(gate, &asked, &Answer::sent_code(code.code())) {
        LoginStep::NeedsFactor(next) => assert_eq!(next.proved().to_string(), "password+email_code"),
        other => panic!("{other:?}"),
    }
    // With roles that ask for nothing, the code is enough.
    let who = Credentials::password("ada", PASSWORD);
    let error = gate.login_with_roles(&who, &Client::new(), []).unwrap_err();
    assert_eq!(error.denial(), Some(Denial::FactorRequired), "the user's own factor");
    gate.factors().remove(ada, mail).unwrap();
    let login = gate.login_with_roles(&who, &Client::new(), []).unwrap();
    let error = gate.sessions().activate(login.session().id, role).unwrap_err();
    assert_eq!(error.denial(), Some(Denial::FactorRequired));
}

#[test]
fn a_login_meanwhile_is_asked_for_what_an_assignment_demands() {
    for _ in 0..20 {
        let world = world_with(|builder| builder.keys(keys()));
        let gate = &world.gate;
        let ada = world.user("ada").id;
        let bit = gate.permissions().define("vault:open").unwrap();
        let role = gate.roles().create("vault", [bit]).unwrap();
        gate.roles().update(role, RoleChange::new().assurance(Assurance::Two)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| gate.roles().assign(ada, role).unwrap());
            for _ in 0..3 {
                scope.spawn(|| {
                    if let LoginStep::Done(login) = start(gate, "ada") {
                        drop(login);
                    }
                });
            }
        });
        let weak = all(|page| gate.sessions().of_user(ada, page));
        assert!(weak.is_empty(), "a session of one factor has the role: {weak:?}");
    }
}

#[test]
fn a_mailbox_gives_itself_no_factor() {
    let world = world_with(|builder| builder.keys(keys()));
    let (gate, client) = (&world.gate, Client::new());
    let ada = world.user("ada").id;
    gate.users().add_contact(ada, &NewContact::email("ada@x.org").verified()).unwrap();
    let role = demanding(gate, "vault");
    gate.roles().assign(ada, role).unwrap();
    // With a factor of her own and without one: whoever reads her mail must not come to one, or it would reset the password.
    for enrolled in [false, true] {
        if enrolled {
            enrolled_app(&world, ada);
        }
        let asked = gate.tickets().request_magic_link("ada", &client).unwrap();
        let link = asked.issued().unwrap().token();
        let step = gate.tickets().login_with_link(link, Some(asked.browser().as_str()), &client).unwrap();
        let LoginStep::NeedsFactor(challenge) = step else { panic!("{step:?}") };
        let error = gate.enrol_at_login(&challenge, "theirs").unwrap_err();
        assert_eq!(error.denial(), Some(Denial::Challenge));
        // Her own app would not get there beside a mailbox, so it is not asked for.
        assert!(challenge.methods().is_empty());
    }
    assert_eq!(gate.factors().of_user(ada).unwrap().len(), 1);
    sound(gate);
}

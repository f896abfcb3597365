//! What holds of every one-time token, whatever it is for.

use crate::support::{OTHER, PASSWORD, World, all, backwards, later, log_in, refused, sound, world};
use portcullis::testing::dump;
use portcullis::{
    AuditKind, AuditRecord, Client, Clock, ContactId, Denial, ErrorKind, IssuedTicket, NewContact, NewUser,
    Outcome, PageRequest, Portcullis, Result, Status, TicketId, TicketLives, TicketPurpose, UserId,
};
use std::time::Duration;

pub(crate) const HOME: ContactId = ContactId::from_number(0);
pub(crate) const MAIL: &str = "Ada@example.org";
pub(crate) const NEW_MAIL: &str = "countess@example.org";

/// A token, and what its browser has where it needs one.
pub(crate) struct Sent {
    pub(crate) token: String,
    pub(crate) browser: Option<String>,
    pub(crate) ticket: TicketId,
}

impl Sent {
    pub(crate) fn of(issued: &IssuedTicket) -> Self {
        Self { token: issued.token().as_str().to_owned(), browser: None, ticket: issued.ticket().id }
    }
}

/// What a token is spent by: each of these is a kind of token of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Verification,
    Activation,
    Reset,
    Invitation,
    Link,
    Unbound,
    OldAddress,
    NewAddress,
}

pub(crate) const KINDS: [Kind; 8] = [
    Kind::Verification,
    Kind::Activation,
    Kind::Reset,
    Kind::Invitation,
    Kind::Link,
    Kind::Unbound,
    Kind::OldAddress,
    Kind::NewAddress,
];

impl Kind {
    pub(crate) const fn purpose(self) -> TicketPurpose {
        match self {
            Self::Verification | Self::Activation => TicketPurpose::EmailVerification,
            Self::Reset => TicketPurpose::PasswordReset,
            Self::Invitation => TicketPurpose::Invitation,
            Self::Link | Self::Unbound => TicketPurpose::MagicLink,
            Self::OldAddress | Self::NewAddress => TicketPurpose::EmailChange,
        }
    }

    /// Whether the account waits.
    pub(crate) const fn is_pending(self) -> bool {
        matches!(self, Self::Activation | Self::Invitation)
    }

    /// A user who can get such a token: number 0 of a new database.
    pub(crate) fn user(self, gate: &Portcullis) -> UserId {
        let new = NewUser::new("ada").email(MAIL);
        let new = match self {
            Self::Invitation => new.status(Status::pending()),
            Self::Activation => new.password(PASSWORD).status(Status::pending()),
            _ => new.password(PASSWORD),
        };
        let ada = gate.users().create(new).unwrap().id;
        if !self.is_pending() && self != Self::Verification {
            gate.users().verify_contact(ada, HOME).unwrap();
        }
        ada
    }

    pub(crate) fn issue(self, gate: &Portcullis, user: UserId) -> Result<Sent> {
        let tickets = gate.tickets();
        Ok(match self {
            Self::Verification => Sent::of(&tickets.verify_email(user, HOME)?),
            Self::Activation => Sent::of(&tickets.verify_email_to_activate(user, HOME)?),
            Self::Reset => Sent::of(&tickets.start_password_reset(user, Some(HOME))?),
            Self::Invitation => Sent::of(&tickets.invite_again(user)?),
            Self::Link => {
                let link = tickets.request_magic_link(&gate.users().get(user)?.login, &Client::new())?;
                let browser = Some(link.browser().as_str().to_owned());
                Sent { browser, ..Sent::of(link.issued().unwrap()) }
            }
            Self::Unbound => {
                let login = gate.users().get(user)?.login;
                Sent::of(&tickets.danger_request_unbound_magic_link(&login, &Client::new())?.unwrap())
            }
            Self::OldAddress => Sent::of(&tickets.change_email(user, HOME, NEW_MAIL)?.present),
            Self::NewAddress => Sent::of(&tickets.change_email(user, HOME, NEW_MAIL)?.new),
        })
    }

    /// Presents a token as one of this kind.
    pub(crate) fn spend(self, gate: &Portcullis, sent: &Sent) -> Result<()> {
        let (tickets, token, client) = (gate.tickets(), &sent.token, Client::new());
        match self {
            Self::Verification | Self::Activation => tickets.confirm_email(token, &client).map(drop),
            Self::Reset => tickets.reset_password(token, OTHER, None, &client).map(drop),
            Self::Invitation => tickets.accept_invitation(token, OTHER, &client).map(drop),
            Self::Link | Self::Unbound => {
                tickets.login_with_link(token, sent.browser.as_deref(), &client)?.done().map(drop)
            }
            Self::OldAddress | Self::NewAddress => tickets.confirm_email_change(token, &client).map(drop),
        }
    }
}

pub(crate) fn client() -> Client {
    Client::new().ip("192.0.2.7".parse().unwrap())
}

#[track_caller]
pub(crate) fn is_refused(result: Result<()>) {
    assert_eq!(result.unwrap_err().denial(), Some(Denial::Ticket));
}

pub(crate) fn last(gate: &Portcullis) -> AuditRecord {
    backwards(|page| gate.audit().list(page)).remove(0)
}

/// A database, the user and a token of that kind.
pub(crate) fn sent(kind: Kind) -> (World, UserId, Sent) {
    let world = world();
    let user = kind.user(&world.gate);
    let sent = kind.issue(&world.gate, user).unwrap();
    (world, user, sent)
}

#[test]
fn a_token_is_good_once_and_leaves_its_digest_only() {
    for kind in KINDS {
        let (world, ada, sent) = sent(kind);
        let gate = &world.gate;
        let seen = gate.tickets().preview(&sent.token).unwrap().unwrap();
        assert_eq!((seen.id, seen.purpose, seen.user), (sent.ticket, kind.purpose(), ada));
        let address = if kind == Kind::NewAddress { NEW_MAIL } else { MAIL };
        assert_eq!(seen.address.as_deref(), Some(address), "{kind:?}");
        assert_eq!(seen.expires, seen.created.saturating_add(TicketLives::new().of(kind.purpose())));
        let length = gate.audit().head().length;
        for _ in 0..3 {
            assert!(gate.tickets().preview(&sent.token).unwrap().is_some(), "looking spends nothing");
        }
        assert_eq!(gate.audit().head().length, length, "and writes nothing");
        kind.spend(gate, &sent).unwrap();
        let used = all(|page| gate.audit().by_kind(AuditKind::TicketUsed, page)).pop().unwrap();
        assert!(used.detail.starts_with(&format!("{} ({}", kind.purpose(), seen_id(&sent, kind, &used))));
        let listed = all(|page| gate.tickets().of_user(ada, page));
        assert_eq!(listed.is_empty(), kind.purpose() != TicketPurpose::EmailChange, "{kind:?}");
        let hashes = gate.password_hashes_computed();
        is_refused(kind.spend(gate, &sent));
        let record = all(|page| gate.audit().by_kind(AuditKind::TicketReplayed, page)).pop().unwrap();
        assert_eq!(record.outcome, Outcome::Denied, "{kind:?}");
        assert!(record.detail.contains("used before"), "{record}");
        assert_eq!(gate.password_hashes_computed(), hashes, "a refused token costs no hash");
        sound(gate);
    }
}

/// An e-mail change has one row and two tokens, and goes by the number of the first.
fn seen_id(sent: &Sent, kind: Kind, used: &AuditRecord) -> String {
    match kind {
        Kind::NewAddress => used.detail.split(['(', ',']).nth(1).unwrap().to_owned(),
        _ => sent.ticket.to_string(),
    }
}

#[test]
fn neither_log_nor_rows_nor_debug_hold_a_token_and_the_log_holds_no_address() {
    for kind in KINDS {
        let (world, ada, sent) = sent(kind);
        let gate = &world.gate;
        kind.spend(gate, &sent).unwrap();
        is_refused(kind.spend(gate, &sent));
        let secrets = [Some(&sent.token), sent.browser.as_ref()];
        let raw: Vec<Vec<u8>> =
            dump(gate).unwrap().into_iter().flat_map(|row| [row.key, row.value]).collect();
        for secret in secrets.into_iter().flatten() {
            // As text, without its prefix, and decoded.
            let body = &secret.as_bytes()[4..];
            let decoded = data_encoding::BASE64URL_NOPAD.decode(body).unwrap();
            for hidden in [body, &decoded[8..]] {
                assert!(!raw.iter().any(|bytes| bytes.windows(hidden.len()).any(|part| part == hidden)));
            }
        }
        for record in all(|page| gate.audit().list(page)) {
            assert!(!record.to_string().contains('@'), "{record}");
        }
        let again = gate.users().get(ada).unwrap().status == Status::active();
        if again && kind != Kind::Invitation && kind != Kind::Activation {
            let issued = gate.tickets().start_password_reset(ada, Some(HOME)).unwrap();
            assert!(!format!("{issued:?}").contains(issued.token().as_str()));
            assert!(format!("{:?}", issued.token()).contains("<secret>"));
        }
    }
}

#[test]
fn a_token_of_one_purpose_is_none_of_another() {
    for kind in KINDS {
        let (world, _, sent) = sent(kind);
        for other in KINDS.into_iter().filter(|other| !same_call(*other, kind)) {
            is_refused(other.spend(&world.gate, &sent));
            let record = last(&world.gate);
            assert_eq!(record.kind, AuditKind::TicketUnknown, "{kind:?} as {other:?}");
            // Nor with the other's beginning.
            let prefix = match other {
                Kind::Verification | Kind::Activation => "pcv_",
                Kind::Reset => "pcr_",
                Kind::Invitation => "pci_",
                Kind::Link | Kind::Unbound => "pcm_",
                Kind::OldAddress => "pco_",
                Kind::NewAddress => "pcn_",
            };
            let renamed = format!("{prefix}{}", &sent.token[4..]);
            assert!(world.gate.tickets().preview(&renamed).unwrap().is_none());
            is_refused(other.spend(&world.gate, &Sent { token: renamed, ..sent_copy(&sent) }));
        }
        if kind != Kind::OldAddress {
            is_refused(world.gate.tickets().refuse_email_change(&sent.token, &client()).map(drop));
        }
        assert!(world.gate.authenticate(&sent.token).is_err());
        kind.spend(&world.gate, &sent).unwrap();
        sound(&world.gate);
    }
}

fn sent_copy(sent: &Sent) -> Sent {
    Sent { token: sent.token.clone(), browser: sent.browser.clone(), ticket: sent.ticket }
}

fn same_call(one: Kind, other: Kind) -> bool {
    let of_change = |kind| matches!(kind, Kind::OldAddress | Kind::NewAddress);
    one.purpose() == other.purpose() && (of_change(one) || one.purpose() != TicketPurpose::EmailChange)
}

#[test]
fn every_flipped_bit_and_all_garbage_are_no_token() {
    for kind in KINDS {
        let (world, _, sent) = sent(kind);
        let gate = &world.gate;
        for byte in 0..sent.token.len() {
            for bit in 0..7 {
                let mut bytes = sent.token.clone().into_bytes();
                bytes[byte] ^= 1 << bit;
                let token = String::from_utf8(bytes).unwrap();
                assert!(gate.tickets().preview(&token).unwrap().is_none(), "byte {byte} bit {bit}");
            }
        }
        let long = "x".repeat(1 << 20);
        let (twice, cut) = (sent.token.repeat(2), &sent.token[..57]);
        for token in ["", "pcr_", " ", "\0", "é", &long, &twice, cut, &format!("{} ", sent.token)] {
            let garbage = Sent { token: token.to_owned(), ..sent_copy(&sent) };
            assert!(gate.tickets().preview(token).unwrap().is_none());
            is_refused(kind.spend(gate, &garbage));
            assert_eq!(last(gate).kind, AuditKind::TicketUnknown);
        }
        kind.spend(gate, &sent).unwrap();
    }
}

#[test]
fn the_end_is_exact() {
    for kind in KINDS {
        for (early, good) in [(1000, true), (1, true), (0, false)] {
            let (world, _, sent) = sent(kind);
            let end = world.gate.tickets().preview(&sent.token).unwrap().unwrap().expires;
            world.clock.set(portcullis::Timestamp::from_millis(end.as_millis() - early));
            assert_eq!(world.gate.tickets().preview(&sent.token).unwrap().is_some(), good, "{kind:?}");
            if good {
                kind.spend(&world.gate, &sent).unwrap();
            } else {
                is_refused(kind.spend(&world.gate, &sent));
                assert_eq!(last(&world.gate).kind, AuditKind::TicketLate);
                assert!(all(|page| world.gate.tickets().of_user(UserId::from_number(0), page)).is_empty());
                let done = world.gate.maintain(100).unwrap();
                assert_eq!(done.expired_tickets, 1);
                assert_eq!(last(&world.gate).kind, AuditKind::TicketsExpired);
                assert!(dump(&world.gate).unwrap().iter().all(|row| !row.table.starts_with("ticket")));
                is_refused(kind.spend(&world.gate, &sent));
                assert_eq!(last(&world.gate).kind, AuditKind::TicketUnknown);
            }
            sound(&world.gate);
        }
    }
}

#[test]
fn a_clock_that_jumps_back_lengthens_no_life() {
    let (world, _, sent) = sent(Kind::Reset);
    let now = world.clock.now();
    world.after(3600);
    is_refused(Kind::Reset.spend(&world.gate, &sent));
    world.clock.set(now);
    is_refused(Kind::Reset.spend(&world.gate, &sent));
}

#[test]
fn lives_have_bounds() {
    let (minute, hour, day) = (60, 3600, 86_400);
    for (purpose, longest) in [
        (TicketPurpose::EmailVerification, day),
        (TicketPurpose::EmailChange, day),
        (TicketPurpose::PasswordReset, day),
        (TicketPurpose::MagicLink, 10 * minute),
        (TicketPurpose::Invitation, 30 * day),
    ] {
        for (seconds, fine) in [(minute - 1, false), (minute, true), (longest, true), (longest + 1, false)] {
            let life = Duration::from_secs(seconds);
            let lives = TicketLives::new().with(purpose, life);
            match fine {
                true => assert_eq!(lives.unwrap().of(purpose), life),
                false => drop(refused(lives, ErrorKind::InvalidInput, Some("ticket_lives"))),
            }
        }
    }
    let lives = TicketLives::new().with(TicketPurpose::PasswordReset, Duration::from_secs(2 * hour)).unwrap();
    let gate = Portcullis::builder().ticket_lives(lives).danger_fast_password_hashes().in_memory().unwrap();
    let ada = Kind::Reset.user(&gate);
    let ticket = gate.tickets().start_password_reset(ada, None).unwrap().ticket().clone();
    assert_eq!(ticket.expires, later(ticket.created, 2 * hour));
}

#[test]
fn a_newer_token_takes_the_place_of_the_one_before_it() {
    for kind in KINDS {
        let (world, ada, first) = sent(kind);
        let gate = &world.gate;
        let mut older = vec![first];
        for _ in 0..5 {
            older.push(kind.issue(gate, ada).unwrap());
            assert!(last(gate).detail.contains("is worth nothing any more"), "{}", last(gate));
        }
        let newest = older.pop().unwrap();
        assert_eq!(all(|page| gate.tickets().of_user(ada, page)).len(), 1);
        for sent in &older {
            is_refused(kind.spend(gate, sent));
        }
        // The log knows why for the last ones.
        assert!(last(gate).detail.contains("replaced by a newer one"), "{}", last(gate));
        let rows = dump(gate).unwrap();
        assert_eq!(
            rows.iter().filter(|row| row.table == "ticket").count(),
            1,
            "one row whatever was asked for"
        );
        let numbers = rows.iter().filter(|row| row.table == "ticket_by_number").count();
        assert!(numbers <= 6, "{numbers}");
        kind.spend(gate, &newest).unwrap();
        sound(gate);
    }
}

/// What ends a token, and what of it each kind minds.
#[test]
fn what_a_token_is_bound_to_ends_it_for_good() {
    type Change = fn(&Portcullis, UserId);
    let changes: [(&str, Change, &[Kind]); 6] = [
        (
            "disabled and back",
            |gate, ada| {
                let before = gate.users().get(ada).unwrap().status;
                gate.users().set_status(ada, Status::disabled("gone")).unwrap();
                gate.users().set_status(ada, before).unwrap();
            },
            &[Kind::Verification],
        ),
        (
            "password changed",
            |gate, ada| gate.users().set_password(ada, "the very latest password").unwrap(),
            &[Kind::Verification],
        ),
        ("all sessions ended", |gate, ada| gate.sessions().revoke_all(ada).unwrap(), &[Kind::Verification]),
        ("contact removed", |gate, ada| drop(gate.users().remove_contact(ada, HOME).unwrap()), &[]),
        ("user deleted", |gate, ada| gate.users().delete(ada).unwrap(), &[]),
        ("all tokens revoked", |gate, ada| gate.tickets().revoke_all(ada).unwrap(), &[]),
    ];
    for (name, change, survivors) in changes {
        for kind in KINDS {
            let (world, ada, sent) = sent(kind);
            change(&world.gate, ada);
            let survives = survivors.contains(&kind);
            assert_eq!(
                world.gate.tickets().preview(&sent.token).unwrap().is_some(),
                survives,
                "{kind:?} {name}"
            );
            if survives {
                kind.spend(&world.gate, &sent).unwrap();
            } else {
                is_refused(kind.spend(&world.gate, &sent));
                assert_ne!(last(&world.gate).detail, "", "{kind:?} {name}");
                if name != "user deleted" {
                    assert!(all(|page| world.gate.tickets().of_user(ada, page)).is_empty());
                }
            }
            sound(&world.gate);
        }
    }
}

#[test]
fn while_an_account_may_not_log_in_no_token_is_good() {
    for kind in KINDS {
        let (world, ada, sent) = sent(kind);
        world.gate.users().set_status(ada, Status::locked("shut")).unwrap();
        assert!(world.gate.tickets().preview(&sent.token).unwrap().is_none(), "{kind:?}");
        is_refused(kind.spend(&world.gate, &sent));
        assert!(last(&world.gate).detail.contains("the account is Locked: shut"), "{}", last(&world.gate));
    }
}

#[test]
fn tokens_are_listed_and_revoked_without_their_secrets() {
    let world = world();
    let (gate, tickets) = (&world.gate, world.gate.tickets());
    let ada = Kind::Reset.user(gate);
    gate.users().add_contact(ada, &NewContact::email("second@example.org")).unwrap();
    let reset = Kind::Reset.issue(gate, ada).unwrap();
    let link = Kind::Link.issue(gate, ada).unwrap();
    let verify = tickets.verify_email(ada, ContactId::from_number(1)).unwrap();
    let change = tickets.change_email(ada, HOME, NEW_MAIL).unwrap();
    let listed = all(|page| tickets.of_user(ada, page));
    let purposes: Vec<TicketPurpose> = listed.iter().map(|ticket| ticket.purpose).collect();
    use TicketPurpose::{EmailChange, EmailVerification, MagicLink, PasswordReset};
    assert_eq!(purposes, [EmailVerification, PasswordReset, MagicLink, EmailChange]);
    assert_eq!(listed[3], *change.present.ticket());
    assert_eq!(listed[0].contact, Some(ContactId::from_number(1)));
    assert_eq!(listed.iter().filter(|ticket| ticket.bound_to_browser).count(), 1);
    tickets.revoke(reset.ticket).unwrap();
    assert_eq!(last(gate).kind, AuditKind::TicketRevoked);
    refused(tickets.revoke(reset.ticket), ErrorKind::NotFound, Some("ticket"));
    refused(tickets.revoke(TicketId::from_number(7)), ErrorKind::NotFound, Some("ticket"));
    is_refused(Kind::Reset.spend(gate, &reset));
    assert!(last(gate).detail.ends_with("revoked"));
    // Either end of a change names it.
    tickets.revoke(change.new.ticket().id).unwrap();
    is_refused(tickets.confirm_email_change(change.present.token(), &client()).map(drop));
    tickets.revoke_all(ada).unwrap();
    assert_eq!(last(gate).detail, "2 one-time tokens");
    is_refused(tickets.confirm_email(verify.token(), &client()).map(drop));
    is_refused(Kind::Link.spend(gate, &link));
    let head = gate.audit().head();
    tickets.revoke_all(ada).unwrap();
    assert_eq!(gate.audit().head(), head, "nothing was left");
    let nobody = UserId::from_number(99);
    refused(tickets.revoke_all(nobody), ErrorKind::NotFound, Some("user"));
    refused(tickets.of_user(nobody, &PageRequest::first(1)), ErrorKind::NotFound, Some("user"));
    sound(gate);
}

#[test]
fn many_tokens_of_one_user_are_revoked_and_swept() {
    let world = world();
    let (gate, ada) = (&world.gate, Kind::Reset.user(&world.gate));
    let sent: Vec<Sent> = (1..150)
        .map(|number| {
            gate.users().add_contact(ada, &NewContact::email(format!("a{number}@x.org"))).unwrap();
            Sent::of(&gate.tickets().verify_email(ada, ContactId::from_number(number)).unwrap())
        })
        .collect();
    assert_eq!(all(|page| gate.tickets().of_user(ada, page)).len(), 149);
    gate.tickets().revoke_all(ada).unwrap();
    assert!(all(|page| gate.tickets().of_user(ada, page)).is_empty());
    for sent in &sent {
        is_refused(Kind::Verification.spend(gate, sent));
    }
    gate.users().delete(ada).unwrap();
    while gate.maintain(100).unwrap().more {}
    assert!(dump(gate).unwrap().iter().all(|row| !row.table.starts_with("ticket")));
    sound(gate);
}

#[test]
fn without_randomness_nothing_is_issued_or_spent() {
    for kind in KINDS {
        let (world, ada, sent) = sent(kind);
        let before = crate::support::everything(&world.gate);
        world.entropy.set_broken(true);
        assert_eq!(kind.issue(&world.gate, ada).map(drop).unwrap_err().kind(), ErrorKind::Storage);
        assert_eq!(kind.spend(&world.gate, &sent).unwrap_err().kind(), ErrorKind::Storage);
        assert_eq!(crate::support::everything(&world.gate), before);
        world.entropy.set_broken(false);
        kind.spend(&world.gate, &sent).unwrap();
        if kind == Kind::Reset {
            log_in(&world.gate, "ada", OTHER).unwrap();
        }
    }
}

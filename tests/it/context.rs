//! Context rules: what they are told, what they can take away, and what they can not do.

use crate::support::{Disk, OTHER, PASSWORD, all, backwards, log_in, refused, sound, user};
use parking_lot::Mutex;
use portcullis::testing::ManualClock;
use portcullis::{
    AuditKind, Builder, CheckContext, Client, Credentials, Decision, Denial, ErrorKind, Grant, NewUser,
    Permission, PermissionSet, Portcullis, Result, ScopeId, SessionId, Status, StatusKind, Timestamp, UserId,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::Duration;

const NO: Decision = Decision::Deny(Denial::Permission);

type Asked = (UserId, Option<SessionId>, Option<Permission>, ScopeId, Option<String>);

/// A rule that notes what it is asked, and says what it is told to.
#[derive(Clone)]
struct Notes {
    asked: Arc<Mutex<Vec<Asked>>>,
    says: Arc<AtomicBool>,
}

impl portcullis::ContextRule for Notes {
    fn permits(&self, context: &CheckContext<'_>) -> bool {
        let device = context.client().map(|client| client.device_name().to_owned());
        let asked = (context.user(), context.session(), context.permission(), context.scope(), device);
        self.asked.lock().push(asked);
        self.says.load(Ordering::SeqCst)
    }
}

impl Notes {
    fn new() -> Self {
        Self { asked: Arc::default(), says: Arc::new(AtomicBool::new(true)) }
    }

    fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock())
    }

    fn say(&self, yes: bool) {
        self.says.store(yes, Ordering::SeqCst);
    }
}

struct Scene {
    gate: Portcullis,
    clock: ManualClock,
    ada: UserId,
    read: Permission,
    write: Permission,
}

/// Ada may read everywhere and write at "acme".
fn scene(settings: impl FnOnce(Builder) -> Builder) -> Scene {
    let clock = ManualClock::new();
    let builder = Portcullis::builder().clock(clock.clone()).danger_fast_password_hashes();
    let gate = settings(builder).in_memory().unwrap();
    let bits = gate.permissions().define_many(["read", "write"]).unwrap();
    let ada = user(&gate, "ada").id;
    gate.access().grant(ada, bits[0], &Grant::new()).unwrap();
    let acme = gate.scopes().ensure("acme").unwrap();
    gate.access().grant(ada, bits[1], &Grant::new().at(acme)).unwrap();
    Scene { gate, clock, ada, read: bits[0], write: bits[1] }
}

fn from(device: &str) -> Client {
    Client::new().device(device)
}

fn login_from(gate: &Portcullis, device: &str) -> Result<portcullis::Login> {
    gate.login(&Credentials::password("ada", PASSWORD), &from(device))
}

/// The detail of the newest audit record.
fn last_detail(gate: &Portcullis) -> (AuditKind, String) {
    let last = backwards(|page| gate.audit().list(page)).remove(0);
    (last.kind, last.detail)
}

#[test]
fn it_is_told_who_asks_for_what_where_and_from_where() {
    let notes = Notes::new();
    let Scene { gate, ada, read, write, .. } = scene(|builder| builder.context_rule(notes.clone()));
    let (acme, phone) = (gate.scopes().find("acme").unwrap().unwrap(), from("phone"));
    let root = ScopeId::ROOT;
    assert!(notes.take().is_empty());
    let login = login_from(&gate, "laptop").unwrap();
    let session = Some(login.session().id);
    assert_eq!(notes.take(), [(ada, None, None, root, Some("laptop".to_owned()))]);
    for (client, device) in [(None, None), (Some(&phone), Some("phone".to_owned()))] {
        let who = match client {
            Some(client) => gate.authenticate_from(login.token(), client).unwrap(),
            None => gate.authenticate(login.token()).unwrap(),
        };
        assert_eq!(notes.take(), [(ada, session, None, root, device.clone())]);
        assert!(who.can(read) && who.can_at(write, acme) && who.check(read).unwrap().is_allowed());
        who.require(read).unwrap();
        assert!(who.check_at(write, acme).unwrap().is_allowed());
        let told = |permission, scope| (ada, session, Some(permission), scope, device.clone());
        let due =
            [told(read, root), told(write, acme), told(read, root), told(read, root), told(write, acme)];
        assert_eq!(notes.take(), due);
        // For each of a set, and once for none.
        let both: PermissionSet = [read, write].into_iter().collect();
        assert!(who.can_all_at(&both, acme) && who.can_all(&[read].into_iter().collect()));
        assert!(who.can_all(&PermissionSet::new()));
        let nothing = (ada, session, None, root, device.clone());
        assert_eq!(notes.take(), [told(read, acme), told(write, acme), told(read, root), nothing]);
        // The delegate asks from somewhere, the subject does not ask itself.
        assert!(who.can_on_behalf_of(ada, write, acme));
        assert_eq!(notes.take(), [told(write, acme), (ada, None, Some(write), acme, None)]);
    }
    assert!(
        gate.check(ada, read).unwrap().is_allowed() && gate.check_at(ada, write, acme).unwrap().is_allowed()
    );
    assert!(gate.check_all(ada, &[read].into_iter().collect()).unwrap().is_allowed());
    assert!(gate.check_all_at(ada, &[write].into_iter().collect(), acme).unwrap().is_allowed());
    let told = |permission, scope| (ada, None, Some(permission), scope, None);
    assert_eq!(notes.take(), [told(read, root), told(write, acme), told(read, root), told(write, acme)]);
    // What is granted is not a decision.
    assert_eq!(gate.review().what_can(ada, acme).unwrap().len(), 2);
    assert!(gate.review().explain(ada, read, root).unwrap().decision.is_allowed());
    assert!(notes.take().is_empty());
}

#[test]
fn its_no_takes_away_and_its_yes_gives_nothing() {
    let notes = Notes::new();
    let Scene { gate, ada, read, write, .. } = scene(|builder| builder.context_rule(notes.clone()));
    let login = login_from(&gate, "laptop").unwrap();
    let who = gate.authenticate(login.token()).unwrap();
    notes.take();
    // The engine's no stands, and the rule does not hear of it.
    let both: PermissionSet = [read, write].into_iter().collect();
    assert_eq!((who.check(write).unwrap(), gate.check(ada, write).unwrap()), (NO, NO));
    assert!(!who.can(write) && !who.can_all(&both) && !who.can_at(read, ScopeId::from_number(99)));
    assert_eq!(gate.check_all(ada, &both).unwrap(), NO);
    assert_eq!(gate.check(UserId::from_number(99), read).unwrap(), NO);
    assert!(gate.authenticate("pcs_garbage").is_err());
    assert!(notes.take().is_empty());
    notes.say(false);
    assert_eq!((who.check(read).unwrap(), gate.check(ada, read).unwrap()), (NO, NO));
    assert!(
        !who.can(read) && !who.can_all(&[read].into_iter().collect()) && !who.can_at(read, ScopeId::ROOT)
    );
    assert!(!who.can_all(&PermissionSet::new()) && !who.can_on_behalf_of(ada, read, ScopeId::ROOT));
    assert_eq!(who.require(read).unwrap_err().denial(), Some(Denial::Permission));
    assert_eq!(gate.check_on_behalf_of(ada, ada, read, ScopeId::ROOT).unwrap(), NO);
    assert_eq!(gate.authenticate(login.token()).unwrap_err().denial(), Some(Denial::Session));
    assert_eq!(
        gate.authenticate_from(login.token(), &from("x")).unwrap_err().denial(),
        Some(Denial::Session)
    );
    notes.say(true);
    assert!(who.can(read) && gate.authenticate(login.token()).is_ok(), "the session has not ended");
    // Ended is ended, whatever the rule says.
    gate.sessions().revoke(who.session()).unwrap();
    assert_eq!(who.check(read).unwrap(), Decision::Deny(Denial::Session));
}

#[test]
fn all_rules_must_agree_on_every_permission_of_a_set() {
    let (low, high) = (AtomicU64::new(u64::MAX), Arc::new(AtomicU64::new(u64::MAX)));
    let forbidden = Arc::clone(&high);
    let Scene { gate, ada, read, write, .. } = scene(|builder| {
        let bit = |context: &CheckContext<'_>| context.permission().map(|one| u64::from(one.bit()));
        builder
            .context_rule(move |context: &CheckContext<'_>| bit(context) != Some(low.load(Ordering::SeqCst)))
            .context_rule(move |context: &CheckContext<'_>| {
                bit(context) != Some(forbidden.load(Ordering::SeqCst))
            })
    });
    let acme = gate.scopes().find("acme").unwrap().unwrap();
    let both: PermissionSet = [read, write].into_iter().collect();
    assert!(gate.check_all_at(ada, &both, acme).unwrap().is_allowed());
    for (forbidden, one) in [(read, write), (write, read)] {
        high.store(u64::from(forbidden.bit()), Ordering::SeqCst);
        assert_eq!(gate.check_all_at(ada, &both, acme).unwrap(), NO);
        assert!(gate.check_at(ada, one, acme).unwrap().is_allowed());
        assert_eq!(gate.check_at(ada, forbidden, acme).unwrap(), NO);
    }
}

#[test]
fn a_refused_login_looks_like_any_other_and_the_audit_log_knows_the_rule() {
    let notes = Notes::new();
    let Scene { gate, ada, .. } =
        scene(|builder| builder.context_rule(|_: &CheckContext<'_>| true).context_rule(notes.clone()));
    notes.say(false);
    let (hashes, head) = (gate.password_hashes_computed(), gate.audit().head().length);
    let refusal = refused(login_from(&gate, "laptop"), ErrorKind::Denied, None);
    assert_eq!(gate.password_hashes_computed(), hashes + 1, "one hash, as any refusal");
    assert_eq!(gate.audit().head().length, head + 1);
    assert_eq!(last_detail(&gate), (AuditKind::LoginFailure, "refused by context rule 2".to_owned()));
    assert!(all(|page| gate.sessions().of_user(ada, page)).is_empty());
    let wrong = refused(log_in(&gate, "ada", OTHER), ErrorKind::Denied, None);
    assert_eq!((wrong.to_string(), wrong.denial()), (refusal.to_string(), refusal.denial()));
    assert_eq!(last_detail(&gate).1, "wrong password");
    assert_eq!(notes.take().len(), 1, "it is not asked about who does not know the password");
    // Who may not log in anyway is refused for that.
    gate.users().set_status(ada, Status::disabled("left")).unwrap();
    refused(login_from(&gate, "laptop"), ErrorKind::Denied, None);
    assert_eq!(last_detail(&gate).1, "Disabled: left");
    assert!(notes.take().is_empty());
    sound(&gate);
}

/// The account changes while the password is verified: neither way past the rule, nor past the account's state.
#[test]
fn an_account_that_changes_during_the_hash_gets_past_neither() {
    for (enabled_first, rule_says) in [(false, false), (false, true), (true, false), (true, true)] {
        let (notes, gate_slot) = (Notes::new(), Arc::new(OnceLock::<Portcullis>::new()));
        let hook = Arc::clone(&gate_slot);
        let Scene { gate, ada, .. } = scene(|builder| {
            builder.context_rule(notes.clone()).pause_in_password_hash(move || {
                if let Some(gate) = hook.get() {
                    let status = if enabled_first { Status::disabled("now") } else { Status::active() };
                    gate.users().set_status(UserId::from_number(0), status).unwrap();
                }
            })
        });
        assert_eq!(ada, UserId::from_number(0));
        if !enabled_first {
            gate.users().set_status(ada, Status::disabled("before")).unwrap();
        }
        notes.say(rule_says);
        // The slot keeps a handle and is emptied by the end of the test only.
        gate_slot.set(gate.clone()).unwrap();
        let outcome = login_from(&gate, "laptop");
        assert_eq!(outcome.is_ok(), !enabled_first && rule_says);
        assert_eq!(notes.take().len(), usize::from(!enabled_first));
        let live = all(|page| gate.sessions().of_user(ada, page)).len();
        assert_eq!(live, usize::from(outcome.is_ok()));
    }
}

#[test]
fn a_refused_token_was_not_used() {
    let notes = Notes::new();
    let Scene { gate, clock, .. } = scene(|builder| builder.context_rule(notes.clone()));
    let login = login_from(&gate, "laptop").unwrap();
    clock.advance(Duration::from_secs(3000));
    notes.say(false);
    assert!(gate.authenticate(login.token()).is_err());
    notes.say(true);
    clock.advance(Duration::from_secs(600));
    assert!(gate.authenticate(login.token()).is_err(), "idle for an hour: the refused try was no use");
}

#[test]
fn a_session_can_be_bound_to_where_it_was_opened_and_to_hours() {
    // From eight to six in UTC, and from the address of the login.
    let office = |time: Timestamp| (8..18).contains(&(time.as_secs() / 3600 % 24));
    let Scene { gate, clock, ada, read, .. } = scene(|builder| {
        builder.context_rule(move |context: &CheckContext<'_>| office(context.time())).context_rule(
            |context: &CheckContext<'_>| match (context.opened_from(), context.client()) {
                (Ok(Some(opened)), Some(client)) => opened.source() == client.source(),
                (Ok(None), Some(_)) => context.session().is_none(), // a login
                (Ok(None), None) => true,                           // a check of a user
                _ => false,
            },
        )
    });
    let at = |hour: u64| clock.set(Timestamp::from_millis((20_600 * 24 + hour) * 3_600_000));
    let [here, there] =
        [1, 2].map(|host| Client::new().device("d").user_agent("u").ip([192, 0, 2, host].into()));
    let credentials = Credentials::password("ada", PASSWORD);
    at(7);
    assert!(gate.login(&credentials, &here).is_err());
    assert_eq!(last_detail(&gate).1, "refused by context rule 1");
    at(17);
    let login = gate.login(&credentials, &here).unwrap();
    let who = gate.authenticate_from(login.token(), &here).unwrap();
    assert!(who.can(read) && gate.check(ada, read).unwrap().is_allowed());
    assert!(gate.authenticate_from(login.token(), &there).is_err());
    assert!(gate.authenticate(login.token()).is_err(), "this rule wants to be told");
    at(18);
    assert!(!who.can(read) && !gate.check(ada, read).unwrap().is_allowed());
    assert!(gate.authenticate_from(login.token(), &here).is_err());
}

#[test]
fn where_a_session_was_opened_is_told_whole_and_after_a_reopening() {
    let disk = Disk::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let open = || {
        let seen = Arc::clone(&seen);
        disk.open_with(|builder| {
            builder.context_rule(move |context: &CheckContext<'_>| {
                seen.lock().push(context.opened_from().unwrap());
                !format!("{context:?}").contains("nonsense")
            })
        })
        .unwrap()
    };
    let client = Client::new().device("laptop").ip([192, 0, 2, 1].into()).user_agent("agent/1");
    let gate = open();
    user(&gate, "ada");
    let login = gate.login(&Credentials::password("ada", PASSWORD), &client).unwrap();
    gate.close().unwrap();
    drop(gate);
    let gate = open();
    gate.authenticate(login.token()).unwrap();
    assert_eq!(*seen.lock(), [None, Some(client)]);
    // An outage is an outage, and the rule is not asked.
    gate.close().unwrap();
    refused(gate.authenticate(login.token()).map(drop), ErrorKind::Stopped, None);
    refused(gate.check(UserId::from_number(0), Permission::from_bit(0)), ErrorKind::Stopped, None);
    assert_eq!(seen.lock().len(), 2);
}

#[test]
fn a_panic_goes_to_who_asked_and_leaves_nothing_allowed_stored_or_locked() {
    let armed = Arc::new(AtomicBool::new(false));
    let trap = Arc::clone(&armed);
    let Scene { gate, ada, read, .. } = scene(|builder| {
        builder.context_rule(move |_: &CheckContext<'_>| {
            assert!(!trap.load(Ordering::SeqCst), "the rule's own fault");
            true
        })
    });
    let login = login_from(&gate, "laptop").unwrap();
    let who = gate.authenticate(login.token()).unwrap();
    let head = gate.audit().head();
    armed.store(true, Ordering::SeqCst);
    let set: PermissionSet = [read].into_iter().collect();
    let calls: [&dyn Fn() -> bool; 8] = [
        &|| login_from(&gate, "phone").is_ok(),
        &|| gate.authenticate(login.token()).is_ok(),
        &|| who.can(read),
        &|| who.can_all(&set),
        &|| who.require(read).is_ok(),
        &|| gate.check(ada, read).is_ok_and(Decision::is_allowed),
        &|| gate.check_all_at(ada, &set, ScopeId::ROOT).is_ok_and(Decision::is_allowed),
        &|| gate.check_on_behalf_of(ada, ada, read, ScopeId::ROOT).is_ok_and(Decision::is_allowed),
    ];
    for (number, call) in calls.iter().enumerate() {
        let outcome = catch_unwind(AssertUnwindSafe(call));
        assert!(outcome.is_err(), "call {number}: {outcome:?}");
    }
    // More of them than there are places for hashes.
    for _ in 0..64 {
        assert!(catch_unwind(AssertUnwindSafe(|| login_from(&gate, "phone").is_ok())).is_err());
    }
    assert_eq!(gate.audit().head(), head);
    assert_eq!(all(|page| gate.sessions().of_user(ada, page)).len(), 1);
    armed.store(false, Ordering::SeqCst);
    for call in calls {
        assert!(call());
    }
    gate.users().create(NewUser::new("after")).unwrap();
    gate.sessions().revoke_all(ada).unwrap();
    assert!(!who.can(read));
    sound(&gate);
}

#[test]
fn it_may_call_the_database_and_change_it() {
    let slot = Arc::new(OnceLock::<Portcullis>::new());
    let (inside, made) = (Arc::clone(&slot), Arc::new(AtomicU64::new(0)));
    let Scene { gate, ada, read, write, .. } = scene(|builder| {
        builder.context_rule(move |context: &CheckContext<'_>| {
            let Some(gate) = inside.get() else { return true };
            // Its own checks ask it again; those for `write` end there.
            if context.permission().is_some_and(|one| one.bit() == 1) {
                return true;
            }
            let number = made.fetch_add(1, Ordering::SeqCst);
            let guest = gate.users().create(NewUser::new(format!("guest{number}"))).unwrap().id;
            gate.access().grant(guest, Permission::from_bit(1), &Grant::new()).unwrap();
            assert_eq!(all(|page| gate.users().by_status(StatusKind::Active, page)).len() as u64, number + 2);
            gate.check(guest, Permission::from_bit(1)).unwrap().is_allowed()
        })
    });
    assert_eq!(write.bit(), 1);
    slot.set(gate.clone()).unwrap();
    let login = login_from(&gate, "laptop").unwrap();
    let who = gate.authenticate(login.token()).unwrap();
    assert!(who.can(read) && gate.check(ada, read).unwrap().is_allowed());
    assert_eq!(all(|page| gate.users().list(page)).len(), 5);
    sound(&gate);
}

#[test]
fn one_that_does_not_return_holds_up_nobody_else() {
    let (entered, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (inner, outer) = (Arc::clone(&entered), Arc::clone(&go_on));
    let Scene { gate, ada, read, write, .. } = scene(|builder| {
        builder.context_rule(move |context: &CheckContext<'_>| {
            // Ada's own asking waits; that of others does not.
            if context.user() == UserId::from_number(0) {
                inner.wait();
                outer.wait();
            }
            true
        })
    });
    let eve = gate.users().create(NewUser::new("eve").password(PASSWORD)).unwrap().id;
    gate.access().grant(eve, read, &Grant::new()).unwrap();
    let steps: [&(dyn Fn() -> bool + Sync); 2] =
        [&|| gate.check(ada, read).unwrap().is_allowed(), &|| login_from(&gate, "laptop").is_ok()];
    for (step, due) in steps.into_iter().zip([true, false]) {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(step);
            entered.wait();
            // Checks, logins, changes of every sort, also of the very rows that the one who waits has read.
            assert!(gate.check(eve, read).unwrap().is_allowed());
            let login = log_in(&gate, "eve", PASSWORD).unwrap();
            assert!(gate.authenticate(login.token()).unwrap().can(read));
            let _ = gate.access().withdraw(ada, read, ScopeId::ROOT);
            gate.users().set_password(ada, OTHER).unwrap();
            assert!(!gate.check(ada, read).unwrap().is_allowed());
            gate.permissions().describe(write, "changed").unwrap();
            gate.maintain(100).unwrap();
            go_on.wait();
            // A login is decided again when it is stored: the password is another one by then.
            assert_eq!(waiting.join().unwrap(), due);
        });
        gate.users().set_password(ada, PASSWORD).unwrap();
    }
    assert!(all(|page| gate.sessions().of_user(ada, page)).is_empty());
    sound(&gate);
}

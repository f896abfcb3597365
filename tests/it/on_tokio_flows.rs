//! Asynchronous logins of several steps and one-time tokens: judged before they wait, and nothing left of those dropped.

use crate::admission::{Door, until};
use crate::factors::{denied, keys};
use crate::on_tokio::one_thread;
use crate::support::{OTHER, PASSWORD, World, all, is_live, log_in, refused, sound, world_with};
use crate::throttle::{fail_times, records};
use portcullis::testing::totp_code;
use portcullis::{
    Answer, AsyncPortcullis, AuditKind, BreachCheck, BreachError, BreachQuery, Builder, Client, ContactId,
    Credentials, Denial, ErrorKind, FactorId, LoginStep, NewContact, NewUser, Portcullis, Result, UserId,
};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Waker};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
const THIRD: &str = "a third horse, a third battery";

/// One permit, and a door inside each hash, which stands open at first.
struct Place {
    world: World,
    on_tokio: AsyncPortcullis,
    door: Door,
}

impl Place {
    fn new(queue: usize, settings: impl FnOnce(Builder) -> Builder) -> Self {
        let door = Door::default();
        let behind = door.clone();
        let world = world_with(|builder| {
            let builder = builder.keys(keys()).admission(1, queue, LONG).admission_share(queue.max(1));
            settings(builder.pause_in_password_hash(move || behind.pass()))
        });
        let on_tokio = world.gate.on_tokio();
        world.user("bob");
        Self { world, on_tokio, door }
    }

    fn gate(&self) -> &Portcullis {
        &self.world.gate
    }

    /// Closes the door, with a login of Bob's behind it.
    async fn fill(&self) -> tokio::task::JoinHandle<Result<portcullis::Login>> {
        self.door.close();
        let on_tokio = self.on_tokio.clone();
        let login = tokio::spawn(async move { on_tokio.login(who("bob"), Client::new()).await });
        while self.door.before() == 0 {
            tokio::task::yield_now().await;
        }
        login
    }

    /// A user with an authenticator app and a telephone: the secret of the app, and the telephone.
    fn secured(&self, login: &str) -> (UserId, String, FactorId) {
        let gate = self.gate();
        let new = NewUser::new(login).password(PASSWORD).email(format!("{login}@example.org"));
        let user = gate.users().create(new).unwrap().id;
        gate.users().verify_contact(user, ContactId::from_number(0)).unwrap();
        let number = gate.users().add_contact(user, &NewContact::phone("+44 20")).unwrap().id;
        gate.users().verify_contact(user, number).unwrap();
        let app = gate.factors().enrol_totp(user, "app").unwrap();
        let secret = app.secret().to_owned();
        let code = totp_code(&secret, gate.now()).unwrap();
        gate.factors().confirm_totp(user, app.factor(), &code).unwrap();
        let phone = gate.factors().enrol_contact(user, number, "").unwrap().id;
        self.world.after(30);
        (user, secret, phone)
    }

    fn code(&self, secret: &str) -> Answer {
        Answer::totp(totp_code(secret, self.gate().now()).unwrap())
    }

    /// The token of a login that must end with another password.
    fn must_change(&self, login: &str) -> String {
        let new = NewUser::new(login).password(PASSWORD).must_change_password();
        self.gate().users().create(new).unwrap();
        match self.gate().start_login(&who(login), &Client::new()).unwrap() {
            LoginStep::MustChangePassword(challenge) => challenge.token().as_str().to_owned(),
            other => panic!("another password is asked for: {other:?}"),
        }
    }

    fn challenge(&self, login: &str) -> String {
        crate::factors::challenge(self.gate(), login).token().as_str().to_owned()
    }

    fn reset(&self, user: UserId) -> String {
        let issued = self.gate().tickets().start_password_reset(user, None).unwrap();
        issued.token().as_str().to_owned()
    }

    fn invited(&self, login: &str) -> String {
        self.gate().tickets().invite(NewUser::new(login)).unwrap().1.token().as_str().to_owned()
    }
}

fn who(login: &str) -> Credentials {
    Credentials::password(login, PASSWORD)
}

#[track_caller]
fn is_denied<T: std::fmt::Debug>(result: Result<T>, denial: Denial) {
    assert_eq!(result.unwrap_err().denial(), Some(denial));
}

#[track_caller]
fn is_held_up(denial: Option<Denial>) {
    assert!(matches!(denial, Some(Denial::Throttled(_))), "{denial:?}");
}

#[test]
fn who_is_held_up_hears_so_and_not_that_the_gate_is_full() {
    let place = Place::new(0, |builder| builder);
    let (gate, on_tokio) = (place.gate(), &place.on_tokio);
    place.world.user("ada");
    let eve = place.world.user("eve").id;
    let session = place.world.login("eve").token().as_str().to_owned();
    let (carol, _, phone) = place.secured("carol");
    fail_times(&place.world, "ada", &Client::new(), 5);
    for _ in 0..5 {
        assert!(gate.users().change_password(eve, "wrong", OTHER).is_err());
    }
    let challenge = place.challenge("carol");
    gate.send_code(&challenge, phone).unwrap();
    let reset = place.reset(carol);
    gate.tickets().send_reset_code(&reset, phone, &Client::new()).unwrap();
    // Of several logins, since the fifth wrong answer ends one.
    for _ in 0..5 {
        let other = place.challenge("carol");
        gate.send_code(&other, phone).unwrap();
        denied(
            &gate.answer(&other, &Answer::sent_code("00000000"), &Client::new()).unwrap(),
            Denial::Credentials,
        );
    }
    one_thread(3).block_on(async {
        let bob = place.fill().await;
        let before = gate.password_hashes_computed();
        for _ in 0..3 {
            is_held_up(on_tokio.login(who("ada"), Client::new()).await.unwrap_err().denial());
            is_held_up(on_tokio.login_with_roles(who("ada"), Client::new(), []).await.unwrap_err().denial());
            let step = on_tokio.start_login(who("ada"), Client::new()).await.unwrap();
            is_held_up(step.done().unwrap_err().denial());
            let change = on_tokio.change_password(&*session, PASSWORD, OTHER, Client::new()).await;
            is_held_up(change.unwrap_err().denial());
            let code = Answer::sent_code("00000001");
            let step = on_tokio.answer(&*challenge, code.clone(), Client::new()).await.unwrap();
            is_held_up(step.done().unwrap_err().denial());
            let step = on_tokio.reset_password(&*reset, OTHER, Some(code), Client::new()).await;
            is_held_up(step.unwrap_err().denial());
        }
        // Nobody held up, and no room.
        refused(on_tokio.login(who("carol"), Client::new()).await, ErrorKind::Busy, None);
        assert_eq!(gate.password_hashes_computed(), before);
        assert_eq!((gate.admission().running, gate.admission().waiting), (1, 0));
        place.door.open();
        bob.await.unwrap().unwrap();
    });
    assert_eq!(records(gate, AuditKind::LoginThrottled).len(), 3, "one a delay: a name, a session, a method");
    assert_eq!(gate.admission().refused_share + gate.admission().refused_full, 1);
    sound(gate);
}

#[test]
fn what_is_wrong_without_a_hash_is_said_where_the_gate_is_full() {
    let place = Place::new(0, |builder| builder);
    let (gate, on_tokio) = (place.gate(), &place.on_tokio);
    let (carol, secret, phone) = place.secured("carol");
    let challenge = place.challenge("carol");
    let (expired, reset, invited) = (place.must_change("dora"), place.reset(carol), place.invited("fay"));
    let session = place.world.login("bob").token().as_str().to_owned();
    let client = Client::new;
    one_thread(3).block_on(async {
        let bob = place.fill().await;
        let before = gate.password_hashes_computed();
        let long = Credentials::password("ada", "x".repeat(1025));
        refused(on_tokio.start_login(long, client()).await, ErrorKind::InvalidInput, Some("password"));
        let unknown = on_tokio.answer("", Answer::new_password(OTHER), client()).await.unwrap();
        denied(&unknown, Denial::Challenge);
        let short = || Answer::new_password("short");
        let answer = on_tokio.answer(&*expired, short(), client()).await;
        refused(answer, ErrorKind::InvalidInput, Some("password"));
        denied(&on_tokio.answer(&*challenge, short(), client()).await.unwrap(), Denial::Credentials);
        is_denied(on_tokio.send_code("", phone).await, Denial::Challenge);
        is_denied(on_tokio.change_password("", PASSWORD, OTHER, client()).await, Denial::Session);
        let change = on_tokio.change_password(&*session, PASSWORD, "short", client()).await;
        refused(change, ErrorKind::InvalidInput, Some("password"));
        is_denied(on_tokio.reset_password("", OTHER, None, client()).await, Denial::Ticket);
        let without = on_tokio.reset_password(&*reset, OTHER, None, client()).await;
        is_denied(without, Denial::FactorRequired);
        let factor = Some(place.code(&secret));
        let weak = on_tokio.reset_password_and_keep_sessions(&*reset, "short", factor, client()).await;
        refused(weak, ErrorKind::InvalidInput, Some("password"));
        is_denied(on_tokio.reset_password_and_keep_sessions("", OTHER, None, client()).await, Denial::Ticket);
        is_denied(on_tokio.send_reset_code("", phone, client()).await, Denial::Ticket);
        is_denied(on_tokio.accept_invitation("", OTHER, client()).await, Denial::Ticket);
        let weak = on_tokio.accept_invitation(&*invited, "short", client()).await;
        refused(weak, ErrorKind::InvalidInput, Some("password"));
        let set = on_tokio.set_password(carol, "short").await;
        refused(set, ErrorKind::InvalidInput, Some("password"));
        // What needs a hash hears that there is no room, and may come again with the same tokens.
        let length = gate.audit().head().length;
        let busy = |kind| assert_eq!(kind, ErrorKind::Busy);
        busy(on_tokio.start_login(who("ada"), client()).await.unwrap_err().kind());
        busy(on_tokio.answer(&*expired, Answer::new_password(OTHER), client()).await.unwrap_err().kind());
        busy(on_tokio.send_code(&*challenge, phone).await.unwrap_err().kind());
        busy(on_tokio.change_password(&*session, PASSWORD, OTHER, client()).await.unwrap_err().kind());
        let factor = Some(place.code(&secret));
        busy(on_tokio.reset_password(&*reset, OTHER, factor, client()).await.unwrap_err().kind());
        busy(on_tokio.send_reset_code(&*reset, phone, client()).await.unwrap_err().kind());
        busy(on_tokio.accept_invitation(&*invited, OTHER, client()).await.unwrap_err().kind());
        busy(on_tokio.set_password(carol, OTHER).await.unwrap_err().kind());
        assert_eq!(gate.audit().head().length, length, "nothing was changed");
        // A code of an app costs no hash, so that it gets through.
        let login = on_tokio.answer(&*challenge, place.code(&secret), client()).await.unwrap();
        assert!(is_live(gate, login.done().unwrap().token().as_str()));
        assert_eq!(gate.password_hashes_computed(), before);
        place.door.open();
        bob.await.unwrap().unwrap();
        all_of_them(&place, [&expired, &reset, &invited, &session], (phone, &secret)).await;
    });
    sound(gate);
}

/// Each call does what the blocking one does, with the tokens that a full gate left as they were.
async fn all_of_them(
    place: &Place,
    [expired, reset, invited, session]: [&String; 4],
    (phone, secret): (FactorId, &str),
) {
    let (gate, on_tokio, client) = (place.gate(), &place.on_tokio, Client::new);
    let (ticks, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, stop) = (Arc::clone(&ticks), Arc::clone(&done));
    let ticker = tokio::spawn(async move {
        while !stop.load(SeqCst) {
            tokio::task::yield_now().await;
            count.fetch_add(1, SeqCst);
        }
    });
    let login = on_tokio.answer(&**expired, Answer::new_password(OTHER), client()).await.unwrap();
    assert!(is_live(gate, login.done().unwrap().token().as_str()));

    let login = on_tokio.change_password(&**session, PASSWORD, OTHER, client()).await.unwrap();
    assert!(is_live(gate, login.token().as_str()) && !is_live(gate, session));
    assert!(log_in(gate, "bob", OTHER).is_ok());

    let fay = on_tokio.accept_invitation(&**invited, OTHER, client()).await.unwrap();
    let step = on_tokio.start_login(Credentials::password("fay", OTHER), client()).await.unwrap();
    assert_eq!(step.done().unwrap().user(), fay);

    let LoginStep::NeedsFactor(challenge) = on_tokio.start_login(who("carol"), client()).await.unwrap()
    else {
        panic!("a factor is asked for");
    };
    let (carol, challenge) = (challenge.user(), challenge.token().as_str());
    let code = on_tokio.send_code(challenge, phone).await.unwrap();
    let wrong = on_tokio.answer(challenge, Answer::sent_code("no code"), client()).await.unwrap();
    denied(&wrong, Denial::Credentials);
    let login = on_tokio.answer(challenge, Answer::sent_code(code.code()), client()).await.unwrap();
    let login = login.done().unwrap();

    let code = on_tokio.send_reset_code(&**reset, phone, client()).await.unwrap();
    let factor = Some(Answer::sent_code(code.code()));
    let kept = on_tokio.reset_password_and_keep_sessions(&**reset, OTHER, factor, client()).await.unwrap();
    assert!(kept.user() == carol && is_live(gate, login.token().as_str()));
    place.world.after(60);
    let reset = place.reset(carol);
    let factor = Some(place.code(secret));
    on_tokio.reset_password(&*reset, THIRD, factor, client()).await.unwrap();
    assert!(!is_live(gate, login.token().as_str()));
    is_denied(on_tokio.reset_password(reset, OTHER, None, client()).await, Denial::Ticket);
    done.store(true, SeqCst);
    ticker.await.unwrap();
    assert!(ticks.load(SeqCst) > 20, "{ticks:?}");
}

/// Polls a call until it waits for its hash, and drops it.
fn drop_waiting<T: std::fmt::Debug>(place: &Place, mut call: Pin<&mut impl Future<Output = Result<T>>>) {
    until("the wait", || {
        let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "{polled:?}");
        place.gate().admission().waiting == 1
    });
}

#[test]
fn a_call_dropped_while_it_waits_has_done_nothing_and_holds_nothing() {
    let place = Place::new(4, |builder| builder);
    let (gate, on_tokio, client) = (place.gate(), &place.on_tokio, Client::new);
    let (carol, secret, phone) = place.secured("carol");
    let challenge = place.challenge("carol");
    let (expired, reset, invited) = (place.must_change("dora"), place.reset(carol), place.invited("fay"));
    let session = place.world.login("bob").token().as_str().to_owned();
    let runtime = one_thread(3);
    let _entered = runtime.enter();
    let bob = runtime.block_on(place.fill());
    let before = (gate.audit().head().length, gate.password_hashes_computed());
    drop_waiting(&place, pin!(on_tokio.start_login(who("ada"), client())));
    drop_waiting(&place, pin!(on_tokio.answer(&*expired, Answer::new_password(OTHER), client())));
    drop_waiting(&place, pin!(on_tokio.send_code(&*challenge, phone)));
    drop_waiting(&place, pin!(on_tokio.change_password(&*session, PASSWORD, OTHER, client())));
    let factor = Some(place.code(&secret));
    drop_waiting(&place, pin!(on_tokio.reset_password(&*reset, OTHER, factor.clone(), client())));
    drop_waiting(&place, pin!(on_tokio.reset_password_and_keep_sessions(&*reset, OTHER, factor, client())));
    drop_waiting(&place, pin!(on_tokio.send_reset_code(&*reset, phone, client())));
    drop_waiting(&place, pin!(on_tokio.accept_invitation(&*invited, OTHER, client())));
    drop_waiting(&place, pin!(on_tokio.set_password(carol, OTHER)));
    let seen = gate.admission();
    assert_eq!((seen.running, seen.waiting, seen.sources, seen.abandoned), (1, 0, 0, 9));
    // One that is dropped before it was tried: no thread and no place is left taken.
    for _ in 0..100 {
        let mut call = pin!(on_tokio.start_login(who("ada"), client()));
        let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    assert_eq!((gate.audit().head().length, gate.password_hashes_computed()), before);
    place.door.open();
    runtime.block_on(async {
        bob.await.unwrap().unwrap();
        all_of_them(&place, [&expired, &reset, &invited, &session], (phone, &secret)).await;
    });
    assert_eq!((gate.admission().running, gate.admission().waiting), (0, 0));
    sound(gate);
}

/// A step that needs no hash is done by the first thread that has it; where nobody waits for it then, its session ends.
#[test]
fn a_step_that_nobody_waits_for_leaves_no_session() {
    let place = Place::new(4, |builder| builder);
    let gate = place.gate();
    let (_, secret, _) = place.secured("carol");
    let challenge = place.challenge("carol");
    let runtime = one_thread(1);
    let _entered = runtime.enter();
    // The only thread is taken until the call was polled, or it might be done by then.
    let (release, held) = std::sync::mpsc::channel::<()>();
    drop(runtime.spawn_blocking(move || held.recv()));
    {
        let call = place.on_tokio.answer(challenge, place.code(&secret), Client::new());
        let mut call = pin!(call);
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(release);
        until("the session", || records(gate, AuditKind::LoginSuccess).len() == 1);
    }
    let sessions = || all(|page| gate.sessions().by_expiry(page)).len();
    // Neither listing says of the other one that the commit is in it already.
    until("its end", || records(gate, AuditKind::SessionRevoked).len() == 1 && sessions() == 0);
    sound(gate);
}

#[derive(Debug, Default)]
struct Counting(Arc<AtomicUsize>);

impl BreachCheck for Counting {
    fn times_seen(&self, _: &BreachQuery<'_>) -> Result<u64, BreachError> {
        self.0.fetch_add(1, SeqCst);
        Ok(0)
    }
}

/// Also where the call is tried before it waits: the application's check may cost a network.
#[test]
fn breaches_are_asked_about_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let check = Counting(Arc::clone(&asked));
    let place = Place::new(4, |builder| builder.breach_check(check));
    let bob = place.gate().users().find("bob").unwrap().unwrap().id;
    let (expired, invited) = (place.must_change("dora"), place.invited("fay"));
    let (session, client) = (place.world.login("bob").token().as_str().to_owned(), Client::new);
    let once = |what: &str| assert_eq!(asked.swap(0, SeqCst), 1, "{what}");
    asked.store(0, SeqCst);
    let on_tokio = &place.on_tokio;
    one_thread(2).block_on(async {
        let _ = on_tokio.answer(expired, Answer::new_password(OTHER), client()).await.unwrap();
        once("answer");
        let _ = on_tokio.change_password(session, PASSWORD, OTHER, client()).await.unwrap();
        once("change_password");
        on_tokio.accept_invitation(invited, OTHER, client()).await.unwrap();
        once("accept_invitation");
        on_tokio.reset_password(place.reset(bob), THIRD, None, client()).await.unwrap();
        once("reset_password");
        on_tokio.set_password(bob, PASSWORD).await.unwrap();
        once("set_password");
    });
}

//! Asynchronous calls: the runtime goes on, the queue is the same, and what is dropped is undone or never was.

use crate::admission::{Door, until};
use crate::support::{Disk, OTHER, PASSWORD, all, is_live, log_in, refused, sound, user};
use portcullis::{
    AsyncPortcullis, AuditKind, Builder, Client, Credentials, ErrorKind, NewUser, PasswordCost, Portcullis,
};
use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::runtime::{self, Runtime};
use tokio::task::JoinSet;

const LONG: Duration = Duration::from_secs(60);

fn builder() -> Builder {
    Portcullis::builder().danger_fast_password_hashes()
}

/// One thread that runs tasks, and so many that may block.
pub(crate) fn one_thread(blocking: usize) -> Runtime {
    runtime::Builder::new_current_thread().enable_time().max_blocking_threads(blocking).build().unwrap()
}

fn ada() -> Credentials {
    Credentials::password("ada", PASSWORD)
}

/// A thousand logins on a runtime with three threads that may block, of which they may take two.
fn storm(runtime: &Runtime) {
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (Arc::clone(&inside), Arc::clone(&most));
    let hash = move || {
        peak.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        std::thread::park_timeout(Duration::from_millis(1));
        now.fetch_sub(1, SeqCst);
    };
    let gate = builder().admission(2, 1000, LONG).admission_share(1000).pause_in_password_hash(hash);
    let gate = gate.in_memory().unwrap();
    user(&gate, "ada");
    let on_tokio = gate.on_tokio();
    runtime.block_on(async {
        let (ticks, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stop) = (Arc::clone(&ticks), Arc::clone(&done));
        let ticker = tokio::spawn(async move {
            while !stop.load(SeqCst) {
                tokio::time::sleep(Duration::from_millis(1)).await;
                count.fetch_add(1, SeqCst);
            }
        });
        let mut logins = JoinSet::new();
        for _ in 0..1000 {
            let on_tokio = on_tokio.clone();
            logins.spawn(async move { on_tokio.login(ada(), Client::new()).await });
        }
        // Another user of the runtime's blocking threads gets one in the middle of the storm.
        let first = logins.join_next().await.unwrap().unwrap().unwrap();
        let left = tokio::task::spawn_blocking({
            let gate = gate.clone();
            move || gate.admission().waiting
        });
        assert!(left.await.unwrap() > 0, "the storm was over before anybody else came to run");
        assert!(gate.authenticate(first.token()).is_ok(), "a check needs no await");
        let mut tokens = HashSet::from([first.token().as_str().to_owned()]);
        while let Some(login) = logins.join_next().await {
            tokens.insert(login.unwrap().unwrap().token().as_str().to_owned());
        }
        done.store(true, SeqCst);
        ticker.await.unwrap();
        assert_eq!(tokens.len(), 1000);
        let ticks = ticks.load(SeqCst);
        assert!(ticks >= 50, "the runtime made {ticks} ticks in half a second or more");
    });
    let seen = gate.admission();
    assert_eq!((seen.running, seen.waiting, seen.admitted), (0, 0, 1001));
    assert!(most.load(SeqCst) <= 2 && seen.peak_waiting >= 900, "{seen:?}");
    sound(&gate);
}

#[test]
fn the_only_thread_of_a_runtime_goes_on_during_a_storm() {
    storm(&one_thread(3));
}

#[test]
fn a_runtime_of_two_threads_goes_on_during_a_storm() {
    let mut builder = runtime::Builder::new_multi_thread();
    storm(&builder.worker_threads(2).enable_time().max_blocking_threads(3).build().unwrap());
}

#[test]
fn calls_do_what_the_blocking_ones_do() {
    let disk = Disk::new();
    let gate = disk.open();
    let on_tokio = gate.on_tokio();
    let runtime = one_thread(4);
    runtime.block_on(async {
        let ada = on_tokio.create_user(NewUser::new("ada").password(PASSWORD)).await.unwrap().id;
        on_tokio.create_user(NewUser::new("mute")).await.unwrap();
        let many = vec![NewUser::new("one").password(PASSWORD), NewUser::new("two")];
        assert_eq!(on_tokio.create_users(many).await.unwrap().len(), 2);
        let again = on_tokio.create_user(NewUser::new("Ada").password(PASSWORD)).await;
        refused(again, ErrorKind::AlreadyExists, Some("login"));
        let short = on_tokio.set_password(ada, "short").await;
        refused(short, ErrorKind::InvalidInput, Some("password"));
        let client = Client::new().device("laptop").ip("192.0.2.7".parse().unwrap());
        let login = on_tokio.login(self::ada(), client.clone()).await.unwrap();
        assert_eq!((login.user(), &login.session().client), (ada, &client));
        let wrong = on_tokio.login(Credentials::password("ada", OTHER), Client::new()).await;
        refused(wrong, ErrorKind::Denied, None);
        let role = on_tokio
            .run(move |gate| {
                let role = gate.roles().create("reader", [gate.permissions().define("read")?])?;
                gate.roles().assign(ada, role).map(|_| role)
            })
            .await
            .unwrap();
        let selected = on_tokio.login_with_roles(self::ada(), Client::new(), [role]).await.unwrap();
        assert_eq!(selected.session().selected, Some(vec![role]));
        on_tokio.set_password(ada, OTHER).await.unwrap();
        assert!(!is_live(&gate, login.token().as_str()));
        let right = move |gate: &Portcullis| log_in(gate, "ada", OTHER);
        assert!(on_tokio.run_admitted(None, right).await.is_ok());
    });
    sound(&gate);
    gate.close().unwrap();
    let closed = runtime.block_on(on_tokio.login(ada(), Client::new()));
    refused(closed, ErrorKind::Stopped, None);
    drop((gate, on_tokio));
    assert!(log_in(&disk.open(), "ada", OTHER).is_ok());
}

/// A gate with one permit, a hash that runs behind a closed door, and the runtime to await on.
fn behind_a_door(queue: usize) -> (AsyncPortcullis, Door, Runtime) {
    let door = Door::default();
    let inside = door.clone();
    let gate = builder().admission(1, queue, LONG).pause_in_password_hash(move || inside.pass());
    let gate = gate.in_memory().unwrap();
    user(&gate, "ada");
    door.close();
    (gate.on_tokio(), door, one_thread(4))
}

#[test]
fn a_call_dropped_while_it_waits_leaves_nothing_behind() {
    let (on_tokio, door, runtime) = behind_a_door(8);
    let gate = on_tokio.gate().clone();
    let before = gate.audit().head();
    runtime.block_on(async {
        let running = tokio::spawn({
            let on_tokio = on_tokio.clone();
            async move { on_tokio.login(ada(), Client::new()).await }
        });
        while door.before() == 0 {
            tokio::task::yield_now().await;
        }
        let mut waiting = JoinSet::new();
        for _ in 0..4 {
            let on_tokio = on_tokio.clone();
            waiting.spawn(async move { on_tokio.login(ada(), Client::new()).await });
        }
        let mut ticks = 0;
        while gate.admission().waiting < 4 && ticks < 20_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            ticks += 1;
        }
        assert_eq!((gate.admission().running, gate.admission().waiting), (1, 4));
        waiting.shutdown().await;
        assert_eq!((gate.admission().waiting, gate.admission().abandoned), (0, 4));
        door.open();
        assert!(running.await.unwrap().is_ok());
    });
    assert_eq!(gate.admission().running, 0);
    assert_eq!(gate.password_hashes_computed(), 2, "the user's own and the one login's");
    assert_eq!(gate.audit().head().length, before.length + 1);
    sound(&gate);
}

/// Dropped while its hash runs, or after its session was opened and before anybody asked for it: the session ends.
#[test]
fn a_login_that_nobody_waits_for_leaves_no_session() {
    for opened in [false, true] {
        let (on_tokio, door, runtime) = behind_a_door(8);
        let gate = on_tokio.gate().clone();
        let sessions = || all(|page| gate.sessions().by_expiry(page)).len();
        let opens = || all(|page| gate.audit().by_kind(AuditKind::LoginSuccess, page)).len();
        let _entered = runtime.enter();
        {
            let mut login = pin!(on_tokio.login(ada(), Client::new()));
            until("the hash", || {
                assert!(login.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                door.before() == 1
            });
            if opened {
                door.open();
                until("the session", || opens() == 1 && gate.admission().running == 0);
            }
        }
        door.open();
        until("the login", || opens() == 1);
        until("the end of its session", || sessions() == 0);
        assert_eq!(all(|page| gate.audit().by_kind(AuditKind::SessionRevoked, page)).len(), 1);
        assert_eq!((gate.admission().running, gate.admission().waiting), (0, 0));
        sound(&gate);
    }
}

#[test]
fn a_full_queue_says_when_to_come_again() {
    let (on_tokio, door, runtime) = behind_a_door(0);
    runtime.block_on(async {
        let running = tokio::spawn({
            let on_tokio = on_tokio.clone();
            async move { on_tokio.login(ada(), Client::new()).await }
        });
        while door.before() == 0 {
            tokio::task::yield_now().await;
        }
        let error = refused(on_tokio.login(ada(), Client::new()).await, ErrorKind::Busy, None);
        assert!(error.retry_after().is_some());
        // What computes no hash does not wait behind one.
        assert_eq!(on_tokio.run(|gate| gate.users().find("ada")).await.unwrap().unwrap().login, "ada");
        door.open();
        assert!(running.await.unwrap().is_ok());
    });
}

#[test]
fn a_panic_goes_on_in_the_task_that_waits() {
    let gate = builder().admission(1, 0, LONG).in_memory().unwrap();
    let on_tokio = gate.on_tokio();
    one_thread(2).block_on(async {
        for _ in 0..40 {
            let inner = on_tokio.clone();
            let call =
                tokio::spawn(async move { inner.run(|_| -> portcullis::Result<()> { panic!("run") }).await });
            assert!(call.await.unwrap_err().is_panic());
            let inner = on_tokio.clone();
            let panics = |_: &Portcullis| -> portcullis::Result<()> { panic!("admitted") };
            let call = tokio::spawn(async move { inner.run_admitted(None, panics).await });
            assert!(call.await.unwrap_err().is_panic());
        }
        assert_eq!(gate.admission().running, 0);
        assert!(on_tokio.create_user(NewUser::new("ada").password(PASSWORD)).await.is_ok());
    });
}

#[test]
fn without_a_runtime_it_says_so_and_with_one_that_ended_too() {
    let gate = builder().in_memory().unwrap();
    let on_tokio = gate.on_tokio();
    let mut login = pin!(on_tokio.login(ada(), Client::new()));
    let std::task::Poll::Ready(result) = login.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("it must not wait");
    };
    refused(result, ErrorKind::InvalidInput, Some("runtime"));
    let ended = one_thread(1);
    let handle = ended.handle().clone();
    drop(ended);
    let _entered = handle.enter();
    let mut call = pin!(on_tokio.run(|gate| gate.users().find("ada")));
    let std::task::Poll::Ready(result) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("it must not wait");
    };
    refused(result, ErrorKind::Stopped, None);
    assert_eq!(gate.admission().running, 0);
}

/// At most 32 calls run at once, and all of them come to run.
#[test]
fn calls_without_a_hash_take_a_bounded_number_of_threads() {
    let gate = builder().in_memory().unwrap();
    let on_tokio = gate.on_tokio();
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    one_thread(512).block_on(async {
        let mut calls = JoinSet::new();
        for _ in 0..500 {
            let (on_tokio, inside, most) = (on_tokio.clone(), Arc::clone(&inside), Arc::clone(&most));
            calls.spawn(async move {
                let call = move |gate: &Portcullis| {
                    most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                    std::thread::park_timeout(Duration::from_millis(1));
                    inside.fetch_sub(1, SeqCst);
                    gate.users().find("ada")
                };
                on_tokio.run(call).await
            });
        }
        while let Some(call) = calls.join_next().await {
            assert_eq!(call.unwrap().unwrap(), None);
        }
    });
    assert!(most.load(SeqCst) <= 32, "{most:?}");
    assert_eq!(gate.admission().admitted, 0);
}

#[test]
fn many_new_users_do_not_keep_the_only_permit() {
    let slow = || std::thread::park_timeout(Duration::from_millis(1));
    let gate = builder().admission(1, 8, LONG).pause_in_password_hash(slow).in_memory().unwrap();
    user(&gate, "ada");
    let on_tokio = gate.on_tokio();
    one_thread(4).block_on(async {
        let new = (0..300).map(|number| NewUser::new(format!("user{number}")).password(PASSWORD)).collect();
        let bulk = tokio::spawn({
            let on_tokio = on_tokio.clone();
            async move { on_tokio.create_users(new).await }
        });
        while gate.password_hashes_computed() < 5 {
            tokio::task::yield_now().await;
        }
        on_tokio.login(ada(), Client::new()).await.unwrap();
        assert!(!bulk.is_finished(), "the login did not wait for the bulk");
        assert_eq!(bulk.await.unwrap().unwrap().len(), 300);
    });
}

/// With one permit and no queue, a login that verifies a stored hash of 7 MiB and makes it anew has the one permit for
/// both, and waits for the memory that it did not know of.
#[test]
fn a_login_that_makes_a_hash_anew_holds_one_permit_for_both() {
    let disk = Disk::new();
    let strong = PasswordCost::new(7168, 5).unwrap();
    let gate = Portcullis::builder().password_cost(strong).open(&disk.path).unwrap();
    for number in 0..12 {
        user(&gate, &format!("user{number}"));
    }
    gate.close().unwrap();
    let gate = disk.open_with(|builder| builder.admission(3, 64, LONG).admission_memory(15 << 20)).unwrap();
    let on_tokio = gate.on_tokio();
    one_thread(3).block_on(async {
        let mut logins = JoinSet::new();
        for number in 0..24 {
            let on_tokio = on_tokio.clone();
            let who = Credentials::password(format!("user{}", number % 12), PASSWORD);
            logins.spawn(async move { on_tokio.login(who, Client::new()).await });
        }
        while let Some(login) = logins.join_next().await {
            login.unwrap().unwrap();
        }
    });
    let seen = gate.admission();
    assert_eq!((seen.running, seen.waiting, seen.admitted), (0, 0, 24));
    assert!(seen.peak_running <= 3 && seen.peak_bytes <= seen.most_bytes, "{seen:?}");
    let hashes = gate.password_hashes_computed();
    assert!((36..=48).contains(&hashes), "24 verified, and every user's made anew at least once: {hashes}");
    sound(&gate);
}

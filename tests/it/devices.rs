//! Devices: known again by their token, bounded, and forgotten.

use crate::support::{
    Disk, OTHER, PASSWORD, World, all, everything, is_live, log_in, refused, sound, user, world,
};
use portcullis::testing::FaultPoint;
use portcullis::{
    AuditKind, Client, Credentials, Device, DeviceId, ErrorKind, HistoryPolicy, Login, Portcullis, UserId,
};
use std::collections::BTreeSet;
use std::time::Duration;

const DAY: u64 = 86_400;

fn from(gate: &Portcullis, login: &str, client: &Client) -> Login {
    gate.login(&Credentials::password(login, PASSWORD), client).unwrap()
}

fn devices(gate: &Portcullis, user: UserId) -> Vec<Device> {
    all(|page| gate.devices().of_user(user, page))
}

/// A user who has logged in once, and the token of that device.
fn known(world: &World) -> (UserId, String, DeviceId) {
    let ada = world.user("ada").id;
    let client = Client::new().device("laptop").ip([192, 0, 2, 7].into());
    let login = from(&world.gate, "ada", &client);
    (ada, login.device_token().unwrap().as_str().to_owned(), login.session().device.unwrap())
}

#[test]
fn a_device_is_known_again_by_its_token_and_by_nothing_else() {
    let world = world();
    let (ada, token, first) = known(&world);
    world.after(60);
    let login = from(&world.gate, "ada", &Client::new().ip([198, 51, 100, 1].into()).device_token(&token));
    assert!(login.device_token().is_none());
    assert_eq!(login.session().device, Some(first));
    let device = world.gate.devices().get(ada, first).unwrap();
    assert_eq!((device.name.as_str(), device.logins), ("laptop", 2));
    assert_eq!(device.last_seen.since(device.first_seen), Duration::from_secs(60));
    assert_eq!(device.last_network.unwrap().to_string(), "198.51.100.0/24");

    // The same name and address without the token; every wrong token; the token of somebody else.
    world.user("bob");
    let bobs = from(&world.gate, "bob", &Client::new());
    let mut flipped = token.clone().into_bytes();
    let last = flipped.len() - 4;
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    let wrong = [
        String::new(),
        String::from_utf8(flipped).unwrap(),
        token.replace("pcd_", "pcs_"),
        login.token().as_str().to_owned(),
        bobs.device_token().unwrap().as_str().to_owned(),
        "x".repeat(1 << 20),
    ];
    for (number, text) in wrong.iter().enumerate() {
        let client = Client::new().device("laptop").ip([192, 0, 2, 7].into()).device_token(text);
        let login = from(&world.gate, "ada", &client);
        assert!(login.device_token().is_some_and(|fresh| fresh.as_str() != token), "{number}");
        assert_eq!(devices(&world.gate, ada).len(), number + 2);
    }
    assert_eq!(devices(&world.gate, login.user()).len(), wrong.len() + 1);
    sound(&world.gate);
}

#[test]
fn a_device_is_made_by_a_complete_login_only() {
    let world = world();
    let ada = world.user("ada").id;
    log_in(&world.gate, "ada", OTHER).unwrap_err();
    assert!(devices(&world.gate, ada).is_empty());
    let (_, token, _) = known_as(&world, ada);
    let before = devices(&world.gate, ada);
    let wrong = Credentials::password("ada", OTHER);
    world.gate.login(&wrong, &Client::new().device_token(&token)).unwrap_err();
    assert_eq!(devices(&world.gate, ada), before, "a refusal does not count as seen");
}

fn known_as(world: &World, ada: UserId) -> (UserId, String, DeviceId) {
    let login = from(&world.gate, "ada", &Client::new());
    (ada, login.device_token().unwrap().as_str().to_owned(), login.session().device.unwrap())
}

#[test]
fn nothing_shows_the_token_and_clients_compare_without_it() {
    let world = world();
    let (_, token, _) = known(&world);
    let (with, without) = (Client::new().device("d").device_token(&token), Client::new().device("d"));
    assert_eq!(with, without);
    assert_ne!(with, Client::new());
    let login = from(&world.gate, "ada", &Client::new());
    let secret = &token[20..40];
    assert!(!format!("{with:?} {login:?}").contains(secret));
    assert!(!format!("{:?}", login.device_token()).contains(&login.device_token().unwrap().as_str()[20..40]));
    assert!(everything(&world.gate).iter().all(|line| !line.contains(secret)));
}

#[test]
fn a_device_that_was_forgotten_or_not_seen_for_long_is_a_new_one() {
    let world = world();
    let (ada, token, first) = known(&world);
    let client = Client::new().device_token(&token);
    world.after(90 * DAY);
    assert_eq!(from(&world.gate, "ada", &client).session().device, Some(first), "to the last second");
    world.after(90 * DAY + 1);
    let login = from(&world.gate, "ada", &client);
    assert_ne!(login.session().device, Some(first));
    let fresh = Client::new().device_token(login.device_token().unwrap());
    world.gate.devices().forget(ada, login.session().device.unwrap()).unwrap();
    assert!(is_live(&world.gate, login.token().as_str()), "its sessions stay");
    assert!(from(&world.gate, "ada", &fresh).device_token().is_some());
    assert!(world.gate.devices().forget_all(ada).unwrap() > 0);
    assert!(devices(&world.gate, ada).is_empty());
    let before = everything(&world.gate);
    assert_eq!(world.gate.devices().forget_all(ada).unwrap(), 0);
    assert_eq!(everything(&world.gate), before);
}

#[test]
fn revoking_a_device_ends_its_sessions_however_many_and_no_others() {
    let world = world();
    let (ada, token, first) = known(&world);
    let client = Client::new().device_token(&token);
    let mine: Vec<Login> = (0..100).map(|_| from(&world.gate, "ada", &client)).collect();
    let other = from(&world.gate, "ada", &Client::new());
    world.user("bob");
    let bobs = from(&world.gate, "bob", &client);
    world.gate.devices().revoke(ada, first).unwrap();
    assert!(mine.iter().all(|login| !is_live(&world.gate, login.token().as_str())));
    assert!(is_live(&world.gate, other.token().as_str()) && is_live(&world.gate, bobs.token().as_str()));
    assert_ne!(from(&world.gate, "ada", &client).session().device, Some(first));
    refused(world.gate.devices().revoke(ada, first), ErrorKind::NotFound, Some("device"));
    refused(world.gate.devices().forget(ada, first), ErrorKind::NotFound, Some("device"));
    refused(world.gate.devices().rename(ada, first, "x"), ErrorKind::NotFound, Some("device"));
    refused(world.gate.devices().get(ada, first), ErrorKind::NotFound, Some("device"));
    let kinds = [AuditKind::DeviceRevoked, AuditKind::SessionsRevoked];
    let written = kinds.map(|kind| all(|page| world.gate.audit().by_kind(kind, page)).len());
    assert_eq!(written, [1, 3], "101 sessions, 32 to a commit");
    sound(&world.gate);
}

#[test]
fn a_name_can_be_changed_and_a_login_does_not_change_it_back() {
    let world = world();
    let (ada, token, first) = known(&world);
    assert_eq!(world.gate.devices().rename(ada, first, "old laptop").unwrap().name, "old laptop");
    from(&world.gate, "ada", &Client::new().device("laptop").device_token(&token));
    assert_eq!(world.gate.devices().get(ada, first).unwrap().name, "old laptop");
    for bad in ["x".repeat(129), "a\nb".to_owned(), "\u{202e}".to_owned()] {
        refused(world.gate.devices().rename(ada, first, &bad), ErrorKind::InvalidInput, Some("device.name"));
    }
    assert_eq!(world.gate.devices().rename(ada, first, "").unwrap().name, "");
}

#[test]
fn one_user_has_so_many_devices_and_a_client_without_a_token_pushes_out_none_that_came_back() {
    let world = world();
    let (ada, token, first) = known(&world);
    let client = Client::new().device_token(&token);
    from(&world.gate, "ada", &client);
    for _ in 0..100 {
        world.after(60);
        from(&world.gate, "ada", &Client::new());
    }
    assert_eq!(devices(&world.gate, ada).len(), 32);
    assert_eq!(from(&world.gate, "ada", &client).session().device, Some(first));
    // Of those that came once the oldest has gone; where all came back, the one seen longest ago.
    let mut tokens = Vec::new();
    for _ in 0..40 {
        world.after(60);
        let login = from(&world.gate, "ada", &Client::new());
        tokens.push(login.device_token().unwrap().as_str().to_owned());
        from(&world.gate, "ada", &Client::new().device_token(tokens.last().unwrap()));
    }
    let known = |token: &String| {
        let login = from(&world.gate, "ada", &Client::new().device_token(token));
        let known = login.device_token().is_none();
        if !known {
            world.gate.devices().forget(ada, login.session().device.unwrap()).unwrap();
        }
        known
    };
    // From the newest on: a token that is not known makes a device, which pushes out another one.
    let found: Vec<bool> = tokens.iter().rev().map(known).collect();
    assert!(found[..32].iter().all(|known| *known) && found[32..].iter().all(|known| !known));
    assert!(!known(&token));
}

#[test]
fn no_devices_at_all_where_the_policy_says_so() {
    let disk = Disk::new();
    let gate = disk.open_with(|builder| builder.history(HistoryPolicy::new().devices(0))).unwrap();
    let ada = user(&gate, "ada").id;
    let login = from(&gate, "ada", &Client::new().device("laptop"));
    assert!(login.device_token().is_none() && login.session().device.is_none());
    assert!(devices(&gate, ada).is_empty());
    for (field, policy) in [
        ("history.devices", HistoryPolicy::new().devices(65)),
        ("history.keep", HistoryPolicy::new().keep(Duration::from_secs(DAY - 1))),
        ("history.keep", HistoryPolicy::new().keep(Duration::from_secs(3651 * DAY))),
        ("history.network_prefixes", HistoryPolicy::new().network_prefixes(33, 48)),
        ("history.network_prefixes", HistoryPolicy::new().network_prefixes(24, 129)),
    ] {
        let built = Portcullis::builder().history(policy).in_memory();
        refused(built.map(drop), ErrorKind::InvalidInput, Some(field));
    }
}

#[test]
fn a_device_is_still_known_after_a_reopening_and_goes_with_its_user() {
    let disk = Disk::new();
    let gate = disk.open();
    let ada = user(&gate, "ada").id;
    let login = from(&gate, "ada", &Client::new());
    let client = Client::new().device_token(login.device_token().unwrap());
    gate.close().unwrap();
    let gate = disk.open();
    assert_eq!(from(&gate, "ada", &client).session().device, login.session().device);
    gate.users().delete(ada).unwrap();
    refused(
        gate.devices().of_user(ada, &portcullis::PageRequest::default()),
        ErrorKind::NotFound,
        Some("user"),
    );
    assert!(portcullis::testing::dump(&gate).unwrap().iter().all(|row| row.table != "device"));
    sound(&gate);
}

#[test]
fn a_login_whose_commit_fails_leaves_no_device() {
    for again in [false, true] {
        let disk = Disk::new();
        let gate = disk.open();
        let ada = user(&gate, "ada").id;
        let first = from(&gate, "ada", &Client::new());
        let before = devices(&gate, ada);
        let client = match again {
            true => Client::new().device_token(first.device_token().unwrap()),
            false => Client::new(),
        };
        disk.faults.fail(FaultPoint::JournalWrite, 1);
        assert!(gate.login(&Credentials::password("ada", PASSWORD), &client).is_err());
        drop(gate);
        let gate = disk.open();
        assert_eq!(devices(&gate, ada), before);
        assert_eq!(all(|page| gate.sessions().of_user(ada, page)).len(), 1);
        sound(&gate);
    }
}

#[test]
fn a_device_that_is_revoked_during_logins_from_it_keeps_no_session() {
    for _ in 0..20 {
        let world = world();
        let (ada, token, first) = known(&world);
        let gate = &world.gate;
        let client = Client::new().device_token(&token);
        let logins: Vec<Login> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| from(gate, "ada", &client))).collect();
            scope.spawn(|| gate.devices().revoke(ada, first).unwrap());
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for login in logins {
            let live = is_live(gate, login.token().as_str());
            assert_eq!(live, login.session().device != Some(first), "{:?}", login.session());
        }
        let names: BTreeSet<DeviceId> = devices(gate, ada).into_iter().map(|device| device.id).collect();
        assert!(!names.contains(&first));
        sound(gate);
    }
}

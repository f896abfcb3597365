//! Who may open which path.

use super::super::journal;
use super::*;
use parking_lot::Mutex;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Barrier;
use std::thread;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn assert_private(directory: &Path) {
    assert_eq!(mode(directory), 0o700);
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
}

#[test]
fn files_are_private_whatever_the_umask() {
    /// The umask is one for the process; what other tests make meanwhile is fine with both values.
    static UMASK: Mutex<()> = Mutex::new(());
    let _alone = UMASK.lock();
    for umask in [0o000, 0o077] {
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
        let place = Place::new();
        let store = open(&place.path()).unwrap();
        for n in 1..40 {
            commit(&store, n).unwrap();
        }
        assert_private(&place.path());
        drop(store);
        set_mode(&place.path().join("db"), 0o644);
        let store = open(&place.path()).unwrap();
        assert_private(&place.path());
        store.close().unwrap();
        assert_private(&place.path());
        rustix::process::umask(before);
    }
}

#[test]
fn unsafe_paths_are_refused_and_left_alone() {
    let place = Place::new();
    let refused_at = |path: &Path, word: &str| {
        let (kind, message) = refused(path);
        assert_eq!(kind, ErrorKind::UnsafePath, "{message}");
        assert!(message.contains(word), "{message}");
    };
    drop(open(&place.path()).unwrap());
    symlink(place.path(), place.at("link")).unwrap();
    refused_at(&place.at("link"), "symbolic link");
    refused_at(&place.at("link/"), "symbolic link");
    refused_at(&place.at("link/."), "symbolic link");
    symlink(place.at("nowhere"), place.at("dangling")).unwrap();
    refused_at(&place.at("dangling"), "symbolic link");

    fs::write(place.at("file"), "text").unwrap();
    refused_at(&place.at("file"), "not a directory");

    let foreign = place.at("foreign");
    fs::create_dir(&foreign).unwrap();
    set_mode(&foreign, 0o700);
    fs::write(foreign.join("lock"), "of another program").unwrap();
    refused_at(&foreign, "not a portcullis database");
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);

    for open_to in [0o710, 0o701, 0o770] {
        set_mode(&place.path(), open_to);
        refused_at(&place.path(), "chmod 700");
        assert_eq!(mode(&place.path()), open_to);
    }
    set_mode(&place.path(), 0o700);

    fs::rename(place.path().join("blobs"), place.at("blobs")).unwrap();
    symlink(place.at("blobs"), place.path().join("blobs")).unwrap();
    refused_at(&place.path(), "symbolic link");
    refused_at(Path::new("/"), "");
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    drop(open(&place.path()).unwrap());
    std::os::unix::fs::chown(place.path(), Some(65534), None).unwrap();
    let (kind, message) = refused(&place.path());
    assert_eq!(kind, ErrorKind::UnsafePath);
    assert!(message.contains("user 65534"), "{message}");
}

#[test]
fn a_new_database_needs_a_parent_and_takes_an_empty_directory() {
    let place = Place::new();
    let (kind, message) = refused(&place.at("missing/auth.db"));
    assert_eq!(kind, ErrorKind::Storage);
    assert!(message.contains("missing does not exist"), "{message}");

    fs::create_dir(place.path()).unwrap();
    set_mode(&place.path(), 0o700);
    assert_eq!(operations(&open(&place.path()).unwrap()), 0);
    let names: Vec<_> =
        fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["auth.db"], "nothing is left of the creation");
}

#[test]
fn one_handle_at_a_time() {
    let place = Place::new();
    let store = open(&place.path()).unwrap();
    commit(&store, 1).unwrap();
    for _ in 0..3 {
        assert_eq!(refused(&place.path()).0, ErrorKind::Locked);
    }
    commit(&store, 2).unwrap();
    store.close().unwrap();
    let second = open(&place.path()).unwrap();
    assert_eq!(operations(&second), 2);
    drop(store);
    assert_eq!(refused(&place.path()).0, ErrorKind::Locked, "a closed handle takes nothing along");
    drop(second);
    assert_eq!(operations(&open(&place.path()).unwrap()), 2);
}

#[test]
fn of_many_creators_one_wins_and_the_others_find_it_locked() {
    const CREATORS: usize = 6;
    let place = Place::new();
    let start = Barrier::new(CREATORS);
    let opened = thread::scope(|scope| {
        let attempts: Vec<_> = (0..CREATORS)
            .map(|_| {
                let (start, path) = (&start, place.path());
                scope.spawn(move || {
                    start.wait();
                    open(&path)
                })
            })
            .collect();
        attempts.into_iter().map(|attempt| attempt.join().unwrap()).collect::<Vec<_>>()
    });
    let mut winners = 0;
    for attempt in &opened {
        match attempt {
            Ok(_) => winners += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Locked, "{error}"),
        }
    }
    assert_eq!(winners, 1);
    drop(opened);
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 1);
    assert_eq!(operations(&open(&place.path()).unwrap()), 0);
}

#[test]
fn what_crashed_creations_left_is_removed_unless_one_is_under_way() {
    let place = Place::new();
    drop(open(&place.path()).unwrap());
    for name in ["auth.db.creating-1", "auth.db.creating-2", "other.creating-1"] {
        fs::create_dir(place.at(name)).unwrap();
        set_mode(&place.at(name), 0o700);
        fs::write(place.at(name).join("db"), "half").unwrap();
        fs::copy(place.path().join("lock"), place.at(name).join("lock")).unwrap();
    }
    fs::remove_dir_all(place.path()).unwrap();
    let held = fs::File::open(place.at("auth.db.creating-2/lock")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    drop(open(&place.path()).unwrap());
    let left =
        ["auth.db.creating-1", "auth.db.creating-2", "other.creating-1"].map(|name| place.at(name).exists());
    assert_eq!(left, [false, true, true]);
}

#[test]
fn a_half_written_snapshot_does_not_keep_the_database_shut() {
    let place = Place::new();
    let store = open(&place.path()).unwrap();
    commit(&store, 1).unwrap();
    store.close().unwrap();
    let half = place.path().join("snap.00000000DEADBEEF.generating");
    fs::write(&half, "half").unwrap();
    assert_eq!(operations(&open(&place.path()).unwrap()), 1);
    assert!(!half.exists());
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let place = Place::new();
    drop(open(&place.path()).unwrap());
    let newer = place.copy("newer_journal");
    edit(&newer.join("journal"), |bytes| journal::raise_format(bytes));
    let (kind, message) = refused(&newer);
    assert_eq!(kind, ErrorKind::NewerFormat);
    assert!(message.contains("format 2") && message.contains("up to 1"), "{message}");

    edit_tables(&place.path(), |db| {
        let meta = db.open_tree("meta").unwrap();
        let mut state = meta.get("state").unwrap().unwrap().to_vec();
        state[3] = 9;
        meta.insert("state", state).unwrap();
    });
    let (kind, message) = refused(&place.path());
    assert_eq!(kind, ErrorKind::NewerFormat);
    assert!(message.contains("format 9") && message.contains("up to 1"), "{message}");
}

#[test]
fn tables_without_their_state_or_with_a_short_row_are_damaged() {
    let place = Place::new();
    let store = open(&place.path()).unwrap();
    commit(&store, 1).unwrap();
    store.close().unwrap();
    edit_tables(&place.path(), |db| {
        db.open_tree("a").unwrap().insert(1_u64.to_be_bytes(), "short").unwrap();
    });
    let store = open(&place.path()).unwrap();
    assert_eq!(store.get(A, &1_u64.to_be_bytes()).unwrap_err().kind(), ErrorKind::Damaged);
    assert_eq!(store.get(B, b"any").unwrap_err().kind(), ErrorKind::Stopped);
    drop(store);
    edit_tables(&place.path(), |db| {
        db.open_tree("meta").unwrap().remove("state").unwrap();
    });
    assert_eq!(refused(&place.path()).0, ErrorKind::Damaged);
}

/// Changes the tables behind the store's back.
fn edit_tables(path: &Path, change: impl FnOnce(&sled::Db)) {
    let db = loop {
        match sled::open(path) {
            Ok(db) => break db,
            // A handle that was closed just now.
            Err(sled::Error::Io(_)) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    change(&db);
    db.flush().unwrap();
}

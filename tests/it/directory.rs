//! The directory of a database: what is opened, and what is refused with a word on why.

use crate::support::{Disk, PASSWORD, all, is_live, log_in, refused, sound, user};
use portcullis::testing::FaultPoint;
use portcullis::{ErrorKind, NewUser, Portcullis};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A closed database with some content.
fn database() -> Disk {
    let disk = Disk::new();
    let gate = disk.open();
    for number in 0..20 {
        user(&gate, &format!("user{number}"));
    }
    let read = gate.permissions().define("read").unwrap();
    gate.roles().create("reader", [read]).unwrap();
    gate.close().unwrap();
    disk
}

fn files(root: &Path) -> Vec<PathBuf> {
    let (mut open, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_second_handle_is_refused_until_the_first_is_gone() {
    let disk = database();
    let gate = disk.open();
    refused(disk.try_open().map(drop), ErrorKind::Locked, None);
    let clone = gate.clone();
    drop(gate);
    refused(disk.try_open().map(drop), ErrorKind::Locked, None);
    assert!(clone.users().find("user1").unwrap().is_some(), "the first handle is not disturbed");
    drop(clone);
    let gate = disk.open();
    gate.close().unwrap();
    let again = disk.open();
    refused(gate.users().find("user1"), ErrorKind::Stopped, None);
    drop(gate);
    assert!(again.users().find("user1").unwrap().is_some(), "a closed handle takes nothing with it");
}

#[test]
fn nobody_else_can_enter_or_read() {
    let disk = database();
    let gate = disk.open();
    user(&gate, "newest");
    assert_eq!(mode(&disk.path), 0o700);
    for file in files(&disk.path) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    gate.close().unwrap();
    fs::set_permissions(disk.path.join("journal"), Permissions::from_mode(0o644)).unwrap();
    drop(disk.open());
    assert_eq!(mode(&disk.path.join("journal")), 0o600, "tightened again");
    for open in [0o755, 0o750, 0o701, 0o777] {
        fs::set_permissions(&disk.path, Permissions::from_mode(open)).unwrap();
        let error = refused(disk.try_open().map(drop), ErrorKind::UnsafePath, None);
        assert!(error.to_string().contains("chmod 700"), "{error}");
    }
    fs::set_permissions(&disk.path, Permissions::from_mode(0o700)).unwrap();
    sound(&disk.open());
}

#[test]
fn links_and_foreign_paths_are_refused_and_left_alone() {
    let disk = database();
    let at = |name: &str| disk.directory.path().join(name);
    symlink(&disk.path, at("link")).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    fs::write(at("file"), "not a database").unwrap();
    fs::create_dir(at("foreign")).unwrap();
    fs::set_permissions(at("foreign"), Permissions::from_mode(0o700)).unwrap();
    fs::write(at("foreign").join("notes.txt"), "mine").unwrap();
    for name in ["link", "dangling", "file", "foreign"] {
        refused(Portcullis::open(at(name)).map(drop), ErrorKind::UnsafePath, None);
    }
    assert_eq!(files(&at("foreign")), [at("foreign").join("notes.txt")]);
    assert!(!at("nowhere").exists());
    refused(Portcullis::open(at("missing").join("auth.db")).map(drop), ErrorKind::Storage, None);
    // A link inside the directory would lead writes elsewhere.
    let journal = disk.path.join("journal");
    fs::rename(&journal, at("elsewhere")).unwrap();
    symlink(at("elsewhere"), &journal).unwrap();
    let inside = refused(disk.try_open().map(drop), ErrorKind::UnsafePath, None);
    assert!(inside.to_string().contains("symbolic link"), "{inside}");
}

#[test]
fn an_empty_directory_becomes_a_database() {
    let disk = Disk::new();
    fs::create_dir(&disk.path).unwrap();
    fs::set_permissions(&disk.path, Permissions::from_mode(0o700)).unwrap();
    user(&disk.open(), "ada");
    assert!(disk.open().users().find("ada").unwrap().is_some());
}

/// Opens a damaged copy. It may be refused with a storage error; if not, nothing that was acknowledged may be missing.
fn open_damaged(disk: &Disk, what: &str) -> bool {
    match disk.try_open() {
        Ok(gate) => {
            assert_eq!(all(|page| gate.users().list(page)).len(), 20, "{what}: opened with users missing");
            assert!(gate.roles().find("reader").unwrap().is_some(), "{what}");
            sound(&gate);
            gate.close().unwrap();
            true
        }
        Err(error) => {
            assert!(error.is_storage() && !error.is_denied(), "{what}: {error:?}");
            assert!(error.to_string().len() > 20, "{what}: {error}");
            false
        }
    }
}

#[test]
fn damaged_files_are_told_and_nothing_is_lost_in_silence() {
    let disk = database();
    let backup = disk.directory.path().join("backup");
    copy(&disk.path, &backup);
    let restore = || {
        fs::remove_dir_all(&disk.path).unwrap();
        copy(&backup, &disk.path);
    };
    let mut refusals = 0;
    for file in files(&backup) {
        let name = file.strip_prefix(&backup).unwrap().to_owned();
        let whole = fs::read(&file).unwrap();
        let target = disk.path.join(&name);
        let mut damages: Vec<(String, Vec<u8>)> = vec![
            ("emptied".to_owned(), Vec::new()),
            ("cut by one byte".to_owned(), whole[..whole.len().saturating_sub(1)].to_vec()),
            ("cut in half".to_owned(), whole[..whole.len() / 2].to_vec()),
            ("overwritten".to_owned(), vec![0xA5; whole.len().min(8192)]),
        ];
        // Single flipped bits, where there is something: beginnings, and spread over the file.
        let places =
            (0..whole.len().min(64)).step_by(16).chain((64..whole.len()).step_by(whole.len() / 6 + 1));
        for place in places {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x10;
            damages.push((format!("bit flipped in byte {place}"), bytes));
        }
        for (what, bytes) in damages {
            fs::write(&target, bytes).unwrap();
            refusals += usize::from(!open_damaged(&disk, &format!("{} {what}", name.display())));
            restore();
        }
        fs::remove_file(&target).unwrap();
        refusals += usize::from(!open_damaged(&disk, &format!("{} removed", name.display())));
        restore();
    }
    assert!(refusals >= 8, "only {refusals} damages were noticed");
    assert!(open_damaged(&disk, "the untouched copy"));
}

#[test]
fn an_older_copy_of_a_part_is_noticed() {
    let disk = database();
    let older = disk.directory.path().join("older");
    copy(&disk.path, &older);
    let gate = disk.open();
    for number in 20..40 {
        user(&gate, &format!("user{number}"));
    }
    gate.close().unwrap();
    let newer = disk.directory.path().join("newer");
    copy(&disk.path, &newer);
    for part in [["journal"].as_slice(), &["db"], &["db", "snapshots"]] {
        fs::remove_dir_all(&disk.path).unwrap();
        copy(&newer, &disk.path);
        let mut put_back = 0;
        for file in files(&older) {
            let name = file.strip_prefix(&older).unwrap();
            let text = name.to_string_lossy();
            if part.iter().any(|part| text.starts_with(part)) || part.len() > 1 && text.starts_with("snap") {
                fs::copy(&file, disk.path.join(name)).unwrap();
                put_back += 1;
            }
        }
        assert!(put_back > 0, "{part:?}");
        let error = refused(disk.try_open().map(drop), ErrorKind::Damaged, None);
        assert!(error.to_string().contains("restore"), "{error}");
    }
    fs::remove_dir_all(&disk.path).unwrap();
    copy(&newer, &disk.path);
    assert_eq!(all(|page| disk.open().users().list(page)).len(), 40);
}

#[test]
fn parts_of_two_databases_do_not_mix() {
    let (one, two) = (database(), database());
    fs::copy(two.path.join("journal"), one.path.join("journal")).unwrap();
    refused(one.try_open().map(drop), ErrorKind::Damaged, None);
}

#[test]
fn of_threads_that_make_one_database_all_find_the_same() {
    for _ in 0..8 {
        let disk = Disk::new();
        let barrier = std::sync::Barrier::new(4);
        let opened: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    let (disk, barrier) = (&disk, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        match disk.try_open() {
                            Ok(gate) => {
                                gate.users().create(NewUser::new(format!("u{thread}"))).unwrap();
                                gate.close().unwrap();
                                1
                            }
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::Locked, "{error:?}");
                                0
                            }
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!(opened >= 1);
        let gate = disk.open();
        assert_eq!(all(|page| gate.users().list(page)).len(), opened);
        sound(&gate);
        let left: Vec<_> =
            fs::read_dir(disk.directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["auth.db"], "nothing of the lost races is left");
    }
}

#[test]
fn a_failed_write_stops_the_handle_and_no_check_allows_anything() {
    for point in [FaultPoint::JournalWrite, FaultPoint::JournalSync, FaultPoint::Apply] {
        let disk = Disk::new();
        let gate = disk.open();
        let ada = user(&gate, "ada");
        let read = gate.permissions().define("read").unwrap();
        let role = gate.roles().create("reader", [read]).unwrap();
        gate.roles().assign(ada.id, role).unwrap();
        let login = log_in(&gate, "ada", PASSWORD).unwrap();
        let who = gate.authenticate(login.token()).unwrap();
        assert!(who.can(read));
        disk.faults.fail(point, 1);
        let error = gate.users().create(NewUser::new("bob")).unwrap_err();
        assert!(error.is_storage(), "{point:?}: {error:?}");
        assert!(!disk.faults.pending());
        assert!(!who.can(read));
        for result in [
            gate.authenticate(login.token()).map(drop),
            gate.check(ada.id, read).map(drop),
            gate.users().find("ada").map(drop),
            gate.users().create(NewUser::new("eve")).map(drop),
        ] {
            refused(result, ErrorKind::Stopped, None);
        }
        let _ = gate.close();
        drop(gate);
        let gate = disk.open();
        assert!(is_live(&gate, login.token().as_str()) && gate.check(ada.id, read).unwrap().is_allowed());
        let bob = gate.users().find("bob").unwrap().is_some();
        let outcome_known = error.kind() != ErrorKind::OutcomeUnknown;
        assert!(!(bob && outcome_known && point == FaultPoint::JournalWrite), "{point:?}: {error:?}");
        assert!(gate.users().find("eve").unwrap().is_none());
        sound(&gate);
    }
}

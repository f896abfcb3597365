//! The directory of a database: ours alone, locked by one handle, made whole or not at all.

use crate::error::{Error, ErrorKind, Result};
use crate::secret::{SystemEntropy, random};
use rustix::fs::{FlockOperation, OFlags};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What the lock file says, so that the directory can be told from a foreign one.
const MARK: &[u8] = b"portcullis database; do not remove this file\n";
const LOCK: &str = "lock";
pub(super) const JOURNAL: &str = "journal";
pub(super) const TABLES: &str = "db";
const SETTINGS: &str = "conf";
const CREATING: &str = ".creating-";
/// How often a lost race for a path is run again before giving up.
const ATTEMPTS: usize = 8;

/// A database directory that this handle holds the lock of.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Released when it is closed; the last thing to go.
    _lock: File,
}

fn unsafe_path(path: &Path, message: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::UnsafePath, format!("{} {message}", path.display()))
}

pub(super) fn storage(what: &str, path: &Path, cause: io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("could not {what} {} ({cause})", path.display())).caused_by(cause)
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    // Never follow a link that somebody put in the place of one of our files.
    let no_follow = i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits()).unwrap_or_default();
    options.read(true).write(true).mode(0o600).custom_flags(no_follow);
    options
}

/// Waits for nobody: `None` where another handle has the lock.
fn lock(file: File) -> io::Result<Option<File>> {
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn set_mode(path: &Path, found: &Metadata, mode: u32) -> Result<()> {
    if found.permissions().mode() & 0o7777 == mode {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|error| storage("restrict the permissions of", path, error))
}

fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| storage("sync", path, error))
}

/// Refuses an existing path that is not a directory of the caller's own which nobody else may enter.
fn check_directory(path: &Path, found: &Metadata) -> Result<()> {
    if found.is_symlink() {
        return Err(unsafe_path(path, "is a symbolic link; name the directory itself"));
    }
    if !found.is_dir() {
        return Err(unsafe_path(path, "is not a directory; a portcullis database is one"));
    }
    let me = rustix::process::geteuid().as_raw();
    if found.uid() != me {
        return Err(unsafe_path(
            path,
            format!(
                "belongs to user {} and this process runs as user {me}; run it as the owner of the database",
                found.uid()
            ),
        ));
    }
    let mode = found.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(unsafe_path(
            path,
            format!(
                "is open to other users (mode {mode:04o}); run `chmod 700` on it if its content can be trusted"
            ),
        ));
    }
    Ok(())
}

fn is_marked(path: &Path) -> bool {
    let mut start = Vec::new();
    let lock = private_file().open(path.join(LOCK));
    lock.and_then(|file| file.take(MARK.len() as u64).read_to_end(&mut start)).is_ok() && start == MARK
}

/// Whether the lock file or the journal shows that portcullis made a directory.
fn is_ours(path: &Path) -> bool {
    is_marked(path) || super::journal::looks_like_one(&path.join(JOURNAL))
}

fn is_empty(path: &Path) -> Result<bool> {
    let mut entries = fs::read_dir(path).map_err(|error| storage("read the directory", path, error))?;
    Ok(entries.next().is_none())
}

/// Locks the database at a path; where there is none, `make` fills a new one first.
///
/// `make` gets a directory under a temporary name, with its lock held and empty otherwise. It must have closed all
/// files when it returns; the directory then gets its name in one step, so that a crash leaves all or nothing.
pub(super) fn open(path: &Path, make: impl Fn(&Directory) -> Result<()>) -> Result<Directory> {
    for _ in 0..ATTEMPTS {
        match fs::symlink_metadata(path) {
            Ok(found) => {
                check_directory(path, &found)?;
                if is_ours(path) {
                    if let Some(directory) = Directory::lock(path, &found)? {
                        directory.clean()?;
                        return Ok(directory);
                    }
                    continue;
                }
                if !is_empty(path)? {
                    return Err(unsafe_path(
                        path,
                        "holds files and is not a portcullis database; name another directory",
                    ));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(storage("look at", path, error)),
        }
        if let Some(directory) = create(path, &make)? {
            return Ok(directory);
        }
    }
    Err(Error::new(
        ErrorKind::Locked,
        format!("{} is being made or moved by others; try again", path.display()),
    ))
}

/// Makes a new database beside its place and moves it there. `None` where somebody else was faster.
fn create(path: &Path, make: &impl Fn(&Directory) -> Result<()>) -> Result<Option<Directory>> {
    let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
        return Err(unsafe_path(path, "has no name of its own; name a directory that can be made"));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    if !parent.is_dir() {
        return Err(Error::new(
            ErrorKind::Storage,
            format!(
                "the directory {} does not exist, and {} is to be made in it",
                parent.display(),
                path.display()
            ),
        ));
    }
    let mut prefix = name.to_os_string();
    prefix.push(CREATING);
    remove_abandoned(parent, &prefix)?;
    let mut temporary = prefix;
    let number = u64::from_be_bytes(*random::<8>(&SystemEntropy)?);
    temporary.push(format!("{number:016x}"));
    let temporary = parent.join(temporary);

    let made = fill(&temporary, make).and_then(|lock| match fs::rename(&temporary, path) {
        Ok(()) => sync(parent).map(|()| Some(Directory { path: path.to_owned(), _lock: lock })),
        Err(error) if lost_race(&error) => Ok(None),
        Err(error) => Err(storage("give its name to the new database", path, error)),
    });
    if !matches!(made, Ok(Some(_))) {
        // Best effort: what stays is removed by the next creation.
        let _ = fs::remove_dir_all(&temporary);
    }
    made
}

fn lost_race(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
    )
}

fn fill(path: &Path, make: &impl Fn(&Directory) -> Result<()>) -> Result<File> {
    DirBuilder::new().mode(0o700).create(path).map_err(|error| storage("make the directory", path, error))?;
    // The umask may have taken the owner's own rights away.
    fs::set_permissions(path, Permissions::from_mode(0o700))
        .map_err(|error| storage("restrict the permissions of", path, error))?;
    let opened = private_file().create_new(true).open(path.join(LOCK)).and_then(lock);
    let mut file =
        opened.map_err(|error| storage("make the lock file in", path, error))?.ok_or_else(|| {
            Error::new(ErrorKind::Locked, format!("somebody else locked {} as it was made", path.display()))
        })?;
    file.write_all(MARK).map_err(|error| storage("write the lock file in", path, error))?;
    let directory = Directory { path: path.to_owned(), _lock: file };
    make(&directory)?;
    directory.restrict()?;
    for entry in directory.entries()? {
        sync(&entry)?;
    }
    sync(path)?;
    Ok(directory._lock)
}

/// Removes what creations that crashed have left.
///
/// INVARIANT: a creation holds the lock before it marks it, so what is marked and can be locked is abandoned. One that
/// crashed before its mark leaves an empty directory, which is left alone: it may be one that has just begun.
fn remove_abandoned(parent: &Path, prefix: &OsStr) -> Result<()> {
    let listing = fs::read_dir(parent).map_err(|error| storage("read the directory", parent, error))?;
    for entry in listing.flatten() {
        let path = entry.path();
        let named = entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes());
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        if !named || check_directory(&path, &found).is_err() || !is_marked(&path) {
            continue;
        }
        let held = private_file().open(path.join(LOCK)).and_then(lock);
        if let Ok(Some(_held)) = held {
            let _ = fs::remove_dir_all(&path);
        }
    }
    Ok(())
}

impl Directory {
    /// `None` where the path came to name another directory meanwhile.
    fn lock(path: &Path, found: &Metadata) -> Result<Option<Self>> {
        let name = path.join(LOCK);
        let file = private_file()
            .create(true)
            .truncate(false)
            .open(&name)
            .map_err(|error| storage("open the lock file", &name, error))?;
        let Some(mut file) = lock(file).map_err(|error| storage("lock", &name, error))? else {
            return Err(Error::new(
                ErrorKind::Locked,
                format!(
                    "{} is open already, in this process or in another one; a database has one handle at a time",
                    path.display()
                ),
            ));
        };
        let now = fs::symlink_metadata(path).map_err(|error| storage("look at", path, error))?;
        if (now.dev(), now.ino()) != (found.dev(), found.ino()) {
            return Ok(None);
        }
        if file.metadata().is_ok_and(|lock| lock.len() == 0) {
            file.write_all(MARK).map_err(|error| storage("write the lock file", &name, error))?;
        }
        Ok(Some(Self { path: path.to_owned(), _lock: file }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn entries(&self) -> Result<Vec<PathBuf>> {
        let listing =
            fs::read_dir(&self.path).map_err(|error| storage("read the directory", &self.path, error))?;
        listing
            .map(|entry| Ok(entry.map_err(|error| storage("read the directory", &self.path, error))?.path()))
            .collect()
    }

    /// Removes a snapshot that a crash cut short, which would keep sled from opening.
    fn clean(&self) -> Result<()> {
        for entry in self.entries()? {
            let name = entry.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
            if name.starts_with(b"snap.") && name.ends_with(b".generating") {
                fs::remove_file(&entry).map_err(|error| storage("remove", &entry, error))?;
            }
        }
        self.restrict()
    }

    /// Files for the owner alone, whatever the umask is: sled makes some of its own.
    pub(super) fn restrict(&self) -> Result<()> {
        for entry in self.entries()? {
            let found = match fs::symlink_metadata(&entry) {
                Ok(found) => found,
                // sled replaces its snapshots when it likes.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(storage("look at", &entry, error)),
            };
            if found.is_symlink() {
                return Err(unsafe_path(&entry, "is a symbolic link, and a database has none inside"));
            }
            set_mode(&entry, &found, if found.is_dir() { 0o700 } else { 0o600 })?;
        }
        Ok(())
    }

    /// Opens the journal, and refuses a database that lacks a part: sled would silently make a new one.
    pub(super) fn open_journal(&self) -> Result<File> {
        for name in [JOURNAL, TABLES, SETTINGS] {
            let length = fs::symlink_metadata(self.path.join(name)).map_or(0, |found| found.len());
            if length == 0 {
                return Err(Error::damaged(format!(
                    "the file `{name}` of the database at {} is missing or empty; restore the database from a backup \
                     (nothing was changed)",
                    self.path.display()
                )));
            }
        }
        let path = self.path.join(JOURNAL);
        private_file().open(&path).map_err(|error| storage("open", &path, error))
    }

    pub(super) fn create_journal(&self) -> Result<File> {
        let path = self.path.join(JOURNAL);
        private_file().create_new(true).open(&path).map_err(|error| storage("make", &path, error))
    }
}

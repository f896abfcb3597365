//! The feed of what ends sessions and changes rights, in the order of the commits: for web sockets and caches above.

mod relay;
mod ring;

pub(super) use relay::Relay;

use super::{Builder, Portcullis};
use crate::clock::{Clock, Timestamp};
use crate::engine::ending::{Ending, Ends};
use crate::engine::timeline::Timeline;
use crate::engine::view::View;
use crate::error::{Error, Result};
use crate::id::{ApiKeyId, Flag, RoleId, ScopeId, SessionId, UserId};
use crate::permission::Permission;
use crate::secret::random;
use ring::{Place, Ring};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Entries that are kept by default.
pub(super) const CAPACITY: usize = 65_536;
/// More than one commit can have.
const LEAST: usize = 256;
const MOST: usize = 1 << 20;

/// One thing that a commit changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessChange {
    /// To resume after this entry, with [`Portcullis::changes_after`].
    pub position: ChangePosition,
    /// What changed.
    pub kind: AccessChangeKind,
}

/// What changed. Each kind names what to ask the engine again, and says nothing of the answer: by the time it is read there
/// may be a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AccessChangeKind {
    /// A session was ended.
    SessionEnded {
        /// Which.
        session: SessionId,
        /// Whose it was.
        user: UserId,
    },
    /// A session has other limits, other active roles or another token.
    SessionChanged {
        /// Which.
        session: SessionId,
        /// Whose it is.
        user: UserId,
    },
    /// The sessions that a user had were ended, perhaps all but the one in which that was asked for: ask of each of them
    /// that you hold.
    SessionsOfUserEnded {
        /// Whose.
        user: UserId,
    },
    /// An API key was revoked, or removed with its owner.
    ApiKeyEnded {
        /// Which.
        key: ApiKeyId,
        /// Whose it was.
        user: UserId,
    },
    /// An API key has other limits, or ends at another time.
    ApiKeyChanged {
        /// Which.
        key: ApiKeyId,
        /// Whose it is.
        user: UserId,
    },
    /// Every session of every user was ended.
    EverySessionEnded,
    /// A user may not log in any more: no session of theirs is accepted and no check allows them anything.
    UserRefused {
        /// Who.
        user: UserId,
        /// Until then, where it ends by itself, which makes no entry.
        until: Option<Timestamp>,
    },
    /// A user may log in, again or for the first time; sessions of theirs that were not ended are accepted.
    UserAdmitted {
        /// Who.
        user: UserId,
    },
    /// A user was deleted.
    UserDeleted {
        /// Who it was.
        user: UserId,
    },
    /// A user was given a role or a permission, or had one taken.
    RightsOfUser {
        /// Who.
        user: UserId,
        /// Where: it counts there and in all that lies there; [`ScopeId::ROOT`] is everywhere.
        scope: ScopeId,
    },
    /// A role was created, changed or deleted: it concerns all who hold it, or a role that inherits from it.
    RoleChanged {
        /// Which.
        role: RoleId,
    },
    /// A scope was created, moved, renamed or deleted: it concerns checks there and in all that lies there.
    ScopeChanged {
        /// Which.
        scope: ScopeId,
    },
    /// A permission was defined, described anew or deleted.
    PermissionChanged {
        /// Which.
        permission: Permission,
    },
    /// A feature flag or a rule of it was changed.
    FlagChanged {
        /// Which.
        flag: Flag,
    },
    /// What changed can not be told, because the feed began in the middle of it: ask again for everything.
    Everything,
}

/// What a reader of the feed gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeedItem {
    /// Something changed.
    Change(AccessChange),
    /// Entries were missed: the reader was too slow, or resumed after a position that is not kept any more or is of an
    /// earlier open of the database. Ask again for everything that you hold; what comes next is newer than this.
    Lost,
}

/// A place in the feed of one open of the database, to [resume](Portcullis::changes_after) from.
///
/// It can be written down and read back as text. It tells nothing but how many entries there were.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChangePosition {
    /// Random, for each open: a position of an earlier one is recognised and never taken for one of this.
    instance: u64,
    /// The number of entries before it.
    number: u64,
}

impl fmt::Display for ChangePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.instance, self.number)
    }
}

impl fmt::Debug for ChangePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChangePosition({self})")
    }
}

impl FromStr for ChangePosition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = |(instance, number): (&str, &str)| {
            let position =
                Self { instance: u64::from_str_radix(instance, 16).ok()?, number: number.parse().ok()? };
            // One text for each position.
            (position.to_string() == text).then_some(position)
        };
        text.split_once('-')
            .and_then(read)
            .ok_or_else(|| Error::invalid("position", "is not the text of a position in the feed of changes"))
    }
}

/// A reader of the feed, from [`Portcullis::changes`].
///
/// It is an iterator that waits for the next entry, and ends when the database is closed, stops or goes with its last handle,
/// and everything was read. It does not keep the database open.
#[derive(Clone)]
pub struct ChangeFeed {
    ring: Arc<Ring>,
    place: Place,
}

impl ChangeFeed {
    /// Where the reader stands: after the entry that it had last.
    #[must_use]
    pub const fn position(&self) -> ChangePosition {
        self.place.at
    }

    /// The next one that is there already.
    pub fn try_next(&mut self) -> Option<FeedItem> {
        self.ring.try_next(&mut self.place)
    }

    /// The next one, for which it waits so long at most.
    pub fn next_timeout(&mut self, patience: Duration) -> Option<FeedItem> {
        self.ring.next_timeout(&mut self.place, patience)
    }

    /// Whether there is nothing more to read and never will be, because the database was closed or has stopped.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ring.is_over(self.place)
    }
}

impl Iterator for ChangeFeed {
    type Item = FeedItem;

    fn next(&mut self) -> Option<FeedItem> {
        self.ring.next(&mut self.place)
    }
}

impl fmt::Debug for ChangeFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeFeed")
            .field("position", &self.place.at)
            .field("lost", &self.place.lost)
            .finish_non_exhaustive()
    }
}

/// The engine's end of the feed.
pub(super) struct Feed(Arc<Ring>);

impl Feed {
    pub(super) fn new(capacity: usize, ending: &Ending) -> Result<Self> {
        match capacity {
            LEAST..=MOST => {
                let ring = Arc::new(Ring::new(capacity));
                let told: Arc<dyn Ends> = Arc::<Ring>::clone(&ring);
                ending.tell(&told);
                Ok(Self(ring))
            }
            _ => {
                let message = format!("is {capacity}; {LEAST} to {MOST} entries can be kept");
                Err(Error::invalid("change_feed", message))
            }
        }
    }

    /// What stands between the store and the view.
    pub(super) fn relay(
        &self,
        view: &Arc<View>,
        clock: &Arc<dyn Clock>,
        timeline: &Arc<Timeline>,
        ending: &Arc<Ending>,
    ) -> Relay {
        Relay {
            view: Arc::clone(view),
            ring: Arc::clone(&self.0),
            clock: Arc::clone(clock),
            timeline: Arc::clone(timeline),
            ending: Arc::clone(ending),
        }
    }
}

impl Builder {
    /// How many entries of the [feed of changes](Portcullis::changes) are kept for readers that are behind, or come back;
    /// 65,536 by default, 256 to 1,048,576. An entry takes some 40 bytes, and none is made before somebody reads the feed.
    pub fn change_feed(mut self, entries: usize) -> Self {
        self.feed = entries;
        self
    }
}

impl Portcullis {
    /// What ends sessions and changes rights from now on, so that a web socket can be closed at once and a cache of answers
    /// be kept right.
    ///
    /// - **Ordered**: entries come in the order of the commits, to every reader alike, and none before its change is in
    ///   force: who reads one and asks the engine gets the new state. It is there when the call that made the change
    ///   returns. A change that was refused or failed makes none.
    /// - **Complete**: whatever commit changes an answer that the engine gave before, an entry names it. There may be
    ///   entries that change no answer, as when a role is renamed. A commit that changes several things makes an entry for
    ///   each, in one go, and a reader that resumes between two of them goes on with the second.
    /// - **Bounded**: all readers share one ring of [so many entries](Builder::change_feed). A reader that is further behind
    ///   gets [`FeedItem::Lost`] and must ask anew for everything that it holds. No change waits for a reader.
    ///
    /// Read the state after this call, then the entries: what was changed in between is told again, and nothing is missed.
    ///
    /// What begins or ends **by itself makes no entry**: limits of sessions, locks and grants with an end, grants and flag
    /// rules with a beginning. For a session, [`Sessions::live_until`](crate::Sessions::live_until) and
    /// [`Principal::live_until`](crate::Principal::live_until) tell when to ask again; a cache of other answers must also
    /// keep none for longer than a timed grant may be believed beyond its end. There is no entry for a session that is
    /// opened, because nobody can have asked for it before. [Context rules](crate::ContextRule) are the application's own.
    ///
    /// Anybody may read it, also through a [delegated](Portcullis::delegated) handle, as anything else: it has numbers and no
    /// names.
    ///
    /// # Errors
    /// `Storage` where there is no randomness.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{AccessChangeKind, Client, Credentials, FeedItem, NewUser, Portcullis};
    /// let gate = Portcullis::in_memory()?;
    /// let ada = gate.users().create(NewUser::new("ada").password("correct horse battery staple"))?;
    /// let login = gate.login(&Credentials::password("ada", "correct horse battery staple"), &Client::new())?;
    /// let mut changes = gate.changes()?;
    /// gate.sessions().revoke(login.session().id)?;
    /// let Some(FeedItem::Change(change)) = changes.try_next() else { panic!("a change") };
    /// assert_eq!(change.kind, AccessChangeKind::SessionEnded { session: login.session().id, user: ada.id });
    /// assert!(gate.authenticate(login.token()).is_err_and(|e| e.is_denied()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn changes(&self) -> Result<ChangeFeed> {
        let (ring, instance) = self.ring()?;
        let place = ring.start(instance);
        Ok(ChangeFeed { ring, place })
    }

    /// As [`changes`](Self::changes), from an earlier position on. Where entries after it are gone, or it is of an earlier
    /// open of the database, the first item is [`FeedItem::Lost`].
    ///
    /// # Errors
    /// As [`changes`](Self::changes).
    pub fn changes_after(&self, position: ChangePosition) -> Result<ChangeFeed> {
        let (ring, instance) = self.ring()?;
        let place = ring.resume(instance, position);
        Ok(ChangeFeed { ring, place })
    }

    fn ring(&self) -> Result<(Arc<Ring>, u64)> {
        let engine = self.engine();
        let instance = u64::from_be_bytes(*random::<8>(&*engine.entropy)?);
        Ok((Arc::clone(&engine.feed.0), instance))
    }
}

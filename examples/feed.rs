//! A cache above the engine and a web socket, both kept right by the feed of changes.
//!
//! `cargo run --release --example feed`

#![expect(clippy::print_stdout, reason = "it is a report for a person")]

use portcullis::{
    AccessChangeKind as Kind, ChangeFeed, Client, Credentials, FeedItem, NewUser, Permission, Portcullis,
    Result, SessionId, Timestamp, UserId,
};
use std::collections::HashMap;
use std::time::Duration;

const PASSWORD: &str = "correct horse battery staple";

/// Which users may see a dashboard: what another process is told, say, so that it need not ask each time.
struct Cache<'g> {
    gate: &'g Portcullis,
    permission: Permission,
    feed: ChangeFeed,
    known: HashMap<UserId, bool>,
}

impl<'g> Cache<'g> {
    fn new(gate: &'g Portcullis, permission: Permission) -> Result<Self> {
        // The feed first and the state after it: so nothing is missed in between.
        Ok(Self { gate, permission, feed: gate.changes()?, known: HashMap::new() })
    }

    fn may_see(&mut self, user: UserId) -> Result<bool> {
        while let Some(item) = self.feed.try_next() {
            self.forget(&item);
        }
        if let Some(known) = self.known.get(&user) {
            return Ok(*known);
        }
        let allowed = self.gate.check(user, self.permission)?.is_allowed();
        println!("  asked the engine about {user}: {allowed}");
        self.known.insert(user, allowed);
        Ok(allowed)
    }

    fn forget(&mut self, item: &FeedItem) {
        let FeedItem::Change(change) = item else { return self.known.clear() };
        match change.kind {
            Kind::UserRefused { user, .. } | Kind::UserAdmitted { user } | Kind::UserDeleted { user } => {
                self.known.remove(&user);
            }
            Kind::RightsOfUser { user, .. } => drop(self.known.remove(&user)),
            Kind::PermissionChanged { permission } if permission != self.permission => {}
            // No answer here depends on sessions or on flags.
            Kind::SessionEnded { .. } | Kind::SessionsOfUserEnded { .. } | Kind::SessionChanged { .. } => {}
            Kind::EverySessionEnded | Kind::ApiKeyEnded { .. } | Kind::ApiKeyChanged { .. } => {}
            Kind::FlagChanged { .. } => {}
            // Roles, scopes, and what a later version may tell of.
            _ => self.known.clear(),
        }
    }
}

/// What a server keeps of an open web socket.
struct Socket {
    session: SessionId,
    user: UserId,
    /// When to ask again, because the session may have ended by itself.
    ask_at: Timestamp,
}

/// Waits for the next thing that could end the socket, and says whether it stays open.
fn stays_open(gate: &Portcullis, feed: &mut ChangeFeed, socket: &mut Socket) -> Result<bool> {
    let patience = socket.ask_at.since(gate.now()).min(Duration::from_secs(1));
    let concerns = match feed.next_timeout(patience) {
        Some(FeedItem::Change(change)) => match change.kind {
            Kind::SessionEnded { session, .. } => session == socket.session,
            Kind::SessionsOfUserEnded { user } | Kind::UserRefused { user, .. } => user == socket.user,
            Kind::UserDeleted { user } => user == socket.user,
            Kind::RightsOfUser { .. } | Kind::RoleChanged { .. } | Kind::ScopeChanged { .. } => false,
            Kind::PermissionChanged { .. } | Kind::FlagChanged { .. } | Kind::UserAdmitted { .. } => false,
            Kind::ApiKeyEnded { .. } | Kind::ApiKeyChanged { .. } => false,
            // Every session ended, and what a later version may tell of.
            _ => true,
        },
        Some(_) => true,
        None => feed.is_over() || gate.now() >= socket.ask_at,
    };
    if concerns {
        // Asking is no use of the session, so that an idle one ends although the socket is open.
        match gate.sessions().live_until(socket.session)? {
            Some(end) => socket.ask_at = end,
            None => return Ok(false),
        }
    }
    Ok(true)
}

fn main() -> Result<()> {
    let gate = Portcullis::in_memory()?;
    let see = gate.permissions().define("dashboard:see")?;
    let viewer = gate.roles().create("viewer", [see])?;
    let ada = gate.users().create(NewUser::new("ada").password(PASSWORD))?.id;
    let bob = gate.users().create(NewUser::new("bob"))?.id;
    gate.roles().assign(ada, viewer)?;

    println!("a cache:");
    let mut cache = Cache::new(&gate, see)?;
    for user in [ada, bob, ada, bob] {
        cache.may_see(user)?;
    }
    gate.roles().assign(bob, viewer)?;
    println!("bob was made a viewer: ada {}, bob {}", cache.may_see(ada)?, cache.may_see(bob)?);
    gate.roles().withdraw(viewer, [see])?;
    println!("viewers see it no more: ada {}, bob {}", cache.may_see(ada)?, cache.may_see(bob)?);

    println!("a web socket:");
    let login = gate.login(&Credentials::password("ada", PASSWORD), &Client::new())?;
    let mut feed = gate.changes()?;
    let session = login.session();
    // After the feed was begun: an end before that is seen here, and one after it is told.
    let Some(ask_at) = gate.sessions().live_until(session.id)? else { return Ok(()) };
    let mut socket = Socket { session: session.id, user: ada, ask_at };
    gate.roles().assign(bob, gate.roles().create("editor", [])?)?;
    println!("bob has another role: stays open {}", stays_open(&gate, &mut feed, &mut socket)?);
    let position = feed.position();
    drop(feed);
    gate.sessions().revoke(session.id)?;
    // Whoever was away for a while goes on where they were.
    let mut feed = gate.changes_after(position)?;
    while stays_open(&gate, &mut feed, &mut socket)? {}
    println!("its session was revoked: closed");
    Ok(())
}

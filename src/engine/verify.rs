//! `verify`: the whole database against itself, and the read model against the database.

use super::bookkeeping::{LeftoverRecord, ProtectionRecord, SequenceRecord};
use super::bulk::EndingRecord;
use super::view::{Holding, Part};
use super::{Engine, Portcullis};
use crate::access::AccessRecord;
use crate::apikey::{ApiKeyRecord, ApiKeyTurnRecord};
use crate::assignment::AssignmentRecord;
use crate::audit::{self, AUDIT};
use crate::catalog::{PermissionRecord, RetiredRecord};
use crate::challenge::ChallengeRecord;
use crate::credential::{CredentialRecord, FormerPasswordRecord};
use crate::delegation::{DelegationRecord, DelegationsRecord};
use crate::device::DeviceRecord;
use crate::error::Result;
use crate::factor::FactorRecord;
use crate::flag::{FlagRecord, FlagRuleRecord, FlagTarget};
use crate::grant::Effect;
use crate::history::{LoginRecord, NetworkRecord};
use crate::id::{Flag, Key, ScopeId, UserId};
use crate::passkey::{PasskeyRecord, PasskeyState, Secret};
use crate::permission::PermissionSet;
use crate::role::{self, DenyChunk, GrantChunk, HierarchyRecord, RoleRecord};
use crate::scope::{ScopeRecord, ScopeTreeRecord};
use crate::separation::{SeparationRecord, SeparationStateRecord};
use crate::session::{SessionEraRecord, SessionRecord};
use crate::signed::SignedRecord;
use crate::store::{self, Head, Kind, Record, Scan, Table};
use crate::throttle::{AccountRecord, Counted, KeyRecord, RowRecord, SourceCount};
use crate::ticket::TicketRecord;
use crate::user::{AttributesRecord, ContactRecord, UserRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Most problems that are told one by one.
const MOST_TOLD: usize = 100;

/// What [`Portcullis::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// Records that were read, without index rows and audit records.
    pub records: u64,
    /// Index rows that were checked.
    pub index_rows: u64,
    /// Audit records whose chain was recomputed.
    pub audit_records: u64,
    /// What is wrong, in words; the first hundred.
    pub problems: Vec<String>,
    /// How many things are wrong in all.
    pub problem_count: u64,
}

impl Verification {
    /// True if nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problem_count == 0
    }

    pub(super) fn problem(&mut self, what: impl fmt::Display) {
        self.problem_count += 1;
        if self.problems.len() < MOST_TOLD {
            self.problems.push(what.to_string());
        }
    }
}

impl Portcullis {
    /// Checks the database: that every record decodes and stands under its own key, that index rows and records
    /// agree in both directions, that separated duties are, that no session has a role it is not sure enough for, that the audit log has no gap and its chain ends in the head,
    /// and that the read model says of every role, flag, user and session what the records say.
    ///
    /// It reads everything. Changes by others while it runs can show as problems that are none: run it again then.
    ///
    /// # Errors
    /// The storage kinds; what is wrong with the content is in the result and no error.
    pub fn verify(&self) -> Result<Verification> {
        let engine = self.engine();
        let mut found = Verification::default();
        engine.verify_table::<UserRecord>(&mut found)?;
        engine.verify_table::<ContactRecord>(&mut found)?;
        engine.verify_table::<AttributesRecord>(&mut found)?;
        engine.verify_table::<CredentialRecord>(&mut found)?;
        engine.verify_table::<FormerPasswordRecord>(&mut found)?;
        engine.verify_table::<PasskeyRecord>(&mut found)?;
        engine.verify_table::<PasskeyState>(&mut found)?;
        engine.verify_table::<PermissionRecord>(&mut found)?;
        engine.verify_table::<RetiredRecord>(&mut found)?;
        engine.verify_table::<RoleRecord>(&mut found)?;
        engine.verify_table::<GrantChunk>(&mut found)?;
        engine.verify_table::<DenyChunk>(&mut found)?;
        engine.verify_table::<HierarchyRecord>(&mut found)?;
        engine.verify_table::<ScopeRecord>(&mut found)?;
        engine.verify_table::<ScopeTreeRecord>(&mut found)?;
        engine.verify_table::<AccessRecord>(&mut found)?;
        engine.verify_table::<SeparationRecord>(&mut found)?;
        engine.verify_table::<SeparationStateRecord>(&mut found)?;
        engine.verify_table::<AssignmentRecord>(&mut found)?;
        engine.verify_table::<DelegationRecord>(&mut found)?;
        engine.verify_table::<DelegationsRecord>(&mut found)?;
        engine.verify_table::<FlagRecord>(&mut found)?;
        engine.verify_table::<FlagRuleRecord>(&mut found)?;
        engine.verify_table::<SessionRecord>(&mut found)?;
        engine.verify_table::<SessionEraRecord>(&mut found)?;
        engine.verify_table::<SignedRecord>(&mut found)?;
        engine.verify_table::<ApiKeyRecord>(&mut found)?;
        engine.verify_table::<ApiKeyTurnRecord>(&mut found)?;
        engine.verify_table::<TicketRecord>(&mut found)?;
        engine.verify_table::<ChallengeRecord>(&mut found)?;
        engine.verify_table::<FactorRecord>(&mut found)?;
        engine.verify_table::<DeviceRecord>(&mut found)?;
        engine.verify_table::<LoginRecord>(&mut found)?;
        engine.verify_table::<NetworkRecord>(&mut found)?;
        engine.verify_table::<AccountRecord>(&mut found)?;
        engine.verify_table::<RowRecord<Counted>>(&mut found)?;
        engine.verify_table::<RowRecord<SourceCount>>(&mut found)?;
        engine.verify_table::<KeyRecord>(&mut found)?;
        engine.verify_table::<SequenceRecord>(&mut found)?;
        engine.verify_table::<LeftoverRecord>(&mut found)?;
        engine.verify_table::<ProtectionRecord>(&mut found)?;
        engine.verify_table::<EndingRecord>(&mut found)?;
        engine.verify_audit(&mut found)?;
        if found.is_sound() {
            engine.verify_policy(&mut found)?;
            engine.verify_separation(&mut found)?;
            engine.verify_demands(&mut found)?;
            engine.verify_flags(&mut found)?;
            engine.verify_passkeys(&mut found)?;
            engine.verify_throttle(&mut found)?;
            engine.verify_view(&mut found)?;
        }
        Ok(found)
    }
}

impl Engine {
    /// Records against their index rows, both ways: each key of each record has its row, and there are no more rows
    /// than that.
    fn verify_table<R: Record>(&self, found: &mut Verification) -> Result<()> {
        let name = R::TABLE.name;
        let mut due: BTreeMap<Table, u64> = R::INDEXES.iter().map(|index| (index.table, 0)).collect();
        self.rows(R::TABLE, |row| {
            found.records += 1;
            let record: R = match store::decode(&row.value) {
                Ok(record) => record,
                Err(error) => {
                    found.problem(format_args!("{name}: {error}"));
                    return Ok(());
                }
            };
            if record.key().bytes() != row.key {
                found.problem(format_args!("{name}: a record stands under another key than its own"));
            }
            for index in R::INDEXES {
                for mut key in index.keys(&record) {
                    if index.kind == Kind::Many {
                        key.extend_from_slice(&row.key);
                    }
                    *due.entry(index.table).or_default() += 1;
                    if self.store.get(index.table, &key)?.is_none_or(|entry| entry.value != row.key) {
                        found.problem(format_args!(
                            "{}: a {name} record has no row, or another's",
                            index.table.name
                        ));
                    }
                }
            }
            Ok(())
        })?;
        self.verify_counts(due, found)
    }

    /// Index tables against the number of rows that the records account for.
    fn verify_counts(&self, tables: BTreeMap<Table, u64>, found: &mut Verification) -> Result<()> {
        for (table, due) in tables {
            let mut rows = 0;
            self.rows(table, |_| {
                rows += 1;
                Ok(())
            })?;
            found.index_rows += rows;
            if rows != due {
                found.problem(format_args!("{}: {rows} rows where {due} are due", table.name));
            }
        }
        Ok(())
    }

    fn verify_audit(&self, found: &mut Verification) -> Result<()> {
        let due = self.store.head();
        let mut head = Head::default();
        let mut indexed: BTreeMap<Table, u64> = audit::TABLES.iter().map(|table| (*table, 0)).collect();
        self.rows(AUDIT, |row| {
            if head.length == due.length {
                return Ok(()); // written after this check began
            }
            if row.key != head.length.bytes() {
                found.problem(format_args!("audit: record {} is missing", head.length));
            }
            head = head.extend(&row.value);
            found.audit_records += 1;
            match audit::decode(&row.key, &row.value) {
                Ok((record, body)) => {
                    for (table, mut key) in body.index_keys() {
                        key.extend_from_slice(&row.key);
                        *indexed.entry(table).or_default() += 1;
                        if self.store.get(table, &key)?.is_none_or(|entry| entry.value != row.key) {
                            found.problem(format_args!(
                                "{}: record {} has no row",
                                table.name, record.sequence
                            ));
                        }
                    }
                }
                Err(error) => found.problem(format_args!("audit: {error}")),
            }
            Ok(())
        })?;
        if head != due {
            found.problem(format_args!(
                "audit: the chain over {} records does not end in the head of {}",
                head.length, due.length
            ));
        }
        indexed.remove(&AUDIT);
        self.verify_counts(indexed, found)
    }

    /// Whether everybody, and every live session, keeps the duties apart that are to be.
    fn verify_separation(&self, found: &mut Verification) -> Result<()> {
        self.each::<SeparationRecord>(|set| {
            if let Some(broken) = self.broken_separation(&set.record)? {
                found.problem(format_args!("separation: {broken}"));
            }
            Ok(())
        })
    }

    /// Whether every passkey is as it was sealed.
    fn verify_passkeys(&self, found: &mut Verification) -> Result<()> {
        self.each::<PasskeyRecord>(|passkey| {
            if let Err(error) =
                Secret::required(&*self.store).and_then(|secret| secret.check(&passkey.record))
            {
                found.problem(format_args!("passkey: {error}"));
            }
            Ok(())
        })
    }

    /// What each role comes to grant, worked out from the records one role after the other, against the view.
    fn verify_policy(&self, found: &mut Verification) -> Result<()> {
        let (mut defined, mut own, mut parents) = (PermissionSet::new(), BTreeMap::new(), BTreeMap::new());
        self.each::<PermissionRecord>(|permission| {
            defined.insert(permission.record.permission);
            Ok(())
        })?;
        self.each::<RoleRecord>(|role| {
            let id = role.record.id;
            own.insert(
                id,
                [role::bits_of::<false>(&*self.store, id)?, role::bits_of::<true>(&*self.store, id)?],
            );
            parents.insert(role.record.id, role.record.parents.clone());
            Ok(())
        })?;
        for role in own.keys() {
            let mut due = [PermissionSet::new(), PermissionSet::new()];
            let (mut reached, mut open) = (BTreeSet::from([*role]), vec![*role]);
            while let Some(next) = open.pop() {
                let Some(bits) = own.get(&next) else { continue };
                due.iter_mut().zip(bits).for_each(|(due, bits)| due.union_with(bits));
                open.extend(
                    parents.get(&next).into_iter().flatten().filter(|parent| reached.insert(**parent)),
                );
            }
            due.iter_mut().for_each(|due| due.intersect_with(&defined));
            if self.view.permissions_of_role(*role) != due {
                found.problem(format_args!("view: {role} does not grant what its records say"));
            }
        }
        let roles = own.len() as u64;
        if self.view.stats().roles != roles {
            found.problem(format_args!("view: {} roles where {roles} are due", self.view.stats().roles));
        }
        Ok(())
    }

    /// The states of flags, and their rules for roles and scopes; those for users are among what users hold.
    fn verify_flags(&self, found: &mut Verification) -> Result<()> {
        let mut flags = 0;
        self.each::<FlagRecord>(|flag| {
            flags += 1;
            if !self.view.agrees_on_flag(&flag.record) {
                found.problem(format_args!("view: {} is not as its record says", flag.record.flag));
            }
            Ok(())
        })?;
        let known = self.view.flag_stats().0;
        if known != flags {
            found.problem(format_args!("view: {known} flags where {flags} are due"));
        }
        let mut parents = BTreeMap::new();
        self.each::<RoleRecord>(|role| {
            parents.insert(role.record.id, role.record.parents.clone());
            Ok(())
        })?;
        let (mut own, mut everybody) = (BTreeMap::new(), BTreeMap::<ScopeId, Vec<Part>>::new());
        self.each::<FlagRuleRecord>(|row| {
            let FlagRuleRecord { flag, target, terms, .. } = &row.record;
            match target {
                FlagTarget::Role(role) => {
                    let rules: &mut [BTreeSet<Flag>; 2] = own.entry(*role).or_default();
                    let [on, off] = rules;
                    if terms.effect == Effect::Deny { off } else { on }.insert(*flag);
                }
                FlagTarget::Scope(scope) => {
                    let part = Part::new(Holding::Permission(flag.bit()), terms);
                    everybody.entry(*scope).or_default().push(part);
                }
                FlagTarget::User(_) => {}
            }
            Ok(())
        })?;
        for role in parents.keys() {
            let (mut due, mut reached, mut open) =
                ([BTreeSet::new(), BTreeSet::new()], BTreeSet::from([*role]), vec![*role]);
            while let Some(next) = open.pop() {
                // A role that is gone leads nowhere, and its rules are those of nobody.
                let Some(below) = parents.get(&next) else { continue };
                open.extend(below.iter().filter(|parent| reached.insert(**parent)));
                for (due, rules) in due.iter_mut().zip(own.get(&next).into_iter().flatten()) {
                    due.extend(rules);
                }
            }
            if self.view.flags_of_role(*role).map(BTreeSet::from_iter) != due {
                found.problem(format_args!(
                    "view: {role} does not turn the flags on and off that its rules say"
                ));
            }
        }
        self.each::<ScopeRecord>(|scope| {
            everybody.entry(scope.record.id).or_default();
            Ok(())
        })?;
        for (scope, parts) in &everybody {
            if self.view.parts_of_everybody(*scope) != *parts {
                found.problem(format_args!("view: what everybody has at {scope} is not as the records say"));
            }
        }
        Ok(())
    }

    /// The read model against the records: users, the roles each holds, sessions. Sweeping leaves rows behind for a
    /// moment that belong to nobody; those have no effect and are not compared.
    fn verify_view(&self, found: &mut Verification) -> Result<()> {
        let mut held: BTreeMap<(UserId, ScopeId), Vec<Part>> = BTreeMap::new();
        self.each::<AssignmentRecord>(|row| {
            let AssignmentRecord { user, role, terms, .. } = &row.record;
            held.entry((*user, terms.scope)).or_default().push(Part::new(Holding::Role(*role), terms));
            Ok(())
        })?;
        self.each::<AccessRecord>(|row| {
            let AccessRecord { user, permission, terms, .. } = &row.record;
            let part = Part::new(Holding::Permission(*permission), terms);
            held.entry((*user, terms.scope)).or_default().push(part);
            Ok(())
        })?;
        // After the permissions, as their bits are.
        self.each::<FlagRuleRecord>(|row| {
            let FlagRuleRecord { flag, target, terms, .. } = &row.record;
            if let FlagTarget::User(user) = target {
                let part = Part::new(Holding::Permission(flag.bit()), terms);
                held.entry((*user, terms.scope)).or_default().push(part);
            }
            Ok(())
        })?;
        for ((user, scope), parts) in &held {
            if self.view.parts_of(*user, *scope) != *parts {
                found.problem(format_args!("view: what {user} holds at {scope} is not as the records say"));
            }
        }
        let mut scopes = 0;
        self.each::<ScopeRecord>(|_| {
            scopes += 1;
            Ok(())
        })?;
        if self.view.stats().scopes != scopes {
            found.problem(format_args!("view: {} scopes where {scopes} are due", self.view.stats().scopes));
        }
        let mut users = 0;
        self.each::<UserRecord>(|user| {
            users += 1;
            let id = user.record.id;
            let nothing = !held.contains_key(&(id, ScopeId::ROOT));
            if !self.view.agrees_on_user(&user.record)
                || nothing && !self.view.parts_of(id, ScopeId::ROOT).is_empty()
            {
                found.problem(format_args!("view: {id} is not as its record says"));
            }
            Ok(())
        })?;
        let stats = self.view.stats();
        if stats.users != users {
            found.problem(format_args!("view: {} users where {users} are due", stats.users));
        }
        let mut sessions = 0;
        self.each::<SessionRecord>(|session| {
            sessions += 1;
            if !self.view.agrees_on_session(&session.record) {
                found.problem(format_args!("view: {} is not as its record says", session.record.id));
            }
            Ok(())
        })?;
        if stats.sessions != sessions {
            found.problem(format_args!("view: {} sessions where {sessions} are due", stats.sessions));
        }
        self.verify_keys(found)?;
        Ok(())
    }

    fn rows(&self, table: Table, mut visit: impl FnMut(&store::Row) -> Result<()>) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let scan = Scan { prefix: &[], after: after.as_deref(), limit: 1024, descending: false };
            let rows = self.store.scan(table, &scan)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.key.clone());
            rows.iter().try_for_each(&mut visit)?;
        }
    }
}

/// Every row of every table: see [`crate::testing::dump`].
#[cfg(feature = "testing")]
#[expect(clippy::type_complexity, reason = "a table's name, a key and a value")]
pub(crate) fn dump(gate: &Portcullis) -> Result<Vec<(&'static str, Vec<u8>, Vec<u8>)>> {
    let engine = gate.engine();
    let mut found = Vec::new();
    for table in super::TABLES.concat() {
        engine.rows(table, |row| {
            found.push((table.name, row.key.clone(), row.value.clone()));
            Ok(())
        })?;
    }
    Ok(found)
}

/// Feeds bytes to every decoder: see [`crate::testing::decode_as_every_record`].
#[cfg(feature = "testing")]
pub(crate) fn decode_as_every_record(bytes: &[u8]) -> usize {
    fn taken<R: Record>(bytes: &[u8]) -> usize {
        usize::from(store::decode::<R>(bytes).is_ok())
    }
    taken::<UserRecord>(bytes)
        + taken::<ContactRecord>(bytes)
        + taken::<AttributesRecord>(bytes)
        + taken::<CredentialRecord>(bytes)
        + taken::<FormerPasswordRecord>(bytes)
        + taken::<PasskeyRecord>(bytes)
        + taken::<PasskeyState>(bytes)
        + taken::<PermissionRecord>(bytes)
        + taken::<RetiredRecord>(bytes)
        + taken::<RoleRecord>(bytes)
        + taken::<GrantChunk>(bytes)
        + taken::<DenyChunk>(bytes)
        + taken::<HierarchyRecord>(bytes)
        + taken::<ScopeRecord>(bytes)
        + taken::<ScopeTreeRecord>(bytes)
        + taken::<AccessRecord>(bytes)
        + taken::<SeparationRecord>(bytes)
        + taken::<SeparationStateRecord>(bytes)
        + taken::<AssignmentRecord>(bytes)
        + taken::<DelegationRecord>(bytes)
        + taken::<DelegationsRecord>(bytes)
        + taken::<FlagRecord>(bytes)
        + taken::<FlagRuleRecord>(bytes)
        + taken::<SessionRecord>(bytes)
        + taken::<SessionEraRecord>(bytes)
        + taken::<EndingRecord>(bytes)
        + taken::<SignedRecord>(bytes)
        + taken::<ApiKeyRecord>(bytes)
        + taken::<ApiKeyTurnRecord>(bytes)
        + taken::<TicketRecord>(bytes)
        + taken::<ChallengeRecord>(bytes)
        + taken::<FactorRecord>(bytes)
        + taken::<DeviceRecord>(bytes)
        + taken::<LoginRecord>(bytes)
        + taken::<NetworkRecord>(bytes)
        + taken::<AccountRecord>(bytes)
        + taken::<RowRecord<Counted>>(bytes)
        + taken::<RowRecord<SourceCount>>(bytes)
        + taken::<KeyRecord>(bytes)
        + taken::<SequenceRecord>(bytes)
        + taken::<LeftoverRecord>(bytes)
        + taken::<ProtectionRecord>(bytes)
        + usize::from(audit::decode(&[0; 8], bytes).is_ok())
}

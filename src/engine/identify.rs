//! Who is meant by what somebody typed to log in.

use super::Engine;
use crate::error::Result;
use crate::store::{self, Stored};
use crate::text;
use crate::user::{self, UserRecord};

impl Engine {
    /// The user who has verified that e-mail address or has that login name. Nobody may take a name that is another's
    /// verified address, or verify what is another's name; where what was typed is still both, as in characters of
    /// another width, which a name is found by and an address is not, nobody is meant.
    ///
    /// What can be neither is as unknown as what nobody has. Either way it takes a few point reads, some microseconds
    /// beside the milliseconds of the hash that follows.
    pub(super) fn user_to_log_in(&self, login: &str) -> Result<Option<Stored<UserRecord>>> {
        let by_address = user::find_by_verified_email(&*self.store, login, self.names)?;
        let by_name: Option<Stored<UserRecord>> = match text::canonical_login(login) {
            Ok(canonical) => {
                store::find(&*self.store, user::USER_BY_LOGIN, &store::index_prefix(&canonical))?
            }
            Err(_) => None,
        };
        Ok(match (by_address, by_name) {
            (Some(holder), Some(named)) if holder.record.id != named.record.id => None,
            (holder, named) => holder.or(named),
        })
    }
}

/// What is taken between the reading of a plan and its commit.
#[cfg(test)]
mod tests {
    use super::super::between::{Scene, Step};
    use crate::audit::AuditKind;
    use crate::engine::{PageRequest, Portcullis};
    use crate::error::ErrorKind;
    use crate::id::ContactId;
    use crate::user::{ConfusableNames, NewContact, NewUser, UserChange};

    const CREATE: Step = |s| s.gate.users().create(NewUser::new("a@x.org")).map(drop);
    const CREATE_TWIN: Step = |s| s.gate.users().create(NewUser::new("\u{430}@x.org")).map(drop);
    const CREATE_OTHER_TWIN: Step = |s| s.gate.users().create(NewUser::new("\u{3B1}@x.org")).map(drop);
    const CREATE_VERIFIED: Step = |s| {
        let contact = NewContact::email("A@x.org").verified();
        s.gate.users().create(NewUser::new("eve").contact(contact)).map(drop)
    };
    const RENAME: Step = |s| s.gate.users().update(s.ada, UserChange::new().login("A@X.org")).map(drop);
    const RENAME_BOB: Step = |s| s.gate.users().update(s.bob, UserChange::new().login("a@x.ORG")).map(drop);
    const RENAME_TWIN: Step =
        |s| s.gate.users().update(s.ada, UserChange::new().login("\u{430}@x.org")).map(drop);
    const VERIFY: Step = |s| s.gate.users().verify_contact(s.ada, ContactId::from_number(0)).map(drop);
    const VERIFY_BOB: Step = |s| s.gate.users().verify_contact(s.bob, ContactId::from_number(0)).map(drop);
    const ADD: Step =
        |s| s.gate.users().add_contact(s.bob, &NewContact::email("a@x.org").verified()).map(drop);

    fn scene(policy: ConfusableNames) -> Scene {
        let s = Scene::with(Portcullis::builder().confusable_names(policy));
        for user in [s.ada, s.bob] {
            s.gate.users().add_contact(user, &NewContact::email("a@x.org")).unwrap();
        }
        s
    }

    #[test]
    fn a_name_and_an_address_go_to_whoever_commits_first() {
        let takes: [&[Step]; 3] =
            [&[RENAME, VERIFY], &[RENAME_BOB, VERIFY_BOB, ADD], &[CREATE, CREATE_VERIFIED]];
        for (number, group) in takes.iter().enumerate() {
            let others = takes.iter().enumerate().filter(|(other, _)| *other != number);
            for (first, second) in
                others.flat_map(|(_, other)| *other).flat_map(|a| group.iter().map(move |b| (a, b)))
            {
                let s = scene(ConfusableNames::Refuse);
                let refused = s.meanwhile(*first, || second(&s)).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
                assert!(s.gate.verify().unwrap().is_sound());
            }
        }
    }

    #[test]
    fn of_names_that_look_alike_the_first_to_commit_is_kept_or_the_second_told() {
        let plain = [CREATE, RENAME, RENAME_BOB];
        let twins = [CREATE_TWIN, RENAME_TWIN, CREATE_OTHER_TWIN];
        let pairs = plain.iter().flat_map(|a| twins.iter().map(move |b| (*a, *b)));
        let pairs = pairs.flat_map(|(a, b)| [(a, b), (b, a)]);
        let among_twins = [(CREATE_TWIN, CREATE_OTHER_TWIN), (CREATE_OTHER_TWIN, RENAME_TWIN)];
        for (first, second) in pairs.chain(among_twins) {
            // One user's two names are no twins of each other.
            if [first, second]
                .iter()
                .all(|step| std::ptr::fn_addr_eq(*step, RENAME) || std::ptr::fn_addr_eq(*step, RENAME_TWIN))
            {
                continue;
            }
            for policy in [ConfusableNames::Refuse, ConfusableNames::Warn] {
                let s = scene(policy);
                let done = s.meanwhile(first, || second(&s));
                let warned =
                    s.gate.audit().by_kind(AuditKind::NameConfusable, &PageRequest::default()).unwrap();
                match policy {
                    ConfusableNames::Refuse => {
                        assert_eq!(done.unwrap_err().kind(), ErrorKind::AlreadyExists);
                        assert!(warned.items.is_empty());
                    }
                    _ => {
                        done.unwrap();
                        assert_eq!(warned.items.len(), 1);
                    }
                }
                assert!(s.gate.verify().unwrap().is_sound());
            }
        }
    }

    #[test]
    fn what_is_given_up_may_be_taken() {
        let leaves: [Step; 2] = [
            |s| s.gate.users().delete(s.bob),
            |s| s.gate.users().update(s.bob, UserChange::new().login("robert")).map(drop),
        ];
        for leave in leaves {
            for take in [RENAME, RENAME_TWIN, VERIFY, CREATE, CREATE_TWIN] {
                let s = scene(ConfusableNames::Refuse);
                RENAME_BOB(&s).unwrap();
                assert_eq!(take(&s).unwrap_err().kind(), ErrorKind::AlreadyExists);
                leave(&s).unwrap();
                take(&s).unwrap();
                assert!(s.gate.verify().unwrap().is_sound());
            }
        }
    }
}

//! Both halves of an assertion by themselves, for tests: see [`crate::testing`]. A login goes through the same functions.

use super::super::Portcullis;
use super::super::write::{Entry, Plan};
use super::assertion::{Assertion, PasskeyProof, PasskeyRefusal, stage_assertion};
use crate::audit::{Actor, AuditKind, Outcome, Subject};
use crate::error::{Denial, Error, Result};
use crate::id::UserId;

pub(crate) fn start_assertion(gate: &Portcullis, user: UserId) -> Result<Option<(String, Vec<u8>)>> {
    gate.engine().start_assertion(user)
}

pub(crate) fn start_login(gate: &Portcullis) -> Result<(String, String)> {
    gate.engine().start_passkey_login()
}

pub(crate) fn finish_assertion(gate: &Portcullis, state: &[u8], response: &str) -> Result<PasskeyProof> {
    believe(gate, &gate.engine().check_assertion(state, response)?)
}

pub(crate) fn finish_login(gate: &Portcullis, ticket: &str, response: &str) -> Result<PasskeyProof> {
    believe(gate, &gate.engine().check_passkey_login(ticket, response)?)
}

fn believe(gate: &Portcullis, checked: &Result<Assertion, PasskeyRefusal>) -> Result<PasskeyProof> {
    let engine = gate.engine();
    let user = checked.as_ref().ok().map(Assertion::user);
    let decided = match checked {
        Ok(assertion) => {
            engine
                .write(Actor::Anonymous, |plan| {
                    let decided = stage_assertion(plan, assertion)?;
                    if let Ok(proof) = decided {
                        let entry = Entry::of(Subject::User(proof.user)).detail(proof.passkey.to_string());
                        plan.record(AuditKind::LoginSuccess, entry)?;
                    }
                    Ok(decided)
                })?
                .0
        }
        Err(refusal) => Err(*refusal),
    };
    decided.or_else(|refusal| {
        engine.write(Actor::Anonymous, |plan: &mut Plan<'_>| {
            let detail = refusal.detail().to_owned();
            let entry = Entry { subject: user.map(Subject::User), object: None, detail };
            plan.record_outcome(AuditKind::LoginFailure, Outcome::Denied, Actor::Anonymous, entry)
        })?;
        Err(Error::denied(Denial::Credentials))
    })
}

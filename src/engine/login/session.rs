//! The end of a login: the session that it opens.

use super::complete::Progress;
use super::reauthenticate::still_selected;
use super::refusal::Refusal;
use super::{Login, LoginStep};
use crate::assurance::{Assurance, Method, Methods};
use crate::audit::{AuditKind, Subject};
use crate::crypto::Token;
use crate::engine::write::{Entry, Plan};
use crate::engine::{Engine, duty};
use crate::error::Result;
use crate::id::{RoleId, UserId};
use crate::session::{self, Client, SessionRecord};

impl Engine {
    pub(super) fn plan_session(
        &self,
        plan: &mut Plan<'_>,
        user: UserId,
        roles: Option<&[RoleId]>,
        progress: Progress,
        client: &Client,
    ) -> Result<Result<LoginStep, Refusal>> {
        let former = progress.former.as_ref();
        if let Some(former) = former {
            plan.batch.remove(former);
        }
        let former = former.map(|former| &former.record);
        if !self.make_room(plan, user, progress.generation, former.map(|former| former.id))? {
            return Ok(Err(Refusal::TooManySessions));
        }
        let roles = match (roles, former) {
            (None, Some(former)) => still_selected(plan, former)?,
            (roles, _) => roles.map(<[RoleId]>::to_vec),
        };
        let roles = duty::for_new_session(plan, user, roles.as_deref())?;
        let device = self.stage_device(plan, user, client, former.and_then(|former| former.device_id))?;
        let (token, id, digest) = Token::mint(&*self.entropy)?;
        let (refresh, family) = self.begin_family(client, id, plan.now)?;
        let limits = self.limits_for(client);
        // What was proved in the former session may be among the methods, unless they are what a password comes to.
        let (by_password, latest) =
            (progress.methods == Methods::of(Method::Password), plan.now.saturating_add(limits.absolute));
        let kept = former.filter(|_| !by_password);
        let expires = kept.map_or(latest, |former| former.expires.min(latest));
        let sure = (progress.methods.assurance() > Assurance::One).then_some(plan.now);
        let earlier = kept.filter(|_| !progress.stepped).and_then(|former| former.elevated);
        let elevated = sure.map(|now| earlier.unwrap_or(now));
        let record = SessionRecord {
            id,
            user,
            digest: digest.0,
            generation: progress.generation,
            created: plan.now,
            seen: plan.now,
            idle_secs: limits.idle_secs,
            expires,
            device: client.device.clone(),
            ip: client.ip,
            user_agent: client.user_agent.clone(),
            roles,
            methods: progress.methods,
            authenticated: plan.now,
            elevated,
            device_id: device.id,
            era: session::expect_era(plan.store, &mut plan.batch)?,
            label: former.map(|former| former.label.clone()).unwrap_or_default(),
            impersonator: None,
            family,
        };
        plan.batch.insert(&record)?;
        self.stage_success(plan, &record, client, &device)?;
        let (kind, detail) = match former {
            Some(former) => {
                (AuditKind::Reauthenticated, format!("{} in the place of {}", detail_of(&record), former.id))
            }
            None => (AuditKind::LoginSuccess, detail_of(&record)),
        };
        let entry = Entry::of(Subject::User(user)).and(Subject::Session(id)).detail(detail.trim_start());
        plan.record(kind, entry)?;
        Ok(Ok(LoginStep::Done(Login {
            token,
            refresh,
            device_token: device.token,
            session: record.into(),
            successor: progress.successor,
        })))
    }
}

/// What the audit log is to say of a new session: from where, how it was proved where that was more than a password, and
/// with which roles where some were selected.
fn detail_of(session: &SessionRecord) -> String {
    let mut parts = Vec::new();
    if let Some(ip) = session.ip {
        parts.push(format!("from {ip}"));
    }
    if session.methods != Methods::of(Method::Password) {
        parts.push(format!("by {}", session.methods));
    }
    if let Some(roles) = &session.roles {
        let named: Vec<String> = roles.iter().map(RoleId::to_string).collect();
        let named = if named.is_empty() { "no role".to_owned() } else { named.join(", ") };
        parts.push(format!("with {named} active"));
    }
    parts.join(" ")
}

//! Tickets that are over: past their end, or of a user who was deleted.

use crate::audit::AuditKind;
use crate::engine::Engine;
use crate::engine::sweep::{record_ended, stage_ended};
use crate::error::Result;
use crate::id::{Key, UserId};
use crate::store::{self, Batch, Scan};
use crate::ticket::{TICKET_BY_EXPIRY, TicketRecord};

/// Tickets that one batch removes; each takes up to nine operations.
const BATCH: usize = 16;

impl Engine {
    /// Removes one-time tokens whose end has come, with one audit record a batch.
    pub(in crate::engine) fn sweep_tickets(&self, budget: usize) -> Result<usize> {
        self.in_commits(budget, BATCH, |plan, most| {
            let over = |ticket: &TicketRecord, now| ticket.expires <= now;
            let tickets = stage_ended(plan, TICKET_BY_EXPIRY, most, over)?;
            record_ended(plan, AuditKind::TicketsExpired, tickets.len(), "one-time tokens")
        })
    }

    /// Stages some tickets of a deleted user away; true if there is anything in the batch.
    pub(in crate::engine) fn stage_tickets_off(&self, batch: &mut Batch, user: UserId) -> Result<bool> {
        let prefix = user.bytes();
        let scan = Scan { prefix: &prefix, limit: BATCH, ..Scan::default() };
        for ticket in store::page::<TicketRecord>(&*self.store, &scan)?.0 {
            batch.remove(&ticket);
        }
        Ok(batch.operations() > 0)
    }
}

//! Tickets that are over: past their end, or of a user who was deleted.

use crate::audit::{Actor, AuditKind};
use crate::engine::Engine;
use crate::engine::write::Entry;
use crate::error::Result;
use crate::id::{Key, UserId};
use crate::store::{self, Batch, Scan};
use crate::ticket::{TICKET_BY_EXPIRY, TicketRecord};

/// Tickets that one batch removes; each takes up to nine operations.
const BATCH: usize = 16;

impl Engine {
    /// Removes one-time tokens whose end has come, with one audit record a batch.
    pub(in crate::engine) fn sweep_tickets(&self, budget: usize) -> Result<usize> {
        let mut removed = 0;
        while removed < budget {
            let (count, _) = self.write(Actor::System, |plan| {
                let scan = Scan { limit: BATCH.min(budget - removed), ..Scan::default() };
                let (tickets, _) = store::page_by::<TicketRecord>(plan.store, TICKET_BY_EXPIRY, &scan)?;
                let mut count = 0;
                for ticket in tickets.iter().take_while(|ticket| ticket.record.expires <= plan.now) {
                    plan.batch.remove(ticket);
                    count += 1;
                }
                if count > 0 {
                    let entry = Entry::default().detail(format!("{count} one-time tokens past their end"));
                    plan.record(AuditKind::TicketsExpired, entry)?;
                }
                Ok(count)
            })?;
            if count == 0 {
                break;
            }
            removed += count;
        }
        Ok(removed)
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

//! Waiting for a permit without a thread.

use super::{Arrival, Gate, Permit, Source, Wake};
use crate::error::Result;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The wait of a task for its permit, in the same queue as the threads. It begins when it is first polled; dropped
/// before its end, it leaves the queue and holds nothing.
///
/// No timer wakes it: whoever waits beyond the gate's patience hears of it when the next hash finishes or somebody
/// else comes. While anybody waits, a hash runs.
#[derive(Debug)]
#[must_use]
pub(crate) struct Entering {
    gate: Arc<Gate>,
    source: Source,
    blocks: usize,
    ticket: Option<usize>,
}

impl Gate {
    pub(crate) fn entering(self: &Arc<Self>, source: Source, blocks: usize) -> Entering {
        Entering { gate: Arc::clone(self), source, blocks, ticket: None }
    }
}

impl Future for Entering {
    type Output = Result<Permit>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { gate, source, blocks, ticket } = &mut *self;
        let Some(number) = *ticket else {
            gate.check(*blocks)?;
            let arrival = gate.arrive(*source, *blocks, || Wake::Task(context.waker().clone()));
            return match arrival {
                Arrival::Admitted(memory) => Poll::Ready(Ok(gate.permit(*blocks, memory))),
                Arrival::Refused(why) => Poll::Ready(Err(gate.busy(why))),
                Arrival::Waiting(number, displaced) => {
                    *ticket = Some(number);
                    gate.made_room(displaced);
                    Poll::Pending
                }
            };
        };
        let waker = Wake::Task(context.waker().clone());
        let mut state = gate.state.lock();
        let answer = state.queue.take(number);
        let unused = if answer.is_none() { state.queue.wake_by(number, waker) } else { Some(waker) };
        drop(state);
        drop(unused);
        match answer {
            None => Poll::Pending,
            Some(answer) => {
                *ticket = None;
                Poll::Ready(match answer {
                    Ok(memory) => Ok(gate.permit(*blocks, memory)),
                    Err(why) => Err(gate.busy(why)),
                })
            }
        }
    }
}

impl Drop for Entering {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let (lent, unused) = self.gate.state.lock().queue.abandon(ticket);
        drop(unused);
        match lent {
            Some(memory) => drop(self.gate.permit(self.blocks, memory)),
            // It may have been the one that all others wait behind, for more memory than there is now.
            None => self.gate.settle(),
        }
    }
}

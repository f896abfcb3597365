//! Asynchronous calls on a tokio runtime: wait for a permit as a task, then take a thread that may block.
//!
//! `flows` has the calls of logins and one-time tokens; all that compute a hash for somebody who may be refused before go
//! through [`AsyncPortcullis::hashing`].

mod flows;

use crate::crypto::{Permit, Source, trial};
use crate::engine::Portcullis;
use crate::error::{Error, Result};
use crate::id::UserId;
use crate::secret::SecretText;
use crate::user::{NewUser, User};
use std::net::IpAddr;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A handle whose calls are awaited; get it from [`Portcullis::on_tokio`].
///
/// No call blocks the runtime. One that computes a password hash waits in the queue of the admission gate, in the same
/// lines as the threads and with the same limits, and takes a thread of tokio's blocking pool only once it is admitted;
/// it holds its permit until it is done, with its commit. So a storm of logins takes as many threads for their hashes as
/// [`Builder::admission`](crate::Builder::admission) lets hashes run at once. All other calls take 32 threads at most,
/// those of one source first come first served, and the sources in turn.
///
/// A login, and whatever else is asked for by somebody who may have to be refused, is judged before it waits: what can be
/// said without a hash, such as that throttling holds it up or that its token is worth nothing, costs no place in the queue,
/// and is said also where the queue is full. For this it takes one of those 32 threads for the time of some reads.
///
/// Checks take nanoseconds and touch no disk: [`Portcullis::authenticate`], [`Portcullis::check`] and the methods of
/// [`Principal`](crate::Principal) are called on the blocking handle, [`gate`](Self::gate), from any task.
///
/// A future that is dropped before its call has begun leaves nothing behind. One that is dropped later does not stop the
/// call, which is done whole or not at all as always; a login that nobody waited for ends its session again. A panic
/// inside a call goes on in the task that awaits it.
///
/// A call that waits beyond the gate's patience hears of it when the next hash finishes or the next one asks for
/// admission, since this needs no timer of the runtime.
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{Client, Credentials, NewUser, Portcullis};
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
/// # runtime.block_on(async {
/// let gate = Portcullis::in_memory()?;
/// let on_tokio = gate.on_tokio();
/// let ada = on_tokio.create_user(NewUser::new("ada").password("correct horse battery staple")).await?;
/// let read = on_tokio
///     .run(move |gate| {
///         let read = gate.permissions().define("report:read")?;
///         let viewer = gate.roles().create("viewer", [read])?;
///         gate.roles().assign(ada.id, viewer)?;
///         Ok(read)
///     })
///     .await?;
/// let who = Credentials::password("ada", "correct horse battery staple");
/// let login = on_tokio.login(who, Client::new()).await?;
/// assert!(gate.authenticate(login.token())?.can(read)); // no await: it takes nanoseconds
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AsyncPortcullis {
    gate: Portcullis,
}

impl Portcullis {
    /// The same database for the tasks of a tokio runtime.
    #[must_use]
    pub fn on_tokio(&self) -> AsyncPortcullis {
        AsyncPortcullis { gate: self.clone() }
    }
}

impl AsyncPortcullis {
    /// The blocking handle, for checks.
    #[must_use]
    pub fn gate(&self) -> &Portcullis {
        &self.gate
    }

    /// As [`Users::create`](crate::Users::create).
    ///
    /// # Errors
    /// As [`Users::create`](crate::Users::create), and as [`run`](Self::run).
    pub async fn create_user(&self, new: NewUser) -> Result<User> {
        if new.password.is_none() {
            return self.run(move |gate| gate.users().create(new)).await;
        }
        self.admitted(Source::Administration, move |gate| gate.users().create(new), drop).await
    }

    /// As [`Users::create_many`](crate::Users::create_many). It holds no permit of the admission gate from one password
    /// to the next, so that others get in between.
    ///
    /// # Errors
    /// As [`Users::create_many`](crate::Users::create_many), and as [`run`](Self::run).
    pub async fn create_users(&self, new: Vec<NewUser>) -> Result<Vec<User>> {
        self.run(move |gate| gate.users().create_many(new)).await
    }

    /// As [`Users::set_password`](crate::Users::set_password).
    ///
    /// # Errors
    /// As [`Users::set_password`](crate::Users::set_password), and as [`run`](Self::run).
    pub async fn set_password(&self, id: UserId, password: impl Into<String>) -> Result<()> {
        let password = SecretText::new(password);
        let set = move |gate: &Portcullis| gate.users().set_password(id, password.expose());
        self.hashing(Source::Administration, set, drop).await
    }

    /// Runs any call that may wait for the disk, such as a change or a listing, on a thread that may block. At most 32
    /// of them run at once; the others wait as tasks, first come first served, without a limit of time.
    ///
    /// A password hash that is computed in it waits with the thread: take the call of this handle that computes one, or
    /// [`run_admitted`](Self::run_admitted) where there is none.
    ///
    /// # Errors
    /// Those of the call; `Stopped` where the runtime shuts down before the call is done; `InvalidInput` outside a tokio
    /// runtime.
    pub async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Portcullis) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.on_a_thread(Source::Administration, call, drop).await
    }

    /// Runs a call that computes a password hash, as a client of that address asked for it. It is admitted first and
    /// keeps its permit for all hashes of the call; for a call with many hashes take [`run`](Self::run), or others wait
    /// until it is done.
    ///
    /// # Errors
    /// `Busy` where the admission gate turns it away; as [`run`](Self::run).
    pub async fn run_admitted<T: Send + 'static>(
        &self,
        address: Option<IpAddr>,
        call: impl FnOnce(&Portcullis) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.admitted(Source::of(address), call, drop).await
    }

    /// A call that computes a password hash, unless it is refused before: tried first without waiting for anything, and,
    /// if it would have to, run again from its beginning when it is admitted. What it returns is undone where nobody waits
    /// for it.
    async fn hashing<T, F>(
        &self,
        source: Source,
        call: F,
        undo: impl FnOnce(T) + Clone + Send + Unpin + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Portcullis) -> Result<T> + Send + 'static,
    {
        let first = move |gate: &Portcullis| match trial::without_waiting(|| call(gate)) {
            Some(done) => done.map(Tried::Done),
            None => Ok(Tried::WouldWait(call)),
        };
        let unclaimed = undo.clone();
        let forget = move |tried| {
            if let Tried::Done(value) = tried {
                unclaimed(value);
            }
        };
        match self.on_a_thread(source, first, forget).await? {
            Tried::Done(value) => Ok(value),
            Tried::WouldWait(call) => self.admitted(source, call, undo).await,
        }
    }

    /// A call that waits for no hash.
    async fn on_a_thread<T: Send + 'static>(
        &self,
        source: Source,
        call: impl FnOnce(&Portcullis) -> Result<T> + Send + 'static,
        undo: impl FnOnce(T) + Clone + Send + Unpin + 'static,
    ) -> Result<T> {
        let runtime = runtime()?;
        let permit = self.gate.entering_call(source).await?;
        let gate = self.gate.clone();
        let call = move || {
            let _permit = permit;
            call(&gate)
        };
        Handoff::begin(runtime, call, undo).claim().await
    }

    async fn admitted<T: Send + 'static>(
        &self,
        source: Source,
        call: impl FnOnce(&Portcullis) -> Result<T> + Send + 'static,
        undo: impl FnOnce(T) + Clone + Send + Unpin + 'static,
    ) -> Result<T> {
        let runtime = runtime()?;
        let permit: Permit = self.gate.entering_hash(source)?.await?;
        let gate = self.gate.clone();
        Handoff::begin(runtime, move || permit.during(|| call(&gate)), undo).claim().await
    }
}

/// What became of a call that was tried without waiting.
enum Tried<T, F> {
    Done(T),
    WouldWait(F),
}

fn runtime() -> Result<Handle> {
    Handle::try_current()
        .map_err(|error| Error::invalid("runtime", "is not there: await this on tokio").caused_by(error))
}

/// A call on another thread, and whoever waits for what it returns. That is handed over, or undone, and never lost.
struct Handoff<T: Send + 'static, U: FnOnce(T) + Send + 'static> {
    answer: oneshot::Receiver<Result<T>>,
    call: JoinHandle<()>,
    undo: Option<U>,
    runtime: Handle,
}

impl<T: Send + 'static, U: FnOnce(T) + Clone + Send + Unpin + 'static> Handoff<T, U> {
    fn begin(runtime: Handle, call: impl FnOnce() -> Result<T> + Send + 'static, undo: U) -> Self {
        let (sender, answer) = oneshot::channel();
        let unclaimed = undo.clone();
        let call = runtime.spawn_blocking(move || {
            if let Err(Ok(value)) = sender.send(call()) {
                unclaimed(value);
            }
        });
        Self { answer, call, undo: Some(undo), runtime }
    }

    async fn claim(mut self) -> Result<T> {
        if let Ok(answer) = (&mut self.answer).await {
            return answer;
        }
        match (&mut self.call).await {
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            _ => Err(Error::stopped("the tokio runtime shut down before the call was done")),
        }
    }
}

impl<T: Send + 'static, U: FnOnce(T) + Send + 'static> Drop for Handoff<T, U> {
    fn drop(&mut self) {
        // A call that has not begun never will; one that has goes on and finds nobody to give its value to.
        self.call.abort();
        self.answer.close();
        if let (Ok(Ok(value)), Some(undo)) = (self.answer.try_recv(), self.undo.take()) {
            self.runtime.spawn_blocking(move || undo(value));
        }
    }
}

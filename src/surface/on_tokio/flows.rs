//! Logins from their first step to their last, and what one-time tokens do with passwords.

use super::AsyncPortcullis;
use crate::crypto::Source;
use crate::engine::{Answer, CodeToSend, Credentials, Login, LoginStep, PasswordReset, Portcullis};
use crate::error::Result;
use crate::id::{FactorId, RoleId, UserId};
use crate::secret::SecretText;
use crate::session::Client;

impl AsyncPortcullis {
    /// As [`Portcullis::login`].
    ///
    /// # Errors
    /// As [`Portcullis::login`], and as [`run`](Self::run).
    pub async fn login(&self, credentials: Credentials, client: Client) -> Result<Login> {
        self.log_in(Source::of(client.source()), move |gate| gate.login(&credentials, &client)).await
    }

    /// As [`Portcullis::login_with_roles`].
    ///
    /// # Errors
    /// As [`Portcullis::login_with_roles`], and as [`run`](Self::run).
    pub async fn login_with_roles(
        &self,
        credentials: Credentials,
        client: Client,
        roles: impl IntoIterator<Item = RoleId>,
    ) -> Result<Login> {
        let (source, roles) = (Source::of(client.source()), roles.into_iter().collect::<Vec<_>>());
        let log_in =
            move |gate: &Portcullis| gate.login_with_roles(&credentials, &client, roles.iter().copied());
        self.log_in(source, log_in).await
    }

    /// As [`Portcullis::start_login`].
    ///
    /// # Errors
    /// As [`Portcullis::start_login`], and as [`run`](Self::run).
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{Answer, Client, Credentials, LoginStep, NewUser, Portcullis};
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    /// # runtime.block_on(async {
    /// let gate = Portcullis::builder().danger_fast_password_hashes().in_memory()?; // for this test only
    /// let on_tokio = gate.on_tokio();
    /// let invited = NewUser::new("ada").password("correct horse battery staple").must_change_password();
    /// on_tokio.create_user(invited).await?;
    /// let who = Credentials::password("ada", "correct horse battery staple");
    /// let step = on_tokio.start_login(who, Client::new()).await?;
    /// let LoginStep::MustChangePassword(challenge) = step else { panic!("another password is asked for") };
    /// let answer = Answer::new_password("another horse, another battery");
    /// let login = on_tokio.answer(challenge.token().as_str(), answer, Client::new()).await?.done()?;
    /// assert!(gate.authenticate(login.token()).is_ok());
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub async fn start_login(&self, credentials: Credentials, client: Client) -> Result<LoginStep> {
        let source = Source::of(client.source());
        self.take_step(source, move |gate| gate.start_login(&credentials, &client)).await
    }

    /// As [`Portcullis::answer`]. An answer that computes no hash, such as a code of an authenticator app, waits for none.
    ///
    /// # Errors
    /// As [`Portcullis::answer`], and as [`run`](Self::run).
    pub async fn answer(
        &self,
        challenge: impl Into<String>,
        answer: Answer,
        client: Client,
    ) -> Result<LoginStep> {
        let (source, challenge) = (Source::of(client.source()), SecretText::new(challenge));
        self.take_step(source, move |gate| gate.answer(challenge.expose(), &answer, &client)).await
    }

    /// As [`Portcullis::send_code`].
    ///
    /// # Errors
    /// As [`Portcullis::send_code`], and as [`run`](Self::run).
    pub async fn send_code(&self, challenge: impl Into<String>, factor: FactorId) -> Result<CodeToSend> {
        let challenge = SecretText::new(challenge);
        let send = move |gate: &Portcullis| gate.send_code(challenge.expose(), factor);
        self.hashing(Source::Unknown, send, drop).await
    }

    /// As [`Portcullis::change_password`]. Where nobody waits for it any more, the password is changed all the same, and the
    /// new session is ended.
    ///
    /// # Errors
    /// As [`Portcullis::change_password`], and as [`run`](Self::run).
    pub async fn change_password(
        &self,
        token: impl Into<String>,
        present: impl Into<String>,
        new: impl Into<String>,
        client: Client,
    ) -> Result<Login> {
        let (token, present, new) = (SecretText::new(token), SecretText::new(present), SecretText::new(new));
        let source = Source::of(client.source());
        let change = move |gate: &Portcullis| {
            gate.change_password(token.expose(), present.expose(), new.expose(), &client)
        };
        self.log_in(source, change).await
    }

    /// As [`Tickets::reset_password`](crate::Tickets::reset_password).
    ///
    /// # Errors
    /// As [`Tickets::reset_password`](crate::Tickets::reset_password), and as [`run`](Self::run).
    pub async fn reset_password(
        &self,
        token: impl Into<String>,
        password: impl Into<String>,
        factor: Option<Answer>,
        client: Client,
    ) -> Result<PasswordReset> {
        let (token, password) = (SecretText::new(token), SecretText::new(password));
        let source = Source::of(client.source());
        let reset = move |gate: &Portcullis| {
            gate.tickets().reset_password(token.expose(), password.expose(), factor.as_ref(), &client)
        };
        self.hashing(source, reset, drop).await
    }

    /// As [`Tickets::reset_password_and_keep_sessions`](crate::Tickets::reset_password_and_keep_sessions).
    ///
    /// # Errors
    /// As [`Tickets::reset_password`](crate::Tickets::reset_password), and as [`run`](Self::run).
    pub async fn reset_password_and_keep_sessions(
        &self,
        token: impl Into<String>,
        password: impl Into<String>,
        factor: Option<Answer>,
        client: Client,
    ) -> Result<PasswordReset> {
        let (token, password) = (SecretText::new(token), SecretText::new(password));
        let source = Source::of(client.source());
        let reset = move |gate: &Portcullis| {
            let (token, password) = (token.expose(), password.expose());
            gate.tickets().reset_password_and_keep_sessions(token, password, factor.as_ref(), &client)
        };
        self.hashing(source, reset, drop).await
    }

    /// As [`Tickets::send_reset_code`](crate::Tickets::send_reset_code).
    ///
    /// # Errors
    /// As [`Tickets::send_reset_code`](crate::Tickets::send_reset_code), and as [`run`](Self::run).
    pub async fn send_reset_code(
        &self,
        token: impl Into<String>,
        factor: FactorId,
        client: Client,
    ) -> Result<CodeToSend> {
        let (source, token) = (Source::of(client.source()), SecretText::new(token));
        let send = move |gate: &Portcullis| gate.tickets().send_reset_code(token.expose(), factor, &client);
        self.hashing(source, send, drop).await
    }

    /// As [`Tickets::accept_invitation`](crate::Tickets::accept_invitation).
    ///
    /// # Errors
    /// As [`Tickets::accept_invitation`](crate::Tickets::accept_invitation), and as [`run`](Self::run).
    pub async fn accept_invitation(
        &self,
        token: impl Into<String>,
        password: impl Into<String>,
        client: Client,
    ) -> Result<UserId> {
        let (token, password) = (SecretText::new(token), SecretText::new(password));
        let source = Source::of(client.source());
        let accept = move |gate: &Portcullis| {
            gate.tickets().accept_invitation(token.expose(), password.expose(), &client)
        };
        self.hashing(source, accept, drop).await
    }

    async fn log_in(
        &self,
        source: Source,
        login: impl Fn(&Portcullis) -> Result<Login> + Send + 'static,
    ) -> Result<Login> {
        let gate = self.gate.clone();
        self.hashing(source, login, move |login| gate.forget_login(&login)).await
    }

    async fn take_step(
        &self,
        source: Source,
        step: impl Fn(&Portcullis) -> Result<LoginStep> + Send + 'static,
    ) -> Result<LoginStep> {
        let gate = self.gate.clone();
        let forget = move |step| {
            if let LoginStep::Done(login) = step {
                gate.forget_login(&login);
            }
        };
        self.hashing(source, step, forget).await
    }
}

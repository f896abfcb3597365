//! Magic links: a login by what was sent to an e-mail address.

use super::redeem::{Good, Refused, examine};
use super::{IssuedTicket, Tickets};
use crate::assurance::{Method, Methods};
use crate::crypto::{Digest, OneTimeToken, Presented, Purpose};
use crate::engine::Engine;
use crate::engine::login::{LoginStep, Proved};
use crate::engine::throttle::{Admission, Attempt};
use crate::error::Result;
use crate::session::Client;
use crate::ticket::TicketPurpose;

/// What came of asking for a magic link.
#[derive(Debug)]
pub struct MagicLink {
    browser: OneTimeToken,
    issued: Option<IssuedTicket>,
}

impl MagicLink {
    /// What the browser that asked must present with the link: set it as a cookie (`HttpOnly`, `Secure`, `SameSite=Lax`),
    /// also where nobody is sent anything, so that the answer does not tell.
    #[must_use]
    pub fn browser(&self) -> &OneTimeToken {
        &self.browser
    }

    /// The token to send; `None` where no account gets one.
    #[must_use]
    pub fn issued(&self) -> Option<&IssuedTicket> {
        self.issued.as_ref()
    }
}

/// A magic link as somebody presents it, with what the browser has.
pub(in crate::engine) struct PresentedLink<'p> {
    pub(super) token: &'p str,
    browser: Option<&'p str>,
}

impl PresentedLink<'_> {
    /// Why the link is not good in this browser, if it is not.
    pub(super) fn refused_for(&self, good: &Good) -> Option<Refused> {
        let due = Digest(good.ticket.record.browser?);
        let reason = match self.browser.map(|browser| Presented::parse_as(Purpose::Browser, browser)) {
            Some(Some(presented)) if presented.digest() == due => return None,
            None => "presented without what the browser that asked for it has",
            Some(_) => "presented by another browser than the one that asked for it",
        };
        Some(Refused::of(&good.ticket.record, reason))
    }
}

impl Tickets<'_> {
    /// Issues a link that logs in whoever has that login name or verified e-mail address, in the browser that asks for it
    /// and in no other one (OWASP ASVS 5.0 6.6.2).
    ///
    /// Answer the stranger who asks in the same words whatever this returns, and send the mail after the answer, so that
    /// its time does not tell. Limit how often a source and an account may ask.
    ///
    /// # Errors
    /// `InvalidInput` for a client detail that breaks a rule; the storage kinds.
    pub fn request_magic_link(&self, name: &str, client: &Client) -> Result<MagicLink> {
        let engine = self.gate.engine();
        let (browser, _, digest) = OneTimeToken::mint(&*engine.entropy, Purpose::Browser)?;
        let issued = engine.request(TicketPurpose::MagicLink, name, Some(digest.0), client)?;
        Ok(MagicLink { browser, issued })
    }

    /// Issues a link that logs in from any browser, such as one that is asked for on one device and opened on another.
    ///
    /// Whoever comes by the link can use it: who forwards the mail gives the account away, and so does somebody who is
    /// talked into reading it out. A link that is presented a second time may be in two hands: what was opened by it, and
    /// by later links, ends then (OWASP ASVS 5.0 10.4.2).
    ///
    /// # Errors
    /// As [`request_magic_link`](Self::request_magic_link).
    pub fn danger_request_unbound_magic_link(
        &self,
        name: &str,
        client: &Client,
    ) -> Result<Option<IssuedTicket>> {
        self.gate.engine().request(TicketPurpose::MagicLink, name, None, client)
    }

    /// Logs in by a magic link, as by one factor: second factors, the demands of roles and context rules are asked for as
    /// after a password. `browser` is what [`MagicLink::browser`] had the browser keep; a link that is bound to a browser is
    /// not spent by another one.
    ///
    /// # Errors
    /// `InvalidInput` for a client detail that breaks a rule; the storage kinds. Refusals are [`LoginStep::Denied`]: with
    /// [`Denial::Ticket`](crate::Denial::Ticket) for the link.
    ///
    /// ```
    /// # fn main() -> portcullis::Result<()> {
    /// use portcullis::{Client, ContactId, NewUser, Portcullis};
    /// let gate = Portcullis::in_memory()?;
    /// let ada = gate.users().create(NewUser::new("ada").email("ada@example.org"))?;
    /// gate.users().verify_contact(ada.id, ContactId::from_number(0))?;
    /// let link = gate.tickets().request_magic_link("ada@example.org", &Client::new())?;
    /// let mail = link.issued().expect("ada gets one");
    /// let cookie = link.browser().as_str();
    /// assert!(gate.tickets().login_with_link(mail.token(), None, &Client::new())?.done().is_err());
    /// let login = gate.tickets().login_with_link(mail.token(), Some(cookie), &Client::new())?.done()?;
    /// assert_eq!(login.user(), ada.id);
    /// # Ok(())
    /// # }
    /// ```
    pub fn login_with_link(
        &self,
        token: impl AsRef<str>,
        browser: Option<&str>,
        client: &Client,
    ) -> Result<LoginStep> {
        client.check()?;
        let engine = self.gate.engine();
        let admission = match engine.admit(&Attempt::token(client))? {
            Ok(admission) => admission,
            Err(denial) => return Ok(LoginStep::Denied(denial)),
        };
        let link = PresentedLink { token: token.as_ref(), browser };
        let good = match examine(&*engine.store, engine.now(), Purpose::MagicLink, link.token)? {
            Ok(good) => good,
            Err(refused) => return engine.deny_link(&refused, &admission),
        };
        if let Some(refused) = link.refused_for(&good) {
            return engine.deny_link(&refused, &admission);
        }
        let proved = Proved {
            user: good.user(),
            revision: None,
            methods: Methods::of(Method::MagicLink),
            verified: None,
            roles: None,
            replaces: None,
            answered: None,
            link: Some(link),
            #[cfg(feature = "passkeys")]
            assertion: None,
            admission: Some(admission),
        };
        engine.proceed(&proved, client, true)
    }
}

impl Engine {
    /// Writes down why a link is refused, and answers.
    pub(in crate::engine) fn deny_link(
        &self,
        refused: &Refused,
        admission: &Admission<'_>,
    ) -> Result<LoginStep> {
        let error = self.refuse_ticket(refused, admission);
        error.denial().map(LoginStep::Denied).ok_or(error)
    }
}

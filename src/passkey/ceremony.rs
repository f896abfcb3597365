//! The two ceremonies of the standard: what the browser is asked, and whether its answer holds.
//!
//! The crate `webauthn_rp` verifies them, step by step as sections 7.1 and 7.2 of the standard number them. It draws its
//! challenges from a generator of its own and times ceremonies by the system's clock. Here both come from the engine:
//! so a ceremony of the crate lives for the length of one call only, and is given the engine's challenge in the place of
//! the one that the crate drew.

use super::record::{CHALLENGE, PasskeyAlgorithm, PasskeyRecord};
use super::secret::HANDLE;
use super::settings::{PasskeySettings, UserVerification};
use crate::error::{Error, Result};
use crate::text;
use base64_simd::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::num::NonZeroU32;
use std::time::Duration;
use webauthn_rp::bin::{Decode, Encode};
use webauthn_rp::request::auth::{
    AllowedCredential, AllowedCredentials, AuthenticationVerificationOptions, SignatureCounterEnforcement,
};
use webauthn_rp::request::register::{
    AuthenticatorSelectionCriteria, PublicKeyCredentialUserEntity, RegistrationVerificationOptions,
    ResidentKeyRequirement, UserHandle64,
};
use webauthn_rp::request::{
    AsciiDomain, Credentials, PublicKeyCredentialDescriptor, RpId, TimedCeremony, UserVerificationRequirement,
};
use webauthn_rp::response::auth::AuthenticatorData;
use webauthn_rp::response::auth::error::AuthCeremonyErr;
use webauthn_rp::response::register::error::RegCeremonyErr;
use webauthn_rp::response::register::{CompressedPubKey, DynamicState, StaticState, UncompressedPubKey};
use webauthn_rp::response::{AuthTransports, AuthenticatorAttachment, Backup, CredentialId};
use webauthn_rp::{
    AuthenticatedCredential, DiscoverableAuthentication64, DiscoverableAuthenticationServerState,
    DiscoverableCredentialRequestOptions, NonDiscoverableAuthentication64,
    NonDiscoverableAuthenticationServerState, NonDiscoverableCredentialRequestOptions,
    PublicKeyCredentialCreationOptions, Registration, RegistrationServerState,
};

/// Longest answer of a browser, in bytes: without attestation certificates it needs some hundreds, or two thousand for a
/// large RSA key.
pub(crate) const MAX_RESPONSE: usize = 16 * 1024;
/// Longest stored public key, in bytes: RSA with 8,192 bits. A longer one costs the server more than it is worth.
const MAX_KEY: usize = 1100;

type Challenge = [u8; CHALLENGE];
type Handle = [u8; HANDLE];
type StoredKey = CompressedPubKey<[u8; 32], [u8; 32], [u8; 48], Vec<u8>>;

/// Who asks.
#[derive(Debug)]
pub(crate) struct RelyingParty {
    id: RpId,
    name: String,
    origins: Vec<String>,
    second_factor: UserVerification,
    timeout: NonZeroU32,
}

/// A credential whose registration was verified.
pub(crate) struct NewCredential {
    pub(crate) credential: Vec<u8>,
    pub(crate) key: Vec<u8>,
    pub(crate) algorithm: PasskeyAlgorithm,
    pub(crate) transports: u8,
    pub(crate) counter: u32,
    pub(crate) backup_eligible: bool,
    pub(crate) backed_up: bool,
    pub(crate) user_verified: bool,
    pub(crate) discoverable: Option<bool>,
}

/// What an assertion that holds says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) counter: u32,
    pub(crate) backed_up: bool,
    pub(crate) user_verified: bool,
}

/// An assertion as a browser presents it, decoded and not believed yet.
pub(crate) enum Presented {
    /// Of somebody whom it names itself.
    Discoverable(Box<DiscoverableAuthentication64>),
    /// Of somebody who is known.
    Known(Box<NonDiscoverableAuthentication64>),
}

/// Refuses an answer that is too long to be one, before it is looked at.
fn check_size(response: &str) -> Result<()> {
    match response.len() > MAX_RESPONSE {
        true => Err(Error::invalid(
            "response",
            format!("has {} bytes; at most {MAX_RESPONSE} are taken", response.len()),
        )),
        false => Ok(()),
    }
}

impl Presented {
    /// Decodes an assertion; `None` for anything that is not one.
    ///
    /// # Errors
    /// `InvalidInput` for one that is too long, before it is parsed.
    pub(crate) fn discoverable(response: &str) -> Result<Option<Self>> {
        check_size(response)?;
        let decoded = DiscoverableAuthentication64::from_json_relaxed(response.as_bytes()).ok();
        Ok(decoded.map(|response| Self::Discoverable(Box::new(response))))
    }

    /// The same of somebody who is known already, and whom the assertion need not name.
    pub(crate) fn known(response: &str) -> Result<Option<Self>> {
        check_size(response)?;
        let decoded = NonDiscoverableAuthentication64::from_json_relaxed(response.as_bytes()).ok();
        Ok(decoded.map(|response| Self::Known(Box::new(response))))
    }

    /// Which credential signed, as it says.
    pub(crate) fn credential(&self) -> &[u8] {
        match self {
            Self::Discoverable(response) => response.raw_id().into_inner(),
            Self::Known(response) => response.raw_id().into_inner(),
        }
    }

    fn authenticator_data(&self) -> &[u8] {
        match self {
            Self::Discoverable(response) => response.response().authenticator_data(),
            Self::Known(response) => response.response().authenticator_data(),
        }
    }
}

impl RelyingParty {
    /// The settings, if they can be right.
    pub(super) fn of(settings: &PasskeySettings) -> Result<Self> {
        let wrong = |field, message: String| Err(Error::invalid(field, message));
        let PasskeySettings { id, origins, name, second_factor, timeout } = settings;
        let domain = AsciiDomain::try_from(id.clone()).ok().filter(|_| is_host(id));
        let Some(domain) = domain else {
            return wrong(
                "passkeys.id",
                format!(
                    "\"{id}\" is not a domain in lower case, such as example.org; leave scheme and port out"
                ),
            );
        };
        if origins.is_empty() {
            return wrong("passkeys.origins", "is empty; name the origin of the login page".to_owned());
        }
        if let Some(bad) = origins.iter().find(|origin| !is_origin(origin)) {
            return wrong(
                "passkeys.origins",
                format!(
                    "\"{bad}\" is not an origin as browsers write it, such as https://login.example.org; without a path, \
                     in lower case, and https unless it is localhost"
                ),
            );
        }
        let name = name.clone().unwrap_or_else(|| id.clone());
        text::name("passkeys.name", &name)?;
        if !(Duration::from_secs(30)..=Duration::from_secs(600)).contains(timeout) {
            return wrong("passkeys.timeout", format!("is {timeout:?}; 30 seconds to 10 minutes are taken"));
        }
        let timeout = u32::try_from(timeout.as_millis()).ok().and_then(NonZeroU32::new);
        let timeout = timeout.unwrap_or(NonZeroU32::MIN);
        let (origins, second_factor) = (origins.clone(), *second_factor);
        Ok(Self { id: RpId::Domain(domain), name, origins, second_factor, timeout })
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(u64::from(self.timeout.get()))
    }

    pub(crate) const fn second_factor(&self) -> UserVerification {
        self.second_factor
    }

    /// The crate's ceremony of a registration, and what goes to the browser.
    fn creation(
        &self,
        challenge: &Challenge,
        handle: &Handle,
        exclude: Vec<PublicKeyCredentialDescriptor<Vec<u8>>>,
    ) -> Result<(RegistrationServerState<HANDLE>, Value)> {
        let handle = UserHandle64::decode(*handle).map_err(|_| unable())?;
        let entity = PublicKeyCredentialUserEntity::from(&handle);
        let mut options = PublicKeyCredentialCreationOptions::second_factor(&self.id, entity, exclude);
        options.timeout = self.timeout;
        options.authenticator_selection = AuthenticatorSelectionCriteria {
            resident_key: ResidentKeyRequirement::Preferred,
            user_verification: match self.second_factor {
                UserVerification::Required => UserVerificationRequirement::Required,
                UserVerification::Preferred | UserVerification::Discouraged => {
                    UserVerificationRequirement::Preferred
                }
            },
            ..options.authenticator_selection
        };
        let (state, client) = options.start_ceremony().map_err(|_| unable())?;
        let json = with_challenge(serde_json::to_value(&client), challenge)?;
        let bytes = state.encode().map_err(|_| unable())?;
        let planted = planted(bytes, &state, challenge)?;
        Ok((RegistrationServerState::decode(&planted).map_err(|_| unable())?, json))
    }

    /// What the browser is asked for a new passkey.
    pub(crate) fn creation_options(
        &self,
        challenge: &Challenge,
        handle: &Handle,
        login: &str,
        held: &[&PasskeyRecord],
    ) -> Result<String> {
        let exclude = held.iter().map(|record| descriptor(record)).collect::<Result<_>>()?;
        let (_, mut options) = self.creation(challenge, handle, exclude)?;
        for (object, field, value) in
            [("rp", "name", self.name.as_str()), ("user", "name", login), ("user", "displayName", login)]
        {
            let object = options.get_mut(object).and_then(Value::as_object_mut).ok_or_else(unable)?;
            object.insert(field.to_owned(), json!(value));
        }
        Ok(options.to_string())
    }

    /// Whether a browser's answer registers a credential.
    ///
    /// # Errors
    /// `InvalidInput` for the field `response`, with what is wrong with it.
    pub(crate) fn verify_creation(
        &self,
        challenge: &Challenge,
        handle: &Handle,
        response: &str,
    ) -> Result<NewCredential> {
        check_size(response)?;
        let invalid = |why: &str| Error::invalid("response", why);
        let registration =
            Registration::from_json_relaxed(response.as_bytes()).map_err(|_| invalid(NO_RESPONSE))?;
        let (state, _) = self.creation(challenge, handle, Vec::new())?;
        let options = RegistrationVerificationOptions::<String, String> {
            allowed_origins: &self.origins,
            // Authenticators and browsers add extensions that nobody asked for; the standard has a relying party
            // expect that (section 7.1, step 27).
            error_on_unsolicited_extensions: false,
            ..RegistrationVerificationOptions::default()
        };
        let verified = state
            .verify(&self.id, &registration, &options)
            .map_err(|error| invalid(reason_against_creation(&error)))?;
        let (id, transports, _, fixed, changing, metadata) = verified.into_parts();
        let (Ok(key), Ok(transports)) = (fixed.encode(), transports.encode());
        if key.len() > MAX_KEY {
            return Err(invalid("the public key is longer than 8,192 bits"));
        }
        let backup = changing.backup;
        Ok(NewCredential {
            credential: id.into_inner().to_vec(),
            key,
            algorithm: match fixed.credential_public_key {
                UncompressedPubKey::Ed25519(_) => PasskeyAlgorithm::EdDsa,
                UncompressedPubKey::P256(_) => PasskeyAlgorithm::Es256,
                UncompressedPubKey::P384(_) => PasskeyAlgorithm::Es384,
                UncompressedPubKey::Rsa(_) => PasskeyAlgorithm::Rs256,
            },
            transports,
            counter: changing.sign_count,
            backup_eligible: !matches!(backup, Backup::NotEligible),
            backed_up: matches!(backup, Backup::Exists),
            user_verified: changing.user_verified,
            discoverable: metadata.client_extension_results.cred_props.and_then(|properties| properties.rk),
        })
    }

    /// The crate's ceremony of a login by somebody who is not known yet.
    fn discovery(&self, challenge: &Challenge) -> Result<(DiscoverableAuthenticationServerState, Value)> {
        // This one requires that the user is verified.
        let mut options = DiscoverableCredentialRequestOptions::passkey(&self.id);
        options.0.timeout = self.timeout;
        let (state, client) = options.start_ceremony().map_err(|_| unable())?;
        let json = with_challenge(serde_json::to_value(&client), challenge)?;
        let bytes = state.encode().map_err(|_| unable())?;
        let planted = planted(bytes, &state, challenge)?;
        Ok((DiscoverableAuthenticationServerState::decode(&planted).map_err(|_| unable())?, json))
    }

    /// The crate's ceremony of an assertion by somebody who is known.
    fn assertion(
        &self,
        challenge: &Challenge,
        verification: UserVerification,
        allowed: &[&PasskeyRecord],
    ) -> Result<(NonDiscoverableAuthenticationServerState, Value)> {
        let mut credentials = AllowedCredentials::with_capacity(allowed.len());
        for record in allowed {
            credentials.push(AllowedCredential::from(descriptor(record)?));
        }
        let mut options = NonDiscoverableCredentialRequestOptions::second_factor(&self.id, credentials)
            .map_err(|_| unable())?;
        options.options().timeout = self.timeout;
        options.options().user_verification = match verification {
            UserVerification::Required => UserVerificationRequirement::Required,
            UserVerification::Preferred => UserVerificationRequirement::Preferred,
            UserVerification::Discouraged => UserVerificationRequirement::Discouraged,
        };
        let (state, client) = options.start_ceremony().map_err(|_| unable())?;
        let json = with_challenge(serde_json::to_value(&client), challenge)?;
        let bytes = state.encode().map_err(|_| unable())?;
        let planted = planted(bytes, &state, challenge)?;
        Ok((NonDiscoverableAuthenticationServerState::decode(&planted).map_err(|_| unable())?, json))
    }

    /// What the browser is asked for a login by whoever is there.
    pub(crate) fn discovery_options(&self, challenge: &Challenge) -> Result<String> {
        Ok(self.discovery(challenge)?.1.to_string())
    }

    /// What the browser is asked for an assertion by one of these passkeys.
    pub(crate) fn assertion_options(
        &self,
        challenge: &Challenge,
        verification: UserVerification,
        allowed: &[&PasskeyRecord],
    ) -> Result<String> {
        Ok(self.assertion(challenge, verification, allowed)?.1.to_string())
    }

    /// Whether the passkey signed this challenge, for this relying party; or why not, in words that quote nothing of the
    /// response.
    pub(crate) fn verify(
        &self,
        challenge: &Challenge,
        verification: UserVerification,
        handle: &Handle,
        record: &PasskeyRecord,
        presented: &Presented,
    ) -> Result<Result<Seen, &'static str>> {
        let unreadable = |_| Error::damaged("the key of a passkey does not decode");
        let handle = UserHandle64::decode(*handle).map_err(|_| unable())?;
        let fixed = StaticState::<StoredKey>::decode(record.key.as_slice()).map_err(|_| unreadable(()))?;
        let changing = DynamicState {
            user_verified: record.user_verified,
            backup: match (record.backup_eligible, record.backed_up) {
                (false, _) => Backup::NotEligible,
                (true, false) => Backup::Eligible,
                (true, true) => Backup::Exists,
            },
            sign_count: record.counter,
            authenticator_attachment: AuthenticatorAttachment::None,
        };
        let id = CredentialId::<&[u8]>::decode(&record.credential).map_err(|_| unreadable(()))?;
        let mut credential =
            AuthenticatedCredential::new(id, &handle, fixed, changing).map_err(|_| unreadable(()))?;
        let options = AuthenticationVerificationOptions::<String, String> {
            allowed_origins: &self.origins,
            error_on_unsolicited_extensions: false,
            // The engine decides about the counter, inside the commit.
            sig_counter_enforcement: SignatureCounterEnforcement::Update,
            ..AuthenticationVerificationOptions::default()
        };
        let verified = match presented {
            Presented::Discoverable(response) => {
                self.discovery(challenge)?.0.verify(&self.id, response, &mut credential, &options)
            }
            Presented::Known(response) => {
                let (state, _) = self.assertion(challenge, verification, &[record])?;
                state.verify(&self.id, response, &mut credential, &options)
            }
        };
        if let Err(error) = verified {
            return Ok(Err(reason_against_assertion(&error)));
        }
        let data = AuthenticatorData::try_from(presented.authenticator_data()).map_err(|_| unable())?;
        Ok(Ok(Seen {
            counter: data.sign_count(),
            backed_up: matches!(data.flags().backup, Backup::Exists),
            user_verified: data.flags().user_verified,
        }))
    }
}

fn descriptor(record: &PasskeyRecord) -> Result<PublicKeyCredentialDescriptor<Vec<u8>>> {
    let unreadable = || Error::damaged("the credential of a passkey does not decode");
    Ok(PublicKeyCredentialDescriptor {
        id: CredentialId::<Vec<u8>>::decode(record.credential.clone()).map_err(|_| unreadable())?,
        transports: AuthTransports::decode(record.transports).map_err(|_| unreadable())?,
    })
}

/// A domain in lower case, in its form for the wire.
fn is_host(text: &str) -> bool {
    let letters = |label: &str| label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    text.split('.').all(|label| !label.is_empty() && letters(label))
}

/// An origin as browsers write it.
fn is_origin(text: &str) -> bool {
    let local = |host: &str| host == "localhost" || host.ends_with(".localhost");
    let rest = match text.split_once("://") {
        None => return text.strip_prefix("android:apk-key-hash:").is_some_and(|hash| hash.len() == 43),
        Some(("https", rest)) => rest,
        Some(("http", rest)) if local(rest.split(':').next().unwrap_or_default()) => rest,
        Some(_) => return false,
    };
    let (host, port) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
    is_host(host)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number.to_string() == port))
}

/// The options for the browser with this challenge.
fn with_challenge(options: serde_json::Result<Value>, challenge: &Challenge) -> Result<Value> {
    let mut options = options.map_err(|_| unable())?;
    let object = options.as_object_mut().ok_or_else(unable)?;
    object.insert("challenge".to_owned(), json!(URL_SAFE_NO_PAD.encode_to_string(challenge)));
    Ok(options)
}

/// A ceremony's encoding with our challenge in the place of the crate's. Where that does not stand in it exactly once,
/// there is no ceremony.
fn planted(mut encoded: Vec<u8>, state: &impl TimedCeremony, challenge: &Challenge) -> Result<Vec<u8>> {
    let drawn = state.sent_challenge().0.to_le_bytes();
    let mut places = (0..).zip(encoded.windows(CHALLENGE)).filter(|(_, part)| *part == drawn);
    let (Some((at, _)), None) = (places.next(), places.next()) else { return Err(unable()) };
    encoded.get_mut(at..at + CHALLENGE).ok_or_else(unable)?.copy_from_slice(challenge);
    Ok(encoded)
}

/// What can not happen with settings that were checked, and is no reason to stop the process.
fn unable() -> Error {
    Error::invalid("passkeys", "the ceremony could not be put together; try again")
}

const NO_RESPONSE: &str = "is not a credential of the standard, in JSON as its toJSON makes it";

fn reason_against_creation(error: &RegCeremonyErr) -> &'static str {
    match error {
        RegCeremonyErr::OriginMismatch => "comes from an origin that is not among the settings",
        RegCeremonyErr::CrossOrigin | RegCeremonyErr::TopOriginMismatch => {
            "comes from a frame of another origin"
        }
        RegCeremonyErr::ChallengeMismatch => "answers another challenge",
        RegCeremonyErr::RpIdHashMismatch => "is for another relying party",
        RegCeremonyErr::UserNotPresent => "was made without anybody present",
        RegCeremonyErr::UserNotVerified => "was made without verifying the user",
        RegCeremonyErr::AttestationSignature => "has a signature that does not verify",
        RegCeremonyErr::PubKey(_) => "has a public key that is none",
        _ => "does not follow the standard",
    }
}

fn reason_against_assertion(error: &AuthCeremonyErr) -> &'static str {
    match error {
        AuthCeremonyErr::OriginMismatch => "the assertion comes from another origin",
        AuthCeremonyErr::CrossOrigin | AuthCeremonyErr::TopOriginMismatch => {
            "the assertion comes from a frame of another origin"
        }
        AuthCeremonyErr::ChallengeMismatch => "the assertion answers another challenge",
        AuthCeremonyErr::RpIdHashMismatch => "the assertion is for another relying party",
        AuthCeremonyErr::UserNotVerified => "the authenticator did not verify the user",
        AuthCeremonyErr::AssertionSignature => "the signature does not verify",
        AuthCeremonyErr::UserHandleMismatch => "the assertion names another user",
        AuthCeremonyErr::BackupEligible | AuthCeremonyErr::BackupNotEligible => {
            "the passkey's eligibility for backup changed"
        }
        _ => "the assertion does not follow the standard",
    }
}

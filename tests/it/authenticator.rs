//! An authenticator and a browser in software, for tests of passkeys: what W3C Web Authentication Level 3 has them do in
//! sections 5.8.1, 6.1 and 6.5, with switches for what they must not do.

use data_encoding::BASE64URL_NOPAD;
use p256::ecdsa::signature::Signer as _;
use rsa::sha2::{Digest as _, Sha256};
use rsa::signature::SignatureEncoding as _;
use serde_json::{Value, json};

pub(crate) const RP: &str = "example.org";
pub(crate) const ORIGIN: &str = "https://login.example.org";

pub(crate) const UP: u8 = 1;
pub(crate) const UV: u8 = 4;
pub(crate) const BE: u8 = 8;
pub(crate) const BS: u8 = 16;
const AT: u8 = 64;

/// The private key of a credential.
#[derive(Clone)]
pub(crate) enum PrivateKey {
    Es256(p256::ecdsa::SigningKey),
    EdDsa(ed25519_dalek::SigningKey),
    Rs256(Box<rsa::RsaPrivateKey>),
}

/// Random bytes that a seed determines, as the key generation of `rsa` wants them.
struct Stream(blake3::OutputReader);

impl rsa::rand_core::RngCore for Stream {
    fn next_u32(&mut self) -> u32 {
        rsa::rand_core::impls::next_u32_via_fill(self)
    }
    fn next_u64(&mut self) -> u64 {
        rsa::rand_core::impls::next_u64_via_fill(self)
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.0.fill(bytes);
        Ok(())
    }
}
impl rsa::rand_core::CryptoRng for Stream {}

fn seed(name: &str) -> [u8; 32] {
    blake3::hash(name.as_bytes()).into()
}

impl PrivateKey {
    pub(crate) fn es256(name: &str) -> Self {
        Self::Es256(p256::ecdsa::SigningKey::from_slice(&seed(name)).unwrap())
    }

    pub(crate) fn ed_dsa(name: &str) -> Self {
        Self::EdDsa(ed25519_dalek::SigningKey::from_bytes(&seed(name)))
    }

    pub(crate) fn rs256(name: &str) -> Self {
        let mut stream = Stream(blake3::Hasher::new().update(name.as_bytes()).finalize_xof());
        Self::Rs256(Box::new(rsa::RsaPrivateKey::new(&mut stream, 2048).unwrap()))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Es256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
            Self::EdDsa(key) => key.sign(message).to_bytes().to_vec(),
            Self::Rs256(key) => {
                let key = rsa::pkcs1v15::SigningKey::<Sha256>::new((**key).clone());
                key.sign(message).to_vec()
            }
        }
    }

    /// The public half as a COSE key (RFC 9052, section 7), in CTAP2's canonical order.
    fn cose(&self) -> Vec<u8> {
        match self {
            Self::Es256(key) => {
                let point = key.verifying_key().to_encoded_point(false);
                let mut cose = vec![0xA5, 1, 2, 3, 0x26, 0x20, 1, 0x21];
                bytes(&mut cose, point.x().unwrap());
                cose.push(0x22);
                bytes(&mut cose, point.y().unwrap());
                cose
            }
            Self::EdDsa(key) => {
                let mut cose = vec![0xA4, 1, 1, 3, 0x27, 0x20, 6, 0x21];
                bytes(&mut cose, key.verifying_key().as_bytes());
                cose
            }
            Self::Rs256(key) => {
                use rsa::traits::PublicKeyParts as _;
                let mut cose = vec![0xA4, 1, 3, 3, 0x39, 1, 0, 0x20];
                bytes(&mut cose, &key.n().to_bytes_be());
                cose.push(0x21);
                bytes(&mut cose, &key.e().to_bytes_be());
                cose
            }
        }
    }
}

/// A CBOR byte string.
fn bytes(out: &mut Vec<u8>, data: &[u8]) {
    match data.len() {
        length @ ..24 => out.push(0x40 | length as u8),
        length @ 24..256 => out.extend([0x58, length as u8]),
        length => out.extend([0x59, (length >> 8) as u8, length as u8]),
    }
    out.extend_from_slice(data);
}

/// A text in CBOR, of less than 24 bytes.
fn text(out: &mut Vec<u8>, text: &str) {
    out.push(0x60 | text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

/// One credential on an authenticator, and the browser in front of it.
#[derive(Clone)]
pub(crate) struct Authenticator {
    pub(crate) key: PrivateKey,
    pub(crate) credential: Vec<u8>,
    pub(crate) handle: Option<Vec<u8>>,
    /// What it says next; 0 for one that does not count.
    pub(crate) counter: u32,
    pub(crate) flags: u8,
    pub(crate) rp: String,
    pub(crate) origin: String,
    pub(crate) cross_origin: bool,
    /// Signs this in the place of the challenge that it is asked for.
    pub(crate) other_challenge: Option<String>,
}

impl Authenticator {
    pub(crate) fn new(key: PrivateKey, name: &str) -> Self {
        Self {
            key,
            credential: seed(&format!("credential of {name}")).to_vec(),
            handle: None,
            counter: 0,
            flags: UP | UV,
            rp: RP.to_owned(),
            origin: ORIGIN.to_owned(),
            cross_origin: false,
            other_challenge: None,
        }
    }

    /// An ES256 credential of that name.
    pub(crate) fn named(name: &str) -> Self {
        Self::new(PrivateKey::es256(name), name)
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        let challenge = options["challenge"].as_str().unwrap();
        let challenge = self.other_challenge.as_deref().unwrap_or(challenge);
        let mut data = format!(r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{}""#, self.origin);
        data.push_str(&format!(r#","crossOrigin":{}}}"#, self.cross_origin));
        data.into_bytes()
    }

    fn authenticator_data(&self, attested: bool) -> Vec<u8> {
        let mut data = Sha256::digest(self.rp.as_bytes()).to_vec();
        data.push(self.flags | if attested { AT } else { 0 });
        data.extend(self.counter.to_be_bytes());
        if attested {
            data.extend([0; 16]);
            data.extend((self.credential.len() as u16).to_be_bytes());
            data.extend_from_slice(&self.credential);
            data.extend(self.key.cose());
        }
        data
    }

    /// `navigator.credentials.create`, as JSON.
    pub(crate) fn create(&mut self, options: &str) -> String {
        let options: Value = serde_json::from_str(options).unwrap();
        let handle = options["user"]["id"].as_str().unwrap();
        self.handle = Some(BASE64URL_NOPAD.decode(handle.as_bytes()).unwrap());
        let mut attestation = vec![0xA3];
        text(&mut attestation, "fmt");
        text(&mut attestation, "none");
        text(&mut attestation, "attStmt");
        attestation.push(0xA0);
        text(&mut attestation, "authData");
        bytes(&mut attestation, &self.authenticator_data(true));
        let id = BASE64URL_NOPAD.encode(&self.credential);
        json!({
            "id": id, "rawId": id, "type": "public-key",
            "response": {
                "clientDataJSON": BASE64URL_NOPAD.encode(&self.client_data("webauthn.create", &options)),
                "attestationObject": BASE64URL_NOPAD.encode(&attestation),
                "transports": ["internal", "hybrid"],
            },
            "clientExtensionResults": { "credProps": { "rk": true } },
            "authenticatorAttachment": "platform",
        })
        .to_string()
    }

    /// `navigator.credentials.get`, as JSON. It counts on if it counts.
    pub(crate) fn get(&mut self, options: &str) -> String {
        if self.counter > 0 {
            self.counter += 1;
        }
        self.answer(options)
    }

    /// The same with the counter as it stands.
    pub(crate) fn answer(&self, options: &str) -> String {
        let options: Value = serde_json::from_str(options).unwrap();
        let client_data = self.client_data("webauthn.get", &options);
        let data = self.authenticator_data(false);
        let mut message = data.clone();
        message.extend(Sha256::digest(&client_data));
        let id = BASE64URL_NOPAD.encode(&self.credential);
        let mut response = json!({
            "clientDataJSON": BASE64URL_NOPAD.encode(&client_data),
            "authenticatorData": BASE64URL_NOPAD.encode(&data),
            "signature": BASE64URL_NOPAD.encode(&self.key.sign(&message)),
        });
        if let Some(handle) = &self.handle {
            response["userHandle"] = json!(BASE64URL_NOPAD.encode(handle));
        }
        json!({
            "id": id, "rawId": id, "type": "public-key", "response": response,
            "clientExtensionResults": {}, "authenticatorAttachment": "platform",
        })
        .to_string()
    }
}

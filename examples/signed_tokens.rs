//! Two services: one that has the engine and issues signed tokens, and one on another machine that believes them. Here
//! they are two threads with a line between them, and nothing else in common.
//!
//! `cargo run --release --features jwt --example signed_tokens`

#![expect(clippy::print_stdout, reason = "it is a report for a person")]

use portcullis::jwt::{Issuer, SigningKeys, TokenRequest, Verifier};
use portcullis::{Client, Credentials, NewUser, Portcullis};
use std::error::Error;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const ISSUER: &str = "https://auth.example.org";
const REPORTS: &str = "https://reports.example.org";
const PASSWORD: &str = "correct horse battery staple";

/// What reaches the other machine.
enum Message {
    /// From the issuer, when keys change.
    Keys(String),
    /// From the issuer, every few seconds.
    Revocations(String),
    /// From a client, in the header of a request.
    Request(String),
}

fn main() -> Result<(), Box<dyn Error>> {
    let gate = Portcullis::in_memory()?;
    let read = gate.permissions().define("report:read")?;
    let viewer = gate.roles().create("viewer", [read])?;
    let ada = gate.users().create(NewUser::new("ada").password(PASSWORD))?.id;
    gate.roles().assign(ada, viewer)?;

    // A real seed comes from the application's secret store, and is random.
    let issuer = Issuer::new(ISSUER, SigningKeys::new(&[42; 32])?)?;
    let (line, other_end) = channel();
    line.send(Message::Keys(issuer.jwks()))?;
    line.send(Message::Revocations(issuer.revocations(&gate)?))?;

    let login = gate.login(&Credentials::password("ada", PASSWORD), &Client::new())?;
    let principal = gate.authenticate(login.token())?;
    let wanted = TokenRequest::for_audience(REPORTS).life(Duration::from_secs(120)).permissions([read]);
    let token = issuer.issue(&principal, &wanted)?;
    println!("ada's token for the reports has {} bytes and ends {}", token.as_str().len(), token.expires());
    line.send(Message::Request(token.as_str().to_owned()))?;

    gate.sessions().revoke(principal.session())?;
    line.send(Message::Request(token.as_str().to_owned()))?;
    line.send(Message::Revocations(issuer.revocations(&gate)?))?;
    line.send(Message::Request(token.as_str().to_owned()))?;
    drop(line);
    std::thread::spawn(move || reports(&other_end).map_err(|error| error.to_string()))
        .join()
        .map_err(|_| "the reports have stopped")??;
    Ok(())
}

/// The service that has no engine.
fn reports(line: &Receiver<Message>) -> Result<(), Box<dyn Error>> {
    let Message::Keys(jwks) = line.recv()? else { return Err("the keys come first".into()) };
    let verifier = Verifier::new(ISSUER, REPORTS, &jwks)?.require_feed(Duration::from_secs(60));
    for message in line {
        match message {
            Message::Keys(jwks) => verifier.replace_keys(&jwks)?,
            Message::Revocations(feed) => {
                verifier.apply(&feed)?;
                println!("reports: the feed names {} sessions", verifier.feed().map_or(0, |feed| feed.0));
            }
            Message::Request(token) => match verifier.verify(&token) {
                Ok(claims) if claims.can("report:read") => println!("reports: {} may read them", claims.user),
                Ok(claims) => println!("reports: {} may not", claims.user),
                Err(refusal) => println!("reports: 401, {refusal}"),
            },
        }
    }
    Ok(())
}

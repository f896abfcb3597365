//! What verifying a hash of another system allocates, beside what the admission gate counted for it. One test in a binary
//! of its own, since it watches the allocator of the whole process.

use portcullis::{Client, Credentials, NewUser, Portcullis, ThrottlePolicy};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KIB: usize = 1024;
/// What is not counted of a hash, and what a login takes that is refused.
const REST: usize = 256 * KIB;

#[test]
fn no_hash_allocates_more_than_the_gate_counts() {
    let digest = "A".repeat(43);
    let hashes = [
        format!("$scrypt$ln=12,r=8,p=2$c2FsdHNhbHQ${digest}"),
        format!("$scrypt$ln=10,r=8,p=500$c2FsdHNhbHQ${digest}"),
        format!("$firebase-scrypt$ln=13,r=8$Bw==$42xEC+ixf3L2lw==${}==", "A".repeat(86)),
        format!("$y$j9T$saltsalt${}", ".".repeat(43)),
        format!("$y$j75$saltsalt${}", ".".repeat(43)),
        format!("$argon2i$v=19$m=3000,t=1,p=3$c2FsdHNhbHQ${digest}"),
        format!("$argon2d$v=16$m=9,t=1,p=1$c2FsdHNhbHQ${digest}"),
        "$2b$04$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
        "{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr".to_owned(),
        "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5".to_owned(),
        format!("pbkdf2_sha256$1000$seasalt${digest}="),
    ];
    for stored in hashes {
        // A gate of its own, so that the most it ever counted is what it counted for this hash.
        let gate = Portcullis::builder()
            .danger_fast_password_hashes()
            .firebase_signer_key(
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
            )
            .throttle(ThrottlePolicy::new().danger_off())
            .in_memory()
            .unwrap();
        gate.users().create(NewUser::new("ada").password_hash(stored.as_str())).unwrap();
        let who = Credentials::password("ada", "x".repeat(1024));
        let before = Region::new(ALLOCATOR);
        if !gate.login(&who, &Client::new()).is_err_and(|error| error.is_denied()) {
            panic!("{stored} was verified with a wrong password");
        }
        let allocated = before.change().bytes_allocated;
        let counted = usize::try_from(gate.admission().peak_bytes).unwrap();
        // All that was allocated one after the other; yescrypt begins with a smaller hash, of a 64th, and frees it.
        let most = counted + counted / 64 + REST;
        assert!(allocated <= most, "{stored}: {allocated} bytes, and {counted} were counted");
        // And what is counted is there, or the memory would be kept from others for nothing.
        assert!(
            counted <= allocated + 8 * KIB,
            "{stored}: {counted} counted, and {allocated} bytes were allocated"
        );
    }
}

//! Hashes with the passwords that they belong to, each with the source that published it.

use super::super::Scheme;

/// The key of the example in Firebase's own repository (firebase/scrypt, README).
pub(super) const SIGNER: &str =
    "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==";

/// passlib's UPASS_WAV and UPASS_TABLE of `passlib/tests/test_handlers.py`.
const WAV: &str = "\u{399}\u{3c9}\u{3b1}\u{3bd}\u{3bd}\u{3b7}\u{3c2}";
const TABLE: &str = "t\u{e1}\u{411}\u{2113}\u{259}";

/// Scheme, stored string, password.
pub(super) const PUBLISHED: &[(Scheme, &str, &str)] = &[
    // Openwall crypt_blowfish, wrapper.c.
    (Scheme::Bcrypt, "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
    (Scheme::Bcrypt, "$2y$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", "U*U*U"),
    (Scheme::Bcrypt, "$2b$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy", ""),
    (
        Scheme::Bcrypt,
        "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored",
    ),
    // The same under the labels of LDAP, Dovecot, Spring Security and Django.
    (Scheme::Bcrypt, "{CRYPT}$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", "U*U*"),
    (Scheme::Bcrypt, "{blf-crypt}$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", "U*U*"),
    (Scheme::Bcrypt, "{bcrypt}$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", "U*U*"),
    (Scheme::Bcrypt, "bcrypt$$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", "U*U*"),
    // passlib, test_handlers_django.py, and the documentation of bcrypt_sha256.
    (Scheme::Bcrypt, "bcrypt_sha256$$2a$06$/3OeRpbOf8/l6nPPRdZPp.nRiyYqPobEZGdNRBWihQhiFDh1ws1tu", ""),
    (
        Scheme::Bcrypt,
        "bcrypt_sha256$$2a$08$NDjSAIcas.EcoxCRiArvT.MkNiPYVhrsrnJsRkLueZOoV1bsQqlmC",
        "l\u{e8}tmein",
    ),
    (
        Scheme::Bcrypt,
        "$bcrypt-sha256$v=2,t=2b,r=12$n79VH.0Q2TMWmt3Oqt9uku$Kq4Noyk3094Y2QlB8NdRT8SvGiI4ft2",
        "password",
    ),
    (
        Scheme::Bcrypt,
        "$bcrypt-sha256$v=2,t=2b,r=13$AmytCA45b12VeVg0YdDT3.$IZTbbJKgJlD5IJoCWhuDUqYjnJwNPlO",
        "password",
    ),
    // Django, tests/auth_tests/test_hashers.py of 1.6, and the documentation of rust-djangohashers.
    (
        Scheme::Pbkdf2,
        "pbkdf2_sha256$12000$seasalt$Ybw8zsFxqja97tY/o6G+Fy1ksY4U/Hw3DRrGED6Up4s=",
        "l\u{e8}tmein",
    ),
    (
        Scheme::Pbkdf2,
        "pbkdf2_sha256$24000$go9s3b1y1BTe$Pksk4EptJ84KDnI7ciocmhzFAb5lFoFwd6qlPOwwW4Q=",
        "KRONOS",
    ),
    (Scheme::Pbkdf2, "pbkdf2_sha1$24000$seasalt$F+kiWNHXbMBcwgxsvSKFCWHnZZ0=", "KRONOS"),
    // Keycloak, from rows of its table `credential` with known passwords: 32 and 64 bytes.
    (
        Scheme::Pbkdf2,
        "keycloak$pbkdf2-sha256$27500$0SlTWodi3ktkBhXAdCbo6A==$melJaiZVEhUuX0D3BknjCB9u6LIyHwuGMNvvpzb4UnI=",
        "admin",
    ),
    (
        Scheme::Pbkdf2,
        "keycloak$pbkdf2-sha256$27500$krBXzBh5PJPrv9ZLDpK+mA==$0eUmSm/1N6iiE/QFGURZn2zgtPxOD0sh5zPBB4taDT+XJcG7BTcr+IsVfTkEOGlkMfWftVeA11ZXmFoCGn0sXA==",
        "admin",
    ),
    // ASP.NET Core, PasswordHasherTest.cs.
    (Scheme::Pbkdf2, "AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJg==", "my password"),
    (Scheme::Pbkdf2, "AQAAAAAAAAD6AAAAEAhftMyfTJylOlZT+eEotFXd1elee8ih5WsjXaR3PA9M", "my password"),
    (
        Scheme::Pbkdf2,
        "AQAAAAEAACcQAAAAEAABAgMEBQYHCAkKCwwNDg+yWU7rLgUwPZb1Itsmra7cbxw2EFpwpVFIEtP+JIuUEw==",
        "my password",
    ),
    (Scheme::Pbkdf2, "AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4B6pZWND6zgESBuWiHw", "my password"),
    (
        Scheme::Pbkdf2,
        "AQAAAAIAAAD6AAAAIJbVi5wbMR+htSfFp8fTw8N8GOS/Sje+S/4YZcgBfU7EQuqv4OkVYmc4VJl9AGZzmRTxSkP7LtVi9IWyUxX8IAAfZ8v+ZfhjCcudtC1YERSqE1OEdXLW9VukPuJWBBjLuw==",
        "my password",
    ),
    // passlib, test_handlers.py.
    (Scheme::Pbkdf2, "$pbkdf2$1212$OB.dtnSEXZK8U5cgxU/GYQ$y5LKPOplRmok7CZp/aqVDVg8zGI", "password"),
    (Scheme::Pbkdf2, "$pbkdf2$1212$THDqatpidANpadlLeTeOEg$HV3oi1k5C5LQCgG1BMOL.BX4YZc", WAV),
    (
        Scheme::Pbkdf2,
        "$pbkdf2-sha256$1212$4vjV83LKPjQzk31VI4E0Vw$hsYF68OiOUPdDZ1Fg.fJPeq1h/gXXY7acBp9/6c.tmQ",
        "password",
    ),
    (
        Scheme::Pbkdf2,
        "$pbkdf2-sha512$1212$RHY0Fr3IDMSVO/RSZyb5ow$eNLfBK.eVozomMr.1gYa17k9B7KIK25NOEshvhrSX.esqY3s.FvWZViXz4KoLlQI.BzY/YTNJOiKc5gBYFYGww",
        "password",
    ),
    // RustCrypto, pbkdf2/src/phc.rs: the last vector of RFC 6070, with SHA-256.
    (
        Scheme::Pbkdf2,
        "$pbkdf2-sha256$i=4096,l=40$c2FsdFNBTFRzYWx0U0FMVHNhbHRTQUxUc2FsdFNBTFRzYWx0$NIyJ28vTKy8y2BS4EW6EzysXNH68GAAYHE4qH7jdU+HGNVGMfaxH6Q",
        "passwordPASSWORDpassword",
    ),
    (
        Scheme::Pbkdf2,
        "$pbkdf2-sha512$25000$O4fwPmdMyRmDUIrx/h9jTA$Xlp267ZwEbG4aOpN3Bve/ATo3rFA7WH8iMdS16Xbe9rc6P5welk1yiXEMPy7.BFp0qsncipHumaW1trCWVvq/A",
        "abcdefghijklmnop",
    ),
    // Python's hashlib, over OpenSSL.
    (
        Scheme::Pbkdf2,
        "$pbkdf2-sha512$i=4096$c2FsdFNBTFRzYWx0U0FMVHNhbHRTQUxUc2FsdFNBTFRzYWx0$jAUR9Mbll8asYxXY8DYuIl88UBSVuiO4aMAFF03E7nERW1n55gzZUy+jPg91rv4wIlxYOhhs2CvU2uqXJKPTuA",
        "passwordPASSWORDpassword",
    ),
    (
        Scheme::Pbkdf2,
        "keycloak$pbkdf2-sha512$5000$AQIDBAUGBwgBAgMEBQYHCA==$VEW0MbMjZjI677hjP3NFZ0Hd92dgcqfFbPAUQrSqJuVHXCTUSWI6EPNj3UrbYiUioC8wxNL3E54/wGGetdG8JA==",
        "correct horse",
    ),
    (
        Scheme::Pbkdf2,
        "keycloak$pbkdf2$5000$AQIDBAUGBwgBAgMEBQYHCA==$TebxC70fJ2Hty5lK6HCR/P7q9ANxGqci0bAKShneA+yZHF8wg96X6GRIiIeDL9kkyXzEaE8Coj2+cMZRLK/cKQ==",
        "correct horse",
    ),
    // passlib's documentation of scrypt; Django's test_hashers.py, of 3.x and of 5.x.
    (
        Scheme::Scrypt,
        "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
        "password",
    ),
    (
        Scheme::Scrypt,
        "scrypt$16384$seasalt$8$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFRkdVCBhhY8mx7rQwite/Pw==",
        "l\u{e8}tmein",
    ),
    (
        Scheme::Scrypt,
        "scrypt$16384$seasalt$8$5$ECMIUp+LMxMSK8xB/IVyba+KYGTI7FTnet025q/1f/vBAVnnP3hdYqJuRi+mJn6ji6ze3Fbb7JEFPKGpuEf5vw==",
        "l\u{e8}tmein",
    ),
    // firebase/scrypt, README; the two others from zitadel/passwap, verifier/firebasescrypt.
    (
        Scheme::FirebaseScrypt,
        "$firebase-scrypt$ln=14,r=8$Bw==$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
        "user1password",
    ),
    (
        Scheme::FirebaseScrypt,
        "$firebase-scrypt$ln=14,r=8$$42xEC+ixf3L2lw==$NohHtJ2FmkEqzefZ0IHnOlqTzFN8n6vXXd0EW2OIGuUh4rcwvVh7XVRDVs5yOrueoudRPIoimS6jIwf4pMW3rg==",
        "user1password",
    ),
    (
        Scheme::FirebaseScrypt,
        "$firebase-scrypt$ln=10,r=4$Bw==$42xEC+ixf3L2lw==$EQ0tlNdKv5ZBDYN7ofOYlhhTEe5Tu9bueDmtDUhLPM+9dcS1u1ALgMcT6N1+U9GsDlVdd3FE2dmz37fU5Y8A9Q==",
        "user1password",
    ),
    // P-H-C/phc-winner-argon2, src/test.c, and RustCrypto's tests/phc_strings.rs; then outputs of 16 bytes (passuth).
    (
        Scheme::Argon2,
        "$argon2i$m=65536,t=2,p=1$c29tZXNhbHQ$9sTbSlTio3Biev89thdrlKKiCaYsjjYVJxGAL3swxpQ",
        "password",
    ),
    (
        Scheme::Argon2,
        "$argon2d$v=16$m=32,t=2,p=3,data=Dw8PDw8P$AAAAAAAAAAA$KnH4gniiaFnDvlA1xev3yovC4cnrrI6tnHOYtmja90o",
        "password",
    ),
    (
        Scheme::Argon2,
        "$argon2i$v=19$m=65536,t=1,p=1$c29tZXNhbHQAAAAAAAAAAA$+r0d29hqEB0yasKr55ZgICsQGSkl0v0kgwhd+U3wyRo",
        "password",
    ),
    (Scheme::Argon2, "$argon2i$v=19$m=16,t=2,p=1$ZVZWeGtzNVZqeExTVzNSOA$fx0EYEB1zO8i+J2H+OFI4w", "password"),
    (Scheme::Argon2, "$argon2d$v=19$m=16,t=2,p=1$Mmx3eWR3YkJONkhoTGFnNA$HD1EIj2bqdfwQrJDP+FY6w", "password"),
    (
        Scheme::Argon2,
        "argon2$argon2id$v=19$m=16,t=2,p=1$UmtRRmdBRU53QlptNk8ycw$UyyArpJ8yasrc93GImQjFQ",
        "password",
    ),
    // passlib, test_handlers.py; the longer digests from go-auth's and uffd's tests.
    (Scheme::SaltedSha, "{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr", "testing123"),
    (Scheme::SaltedSha, "{SSHA}3yCSD1nLZXznra4N8XzZgAL+s1sQYsx5", TABLE),
    (Scheme::SaltedSha, "{ssha}P90+qijSp8MJ1tN25j5o1PflUvlqjXHOGeOckw==", "test"),
    (Scheme::SaltedSha, "{SSHA256}czO44OTV17PcF1cRxWrLZLy9xHd7CWyVYplr1rOhuMlx/7IK", "test123"),
    (
        Scheme::SaltedSha,
        "{SSHA512}dOeDLmVpHJThhHeag10Hm2g4T7s3SBE6rGHcXUolXJHVufY4qT782rwZ/0XE6cuLcBZ0KpnwmUzRpAEtZBdv+JYEEtZQs/uC",
        "password",
    ),
    // Python's hashlib, over OpenSSL.
    (Scheme::SaltedSha, "{SSHA256}CFsq5JPfiBQ0W3uR5Dnao+9mknEq9a739V+FPkJ6yjABAgMEBQYHCA==", "correct horse"),
    (
        Scheme::SaltedSha,
        "{SSHA512}ggObOJHDWCqgI5uFv/j9yDNYMvdTgt+Toj8d6cGrSG/e+E9GbH4DkQ8y5jY3NblhoGens+zNVX1mZaFy0qwRwwECAwQFBgcI",
        "correct horse",
    ),
    // Drepper, "Unix crypt using SHA-256 and SHA-512"; the last from libxcrypt.
    (Scheme::ShaCrypt, "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"),
    (
        Scheme::ShaCrypt,
        "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA",
        "Hello world!",
    ),
    (
        Scheme::ShaCrypt,
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        "Hello world!",
    ),
    (
        Scheme::ShaCrypt,
        "{CRYPT}$6$rounds=1000$saltsalt$4GMtaIz3E1AdDi2SmCokEW0ehi.HdxNDcL3fGE1XXuzvo6kbx7UOloZKONqEk5H3JrQA4NOfU8BmqFPrpGqwA1",
        "correct horse",
    ),
    // openwall/yescrypt, TESTS-OK; the last from libxcrypt.
    (
        Scheme::Yescrypt,
        "$y$jC4$LdJMENpBABJJ3hIHjB1B$jVg4HoqqpbmQv/NCpin.QCMagJ8o4QX7lXdzvVV0xFC",
        "pleaseletmein",
    ),
    (Scheme::Yescrypt, "$y$j80$LdJMENpBABJJ3h2$ysXVVJwuaVlI1BWoEKt/Bz3WNDDmdOWz/8KTQaHL1cC", "pleaseletmein"),
    (Scheme::Yescrypt, "$y$j75$LdJMENpBABJJ3hIHjB1Bi.$Ve4m3xXQj6CIT78tSP/FDzNIam38Z/rZlUFmHwBcrhD", "a"),
];

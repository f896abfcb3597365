//! What an application declares in its source.

/// Declares the permissions of an application or library as constants.
///
/// The struct is a name space: a [`Permission`](crate::Permission) constant for each line, usable wherever a constant
/// is, and `DECLARED`, the table that [`Builder::declare`](crate::Builder::declare) takes. A check against a constant asks
/// for a bit number, not a name; that the number means in the database what it means here is what the open makes sure.
///
/// Lines are numbered by their place, from 0; `bit = N` gives a line a number of its own, and the next line the one after
/// it. Numbers are stored for ever, so that a line is appended at the end, never put in between, and one that is no longer
/// needed leaves its number behind: give the next line its `bit`. An open that finds another meaning stored refuses
/// with [`ErrorKind::Mismatch`](crate::ErrorKind::Mismatch). Numbers below 384 are the cheapest to check, and all are
/// below [`Permission::LIMIT`](crate::Permission::LIMIT).
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// use portcullis::{NewUser, Permission, Portcullis};
/// portcullis::permissions! {
///     /// What people do in the shop.
///     pub struct Shop;
///     READ = "order:read", "reads orders";
///     WRITE = "order:write", "takes and changes orders";
///     REFUND = "order:refund", "pays money back", bit = 10;
/// }
/// const EVERYDAY: [Permission; 2] = [Shop::READ, Shop::WRITE];
/// assert_eq!(Shop::REFUND.bit(), 10);
///
/// let gate = Portcullis::builder().declare(Shop::DECLARED).in_memory()?;
/// let clerk = gate.roles().create("clerk", EVERYDAY)?;
/// let ada = gate.users().create(NewUser::new("ada"))?.id;
/// gate.roles().assign(ada, clerk)?;
/// assert!(gate.check(ada, Shop::WRITE)?.is_allowed());
/// assert!(!gate.check(ada, Shop::REFUND)?.is_allowed());
/// # Ok(())
/// # }
/// ```
///
/// # Libraries, and permissions that are defined at run time
///
/// All sets of a database share its numbers, and so do permissions that
/// [`Permissions::define`](crate::Permissions::define) makes at run time: it hands out the first number above all that
/// were stored. Keep them apart by ranges. A library begins at a number that its documentation names
/// (`bit = 1000` on its first line; where a range collides with another one, the open says so). An application that also
/// defines permissions at run time keeps a range for itself by declaring its last number from the first release on:
///
/// ```
/// # fn main() -> portcullis::Result<()> {
/// portcullis::permissions! {
///     /// What the application itself asks for: bits 0 to 99.
///     pub struct App;
///     READ = "doc:read", "reads documents";
///     KEPT = "app:kept", "keeps the bits up to this one for the application", bit = 99;
/// }
/// let gate = portcullis::Portcullis::builder().declare(App::DECLARED).in_memory()?;
/// assert_eq!(gate.permissions().define("custom:export")?.bit(), 100);
/// # Ok(())
/// # }
/// ```
///
/// Bits 1 to 98 are not handed out at run time any more, and a later release can declare them.
///
/// # Two equal numbers do not compile
///
/// ```compile_fail,E0081
/// portcullis::permissions! {
///     pub struct Shop;
///     READ = "order:read", "reads orders", bit = 1;
///     WRITE = "order:write", "takes and changes orders", bit = 0;
///     REFUND = "order:refund", "pays money back"; // 1 again, the number after 0
/// }
/// ```
#[macro_export]
macro_rules! permissions {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $set:ident;
        $(
            $(#[$line:meta])*
            $constant:ident = $name:expr, $description:expr $(, bit = $bit:expr)?;
        )+
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug)]
        $visibility struct $set;

        const _: () = {
            // Discriminants of one enum: the compiler numbers them and refuses two that are equal.
            #[allow(
                dead_code,
                non_camel_case_types,
                clippy::upper_case_acronyms,
                reason = "the constants' names, used for their numbers alone"
            )]
            #[repr(u32)]
            enum Bit {
                $($constant $(= $bit)?),+
            }

            impl $set {
                $(
                    #[doc = $description]
                    $(#[$line])*
                    $visibility const $constant: $crate::Permission =
                        $crate::Permission::from_bit(Bit::$constant as u32);
                )+

                /// All of this set, to declare when the database is opened.
                $visibility const DECLARED: &'static [$crate::DeclaredPermission] = &[
                    $($crate::DeclaredPermission::new(Self::$constant, $name, $description)),+
                ];
            }
        };
    };
}

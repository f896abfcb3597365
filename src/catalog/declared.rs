//! Permissions that a program declares in its source, with the numbers that it uses for them.

use crate::error::{Error, Result};
use crate::permission::Permission;
use crate::text;

/// A permission as a program declares it, to be compared with what the database has stored.
///
/// [`permissions!`](crate::permissions) makes a table of them; [`Builder::declare`](crate::Builder::declare) takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeclaredPermission {
    permission: Permission,
    name: &'static str,
    description: &'static str,
}

impl DeclaredPermission {
    /// A declaration; whether it keeps the rules of names and numbers is looked at when the database is opened.
    #[must_use]
    pub const fn new(permission: Permission, name: &'static str, description: &'static str) -> Self {
        Self { permission, name, description }
    }

    /// The permission, which is its bit number.
    #[must_use]
    pub const fn permission(&self) -> Permission {
        self.permission
    }

    /// Such as `report:read`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// For people; may be empty.
    #[must_use]
    pub const fn description(&self) -> &'static str {
        self.description
    }

    fn check(&self) -> Result<()> {
        let bit = self.permission.bit();
        if bit >= Permission::LIMIT {
            return Err(Error::invalid(
                "declared",
                format!("{:?} has bit {bit}; bits are 0 to {}", shown(self.name), Permission::LIMIT - 1),
            ));
        }
        let rules = text::name("its name", self.name)
            .and_then(|()| text::plain("its description", self.description, text::MAX_TEXT));
        rules.map_err(|error| {
            Error::invalid(
                "declared",
                format!("{:?} with bit {bit} can not be stored: {error}", shown(self.name)),
            )
            .caused_by(error)
        })
    }
}

/// As much of a name as an error needs to show.
fn shown(name: &str) -> String {
    match name.char_indices().nth(text::MAX_NAME) {
        Some((end, _)) => format!("{}...", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}

/// The declared ones by rising bit, each once. What can not be stored is refused, and so are two declarations that
/// contradict each other.
pub(crate) fn agreed(declared: &[DeclaredPermission]) -> Result<Vec<DeclaredPermission>> {
    declared.iter().try_for_each(DeclaredPermission::check)?;
    let mut declared = declared.to_vec();
    // Stable sorts: of two descriptions the one that was declared first is kept.
    declared.sort_by_key(|one| (one.name, one.permission));
    declared.dedup_by(|later, first| (later.name, later.permission) == (first.name, first.permission));
    for pair in declared.array_windows::<2>() {
        let [one, two] = pair;
        if one.name == two.name {
            return Err(Error::invalid(
                "declared",
                format!(
                    "{:?} is declared with bit {} and with bit {}; a permission has one",
                    one.name,
                    one.permission.bit(),
                    two.permission.bit()
                ),
            ));
        }
    }
    declared.sort_by_key(|one| one.permission);
    for pair in declared.array_windows::<2>() {
        let [one, two] = pair;
        if one.permission == two.permission {
            return Err(Error::invalid(
                "declared",
                format!(
                    "bit {} is declared as {:?} and as {:?}; begin one of the two sets with a higher number (`bit = ..`)",
                    one.permission.bit(),
                    one.name,
                    two.name
                ),
            ));
        }
    }
    Ok(declared)
}

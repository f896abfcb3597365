//! Permissions by the object in their names: of `object:operation` the last colon parts the two.

use super::PERMISSION_BY_NAME;
use crate::error::{Error, Result};
use crate::id::Key;
use crate::permission::Permission;
use crate::store::{Scan, Store};
use crate::text;

/// Rows, and objects passed over, that one page looks at before it returns what it has.
const MOST_ROWS: usize = 10_000;
/// Rows of one read: few where much may have to be passed over, more while nothing is.
const FEWEST: usize = 8;
const MOST: usize = 1024;

/// Operations by name with their permissions, and where to go on.
pub(crate) type Operations = (Vec<(String, Permission)>, Option<Vec<u8>>);

/// What the names of all permissions on an object begin with; those on objects like `object:more` do so too.
pub(crate) fn object_prefix(object: &str) -> Result<Vec<u8>> {
    text::plain("object", object, text::MAX_NAME)?;
    let mut prefix = object.as_bytes().to_vec();
    prefix.push(b':');
    Ok(prefix)
}

/// Whether there is a permission on the object that the prefix is of.
pub(crate) fn is_object(store: &dyn Store, prefix: &[u8]) -> Result<bool> {
    let mut after = None::<Vec<u8>>;
    loop {
        let scan = Scan { prefix, after: after.as_deref(), limit: 1, descending: false };
        match operations_of(store, &scan, |_| true)? {
            (found, _) if !found.is_empty() => return Ok(true),
            (_, None) => return Ok(false),
            (_, next) => after = next,
        }
    }
}

/// Some operations on the object that the prefix of the scan is of, with the permissions that are wanted.
pub(crate) fn operations_of(
    store: &dyn Store,
    scan: &Scan<'_>,
    wanted: impl Fn(Permission) -> bool,
) -> Result<Operations> {
    let mut found = Vec::new();
    let (mut after, mut seen, mut limit) = (scan.after.map(<[u8]>::to_vec), 0, FEWEST);
    loop {
        let rows =
            store.scan(PERMISSION_BY_NAME, &Scan { after: after.as_deref(), limit, ..scan.clone() })?;
        let mut more = rows.len() == limit;
        limit = (limit * 4).min(MOST);
        for row in rows {
            seen += 1;
            let operation = operation(&row.key, scan.prefix)?;
            if let Some((inner, _)) = operation.split_once(':') {
                // Another object, whose rows all stand together. A name has no byte of 255.
                let mut beyond = [scan.prefix, inner.as_bytes(), b":"].concat();
                if !scan.descending {
                    beyond.push(u8::MAX);
                }
                (after, more, limit) = (Some(beyond), true, FEWEST);
                break;
            }
            let permission = Permission::read(&row.value)?;
            if wanted(permission) {
                found.push((operation.to_owned(), permission));
            }
            after = Some(row.key);
            if found.len() == scan.limit {
                return Ok((found, after));
            }
        }
        if !more {
            return Ok((found, None));
        }
        if seen >= MOST_ROWS {
            return Ok((found, after));
        }
    }
}

/// What stands behind the prefix in an index row's key, which ends with a zero byte.
fn operation<'k>(key: &'k [u8], prefix: &[u8]) -> Result<&'k str> {
    let text = key.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(&[0]));
    text.and_then(|text| std::str::from_utf8(text).ok())
        .ok_or_else(|| Error::damaged("a row of permission_by_name has a key that is no name"))
}

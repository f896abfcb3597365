//! Listings, a page at a time.

use crate::error::{Error, Result};
use crate::store::{Scan, Table};
use base64_simd::URL_SAFE_NO_PAD;
use std::fmt;

/// Most items on one page.
const MAX_PAGE: usize = 1000;

/// Where a listing goes on: the table of the listing and the key of its last row, and good for the same listing only.
///
/// It is not secret and not encrypted: that of a listing by e-mail address contains the address.
#[derive(Clone, PartialEq, Eq)]
pub struct Cursor(Vec<u8>);

impl Cursor {
    /// A text to put into a URL.
    #[must_use]
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode_to_string(&self.0)
    }

    /// The cursor in a text that [`to_text`](Self::to_text) made.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for any other text.
    pub fn from_text(text: &str) -> Result<Self> {
        let bytes = if text.len() <= 2048 { URL_SAFE_NO_PAD.decode_to_vec(text).ok() } else { None };
        bytes.map(Self).ok_or_else(|| Error::invalid("cursor", "is not a cursor of a listing"))
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({})", self.to_text())
    }
}

/// Which part of a listing to return.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct PageRequest {
    limit: usize,
    after: Option<Cursor>,
    descending: bool,
}

impl PageRequest {
    /// The first items, at most that many (1 to 1,000).
    pub const fn first(limit: usize) -> Self {
        Self { limit, after: None, descending: false }
    }

    /// Goes on behind the page that returned the cursor; `None` starts at the beginning.
    pub fn after(mut self, cursor: Option<Cursor>) -> Self {
        self.after = cursor;
        self
    }

    /// From the end to the beginning: the newest first.
    pub const fn descending(mut self) -> Self {
        self.descending = true;
        self
    }

    /// The key of the last row of the page before.
    pub(crate) fn last_key(&self) -> Option<&[u8]> {
        self.after.as_ref().and_then(|cursor| cursor.0.get(1..))
    }

    /// The table of the page before, which the cursor begins with.
    pub(crate) fn table(&self) -> Option<u8> {
        self.after.as_ref().and_then(|cursor| cursor.0.first().copied())
    }

    /// How many items are asked for.
    pub(crate) fn limit_checked(&self) -> Result<usize> {
        self.scan_limit()?;
        if self.descending {
            return Err(Error::invalid(
                "page",
                "this listing has one direction only; do not ask for descending",
            ));
        }
        Ok(self.limit)
    }

    fn scan_limit(&self) -> Result<()> {
        if (1..=MAX_PAGE).contains(&self.limit) {
            return Ok(());
        }
        Err(Error::invalid("limit", format!("is {}; a page has 1 to {MAX_PAGE} items", self.limit)))
    }

    /// The rows of the listing: those of the table whose keys start with the prefix.
    pub(crate) fn scan<'a>(&'a self, table: Table, prefix: &'a [u8]) -> Result<Scan<'a>> {
        self.scan_limit()?;
        let after = self.last_key();
        let foreign = self.after.as_ref().is_some_and(|cursor| cursor.0.first() != Some(&table.number));
        if foreign || after.is_some_and(|after| !after.starts_with(prefix)) {
            return Err(Error::invalid("cursor", "belongs to another listing"));
        }
        Ok(Scan { prefix, after, limit: self.limit, descending: self.descending })
    }
}

impl Default for PageRequest {
    /// The first hundred.
    fn default() -> Self {
        Self::first(100)
    }
}

/// Some items of a listing. Changes between two pages show in the later one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page<T> {
    /// The items, in the order of the listing.
    pub items: Vec<T>,
    /// Where to go on; `None` at the end. A last page that is exactly full has an empty one after it.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    pub(crate) fn new(items: Vec<T>, table: Table, next: Option<Vec<u8>>) -> Self {
        let cursor = |mut key: Vec<u8>| {
            key.insert(0, table.number);
            Cursor(key)
        };
        Self { items, next: next.map(cursor) }
    }

    /// A page whose cursor has its table in front.
    pub(crate) fn of(items: Vec<T>, next: Option<Vec<u8>>) -> Self {
        Self { items, next: next.map(Cursor) }
    }

    /// A page of something else in the same order; items for which there is nothing are left out.
    pub(crate) fn filter_map<U>(self, convert: impl FnMut(T) -> Option<U>) -> Page<U> {
        Page { items: self.items.into_iter().filter_map(convert).collect(), next: self.next }
    }

    /// The same where the something else has to be read.
    pub(crate) fn try_filter_map<U>(self, convert: impl FnMut(T) -> Result<Option<U>>) -> Result<Page<U>> {
        let items = self.items.into_iter().map(convert).filter_map(Result::transpose);
        Ok(Page { items: items.collect::<Result<_>>()?, next: self.next })
    }
}

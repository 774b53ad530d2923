//! What many signatures have in common, held once.
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use super::content::Needle;
use super::expression::{Expression, Flags};
use super::file::{HashKind, HashList};
use super::header::Header;
use super::Reason;

/// A key and a value of a signature's metadata.
pub type Pair = Arc<(Box<str>, Box<str>)>;

/// Values of one load by what they are; signatures hold them on, this finds them again.
#[derive(Debug, Default)]
pub struct Shared {
    texts: RefCell<HashSet<Arc<str>>>,
    pairs: RefCell<HashSet<Pair>>,
    headers: RefCell<HashSet<Arc<Header>>>,
    needles: RefCell<HashSet<Needle>>,
    expressions: RefCell<HashMap<(String, Flags), Arc<Expression>>>,
    lists: RefCell<HashMap<(HashKind, String), Arc<HashList>>>,
}

impl Shared {
    pub fn text(&self, text: &str) -> Arc<str> {
        let mut known = self.texts.borrow_mut();
        if let Some(text) = known.get(text) {
            return text.clone();
        }
        let text: Arc<str> = text.into();
        known.insert(text.clone());
        text
    }

    pub fn pair(&self, key: String, value: String) -> Pair {
        let pair = Arc::new((key.into_boxed_str(), value.into_boxed_str()));
        held(&mut self.pairs.borrow_mut(), pair)
    }

    pub fn header(&self, header: Header) -> Arc<Header> {
        held(&mut self.headers.borrow_mut(), Arc::new(header))
    }

    pub fn needle(&self, needle: &Needle) -> Needle {
        held(&mut self.needles.borrow_mut(), needle.clone())
    }

    /// The compiled expression; `compile` makes it where there is none yet.
    pub fn expression(
        &self,
        written: (String, Flags),
        compile: impl FnOnce(&str) -> Result<Expression, Reason>,
    ) -> Result<Arc<Expression>, Reason> {
        if let Some(known) = self.expressions.borrow().get(&written) {
            return Ok(known.clone());
        }
        let expression = Arc::new(compile(&written.0)?);
        let mut known = self.expressions.borrow_mut();
        known.insert(written, expression.clone());
        Ok(expression)
    }

    /// The list of hashes in the file at `path`; `read` reads it where it was not read yet.
    pub fn list(
        &self,
        kind: HashKind,
        path: String,
        read: impl FnOnce() -> Result<HashList, Reason>,
    ) -> Result<Arc<HashList>, Reason> {
        let key = (kind, path);
        if let Some(known) = self.lists.borrow().get(&key) {
            return Ok(known.clone());
        }
        let list = Arc::new(read()?);
        self.lists.borrow_mut().insert(key, list.clone());
        Ok(list)
    }
}

fn held<T: Clone + Eq + Hash>(known: &mut HashSet<T>, value: T) -> T {
    if let Some(known) = known.get(&value) {
        return known.clone();
    }
    known.insert(value.clone());
    value
}

//! A header block's fields, and which of them have one name.
use std::collections::HashMap;

/// Fields up to which a name is looked for among all names there are; from then on in an index.
const INDEXED_FROM: usize = 16;

/// One header field, in wire order, surrounding white space removed, obs-fold joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Name as sent.
    pub name: Vec<u8>,
    /// Value, unfolded.
    pub value: Vec<u8>,
}

/// A header block: parsed fields, and the bytes as sent.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// The block as sent, with the empty line that ends it (`http.header.raw`).
    pub raw: Vec<u8>,
    fields: Vec<Header>,
    links: Vec<Link>,
    /// Where those stand whose names did not come before.
    firsts: Vec<usize>,
    /// Where each name came first, by the name in lower case; empty where there are few fields.
    index: HashMap<Vec<u8>, usize>,
}

/// Where the fields of one name stand, so that whoever joins their values walks no others.
#[derive(Clone, Copy, Debug)]
struct Link {
    next: Option<usize>,
    /// Of the first one: the last, and how many there are.
    last: usize,
    count: usize,
}

impl Headers {
    /// Adds the next field. All fields together cost what they are long, however many have one name.
    pub fn push(&mut self, field: Header) {
        let at = self.fields.len();
        let first = self.find(&field.name).unwrap_or(at);
        self.links.push(Link {
            next: None,
            last: at,
            count: 0,
        });
        let last = std::mem::replace(&mut self.links[first].last, at);
        if last != at {
            self.links[last].next = Some(at);
        }
        self.links[first].count += 1;
        if first == at {
            self.firsts.push(at);
            if !self.index.is_empty() {
                self.index.insert(field.name.to_ascii_lowercase(), at);
            }
        }
        self.fields.push(field);
        if self.index.is_empty() && self.fields.len() >= INDEXED_FROM {
            let firsts = self.firsts();
            self.index = firsts
                .map(|(at, field)| (field.name.to_ascii_lowercase(), at))
                .collect();
        }
    }

    /// The fields in wire order.
    pub fn fields(&self) -> &[Header] {
        &self.fields
    }

    /// The fields whose names did not come before, and where they stand.
    pub fn firsts(&self) -> impl Iterator<Item = (usize, &Header)> {
        let firsts = self.firsts.iter();
        firsts.filter_map(|at| Some((*at, self.fields.get(*at)?)))
    }

    /// The `number`-th of those.
    pub fn nth_first(&self, number: usize) -> Option<(usize, &Header)> {
        let at = *self.firsts.get(number)?;
        Some((at, self.fields.get(at)?))
    }

    /// The field at `first` and those behind it of its name.
    pub fn same(&self, first: usize) -> impl Iterator<Item = &Header> {
        let mut next = Some(first);
        std::iter::from_fn(move || {
            let at = next?;
            next = self.links.get(at)?.next;
            self.fields.get(at)
        })
    }

    /// The fields of that name, whatever its case, in wire order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> + 'a {
        let first = self.find(name.as_bytes());
        let same = first.into_iter().flat_map(|first| self.same(first));
        same.map(|field| field.value.as_slice())
    }

    /// The first field of that name, whatever its case.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// How many fields have that name, whatever its case.
    pub fn count(&self, name: &[u8]) -> usize {
        self.find(name).map_or(0, |first| self.links[first].count)
    }

    /// Where the first field of that name stands.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        if self.index.is_empty() {
            let mut firsts = self.firsts();
            return firsts
                .find(|(_, field)| is_same(&field.name, name))
                .map(|(at, _)| at);
        }
        self.index.get(&name.to_ascii_lowercase()).copied()
    }

    /// Adds fields and bytes that came behind the body.
    pub(super) fn add_trailers(&mut self, trailers: Self) {
        for field in trailers.fields {
            self.push(field);
        }
        self.raw.extend(trailers.raw);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let fields = self.fields.iter().map(|field| {
            let name = field.name.capacity();
            64 + size_of::<Link>() + 2 * name + field.value.capacity()
        });
        self.raw.capacity() + fields.sum::<usize>()
    }
}

fn is_same(name: &[u8], other: &[u8]) -> bool {
    #[cfg(test)]
    tests::COMPARED.with(|it| it.set(it.get() + 1));
    name.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// Names compared by this thread.
        pub(super) static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    fn with(names: impl Iterator<Item = String>) -> Headers {
        let mut headers = Headers::default();
        for (at, name) in names.enumerate() {
            headers.push(Header {
                name: name.into(),
                value: at.to_string().into(),
            });
        }
        headers
    }

    #[test]
    fn fields_of_one_name_are_found_in_order_among_few_and_many() {
        for fill in [0, 2, 100] {
            let names = ["A", "b", "a"].map(String::from).into_iter();
            let others = (0..fill).map(|at| format!("x{at}"));
            let headers = with(names.chain(others).chain(["B".into(), "a".into()]));
            let last = 4 + fill;
            let (b, a) = ((last - 1).to_string(), last.to_string());
            assert_eq!(
                headers.all("a").collect::<Vec<_>>(),
                [b"0", b"2", a.as_bytes()]
            );
            assert_eq!(headers.all("B").collect::<Vec<_>>(), [b"1", b.as_bytes()]);
            assert_eq!((headers.count(b"A"), headers.count(b"nothing")), (3, 0));
            assert_eq!(headers.firsts().count(), 2 + fill);
        }
    }

    #[test]
    fn many_fields_cost_no_more_each_than_few() {
        let compared = |names: &mut dyn Iterator<Item = String>| {
            COMPARED.set(0);
            let headers = with(names);
            let mut out = Vec::new();
            let side = crate::Direction::ToServer;
            super::super::buffers::header_block(&headers, side, &mut out);
            super::super::buffers::header_names(&headers, &mut out);
            COMPARED.get()
        };
        let few = compared(&mut (0..INDEXED_FROM).map(|at| format!("x{at}")));
        assert!(few < INDEXED_FROM * INDEXED_FROM);
        let distinct = compared(&mut (0..10_000).map(|at| format!("x{at}")));
        let equal = compared(&mut (0..10_000).map(|_| "x".into()));
        assert!(distinct <= few && equal <= few, "{distinct} {equal} {few}");
    }
}

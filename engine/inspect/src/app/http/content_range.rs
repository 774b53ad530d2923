//! Which part of a whole a response brings.

/// The numbers of a Content-Range. Source: RFC 9110, 14.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentRange {
    /// First and last byte; `None` where it is `*`.
    pub ends: Option<(i64, i64)>,
    /// Of how many; likewise.
    pub size: Option<i64>,
}

impl ContentRange {
    /// `bytes 500-1000/146515`; `None`: anything else.
    pub fn read(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?.trim();
        let (unit, text) = text.split_once(' ')?;
        let (ends, size) = text.trim().split_once('/')?;
        let ends = match ends {
            "*" => None,
            _ => {
                let (first, last) = ends.split_once('-')?;
                Some((first.parse().ok()?, last.parse().ok()?))
            }
        };
        let size = match size {
            "*" => None,
            _ => Some(size.parse().ok()?),
        };
        let range = Self { ends, size };
        unit.eq_ignore_ascii_case("bytes").then_some(range)
    }

    /// The first and the last byte, where they are a part of a file whose size is known.
    pub fn of_file(self) -> Option<(i64, i64)> {
        let size = self.size?;
        let is_part = |(first, last): &(i64, i64)| {
            *first <= *last && *last > 0 && *last < size && (*first, *last) != (0, size - 1)
        };
        self.ends.filter(is_part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_file_lies_within_it() {
        for (value, part) in [
            ("bytes 500-1000/146515", Some((500, 1000))),
            ("bytes 500-1000/*", None),
            ("bytes 0-8/10", Some((0, 8))),
            ("bytes 0-9/10", None),
            ("bytes 0-10/10", None),
            ("bytes 0-0/10", None),
            ("bytes 10-5/*", None),
            ("bytes */10", None),
            ("lines 1-2/3", None),
        ] {
            let range = ContentRange::read(value.as_bytes());
            assert_eq!(part, range.and_then(ContentRange::of_file), "{value}");
        }
    }
}

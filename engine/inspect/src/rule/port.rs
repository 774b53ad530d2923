//! Port ranges.
use super::group::Member;

/// Ports from `first` to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    /// Lowest.
    pub first: u16,
    /// Highest.
    pub last: u16,
}

impl Member for PortRange {
    const FORM: &'static str =
        "ports: any, 80, 1024:, :1023, 8000:8080 (the lower one first), [A,B,!C], $NAME or !A";

    /// Reads `80`, `1024:`, `:1023` and `8000:8080`.
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = match text.split_once(':') {
            None => {
                let port = text.parse().ok()?;
                (port, port)
            }
            Some(("", "")) => return None,
            Some((first, "")) => (first.trim().parse().ok()?, u16::MAX),
            Some(("", last)) => (0, last.trim().parse().ok()?),
            Some((first, last)) => (first.trim().parse().ok()?, last.trim().parse().ok()?),
        };
        (first <= last).then_some(Self { first, last })
    }
}

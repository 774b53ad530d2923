//! Numbers and comparisons with them.
use super::lexer::{printable, trim};

/// A condition on an unsigned number: `5`, `!5`, `>5`, `>=5`, `<5`, `<=5`, `5<>9`, `5-9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// Exactly.
    Is(u64),
    /// Anything but.
    Not(u64),
    /// Between, both ends included.
    Within(u64, u64),
    /// Outside of, both ends excluded from matching.
    Outside(u64, u64),
}

impl Range {
    /// Whether `number` fulfils it.
    pub fn holds(self, number: u64) -> bool {
        match self {
            Self::Is(wanted) => number == wanted,
            Self::Not(unwanted) => number != unwanted,
            Self::Within(low, high) => (low..=high).contains(&number),
            Self::Outside(low, high) => !(low..=high).contains(&number),
        }
    }

    /// Reads a condition. `a<>b` and `a-b` leave out both ends, as Suricata does.
    ///
    /// Errors: why it cannot be read.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let whole = text;
        let bad = || format!("'{}' is not a number or comparison", printable(whole));
        let text = trim(text);
        let (negated, text) = match text.strip_prefix(b"!") {
            Some(rest) => (true, trim(rest.strip_prefix(b"=").unwrap_or(rest))),
            None => (false, text),
        };
        if let Some((low, high)) = split_once(text, b"<>").or_else(|| split_once(text, b"-")) {
            let (low, high) = (number(low).ok_or_else(bad)?, number(high).ok_or_else(bad)?);
            if high <= low || high - low < 2 {
                return Err(format!("range '{}' is empty", printable(whole)));
            }
            let (low, high) = (low + 1, high - 1);
            return Ok(if negated {
                Self::Outside(low, high)
            } else {
                Self::Within(low, high)
            });
        }
        if negated {
            return number(text).map(Self::Not).ok_or_else(bad);
        }
        let compared = [(&b">="[..], 0), (b"<=", 1), (b">", 2), (b"<", 3), (b"=", 4)]
            .into_iter()
            .find_map(|(sign, kind)| Some((kind, number(text.strip_prefix(sign)?)?)));
        match compared {
            Some((0, low)) => Ok(Self::Within(low, u64::MAX)),
            Some((1, high)) => Ok(Self::Within(0, high)),
            Some((2, low)) => low
                .checked_add(1)
                .map(|low| Self::Within(low, u64::MAX))
                .ok_or_else(bad),
            Some((3, high)) => high
                .checked_sub(1)
                .map(|high| Self::Within(0, high))
                .ok_or_else(bad),
            Some((_, exact)) => Ok(Self::Is(exact)),
            None => number(text).map(Self::Is).ok_or_else(bad),
        }
    }
}

/// Reads a condition on a number of at most `max`; no number of it may be larger, nor the condition be one
/// that no number fulfils.
///
/// Errors: why not.
pub fn parse_up_to(text: &[u8], max: u64) -> Result<Range, String> {
    let too_large = || format!("'{}' goes past {max}", printable(text));
    match Range::parse(text)? {
        Range::Is(number) | Range::Not(number) if number > max => Err(too_large()),
        Range::Within(low, _) if low > max => Err(too_large()),
        Range::Within(_, high) | Range::Outside(_, high) if high > max && high != u64::MAX => {
            Err(too_large())
        }
        range => Ok(range),
    }
}

/// A number in decimal, or in hexadecimal after `0x`.
pub fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(trim(text)).ok()?;
    if text.starts_with('+') {
        return None;
    }
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if !digits.starts_with('+') => u64::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

/// A number with a sign, in decimal or hexadecimal.
pub fn signed(text: &[u8]) -> Option<i64> {
    let text = trim(text);
    match text.strip_prefix(b"-") {
        Some(rest) => i64::try_from(number(rest)?).ok().map(|n| -n),
        None => i64::try_from(number(text.strip_prefix(b"+").unwrap_or(text))?).ok(),
    }
}

/// A number that stands for a name in every version of a rule set, so that what is kept outlives a reload.
pub fn name_hash(name: &str) -> u64 {
    // FNV-1a, 64 bits.
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    name.bytes().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}

/// `text` around the first `separator`.
pub fn split_once<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text
        .windows(separator.len())
        .position(|window| window == separator)?;
    Some((&text[..at], &text[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_comparisons_as_suricata_does() {
        assert_eq!(Range::parse(b"7"), Ok(Range::Is(7)));
        assert_eq!(Range::parse(b" > 7"), Ok(Range::Within(8, u64::MAX)));
        assert_eq!(Range::parse(b"<=7"), Ok(Range::Within(0, 7)));
        assert_eq!(Range::parse(b"!7"), Ok(Range::Not(7)));
        assert_eq!(Range::parse(b"5<>9"), Ok(Range::Within(6, 8)));
        assert_eq!(Range::parse(b"0x10"), Ok(Range::Is(16)));
        for bad in [
            &b""[..],
            b"<0",
            b">",
            b"5<>6",
            b"9<>5",
            b"x",
            b"+5",
            b"-",
            b"0x+1",
        ] {
            assert!(Range::parse(bad).is_err(), "{}", printable(bad));
        }
    }
}

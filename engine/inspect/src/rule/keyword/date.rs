//! Dates as rules write them.
use super::super::lexer::printable;
use super::super::number::{split_once, Range};
use super::super::Reason;
use super::text;

/// A condition on a time in Unix seconds: `date`, `<date`, `>date`, `date<>date`, ends included.
///
/// Dates are Unix seconds, or `2015-10-22 10:20:30` from the month on, with a space or `T` before the hour.
pub(super) fn date_range(keyword: &str, value: &[u8]) -> Result<Range, Reason> {
    let read = |bytes: &[u8]| {
        let text = text(keyword, bytes)?.trim();
        date(text).ok_or_else(|| {
            Reason::bad_value(keyword, format!("'{}' is not a date", printable(bytes)))
        })
    };
    if let Some((from, to)) = split_once(value, b"<>") {
        let (from, to) = (read(from)?, read(to)?);
        if to <= from {
            return Err(Reason::bad_value(keyword, "the range is empty"));
        }
        return Ok(Range::Within(from, to));
    }
    let value = value.trim_ascii();
    Ok(match value.split_first() {
        Some((b'<', rest)) => Range::Within(1, read(rest)?),
        Some((b'>', rest)) => Range::Within(read(rest)?, u64::MAX),
        _ => Range::Is(read(value)?),
    })
}

fn date(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let (day, time) = match text.split_once(['T', ' ']) {
        Some((day, time)) => (day, Some(time)),
        None => (text, None),
    };
    let mut parts = day.split('-').map(number);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next());
    if parts.next().is_some() || time.is_some() && day.is_none() {
        return None;
    }
    let day = day.unwrap_or(Some(1))?;
    let mut clock = [0; 3];
    if let Some(time) = time {
        let mut parts = time.trim_start().split(':').map(number);
        for place in &mut clock {
            *place = match parts.next() {
                Some(part) => part?,
                None => break,
            };
        }
        if parts.next().is_some() {
            return None;
        }
    }
    let [hour, minute, second] = clock;
    let fits = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !fits || !(1970..=9999).contains(&year) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn number(text: &str) -> Option<u64> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Days from 1970-01-01, for years from then on.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms".
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year % 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dates_as_suricata_does() {
        let rows = [
            ("1445852105", Some(1_445_852_105)),
            ("1970-01", Some(0)),
            ("2015-10", Some(1_443_657_600)),
            ("2015-10-22", Some(1_445_472_000)),
            ("2015-10-22 23", Some(1_445_554_800)),
            ("2015-10-22T23:59", Some(1_445_558_340)),
            ("2015-10-22 23:59:59", Some(1_445_558_399)),
            ("2000-02-29", Some(951_782_400)),
            ("10:20", None),
            ("2015", Some(2015)),
            ("2015-13", None),
            ("2015-10-22T", None),
            ("2015-10-22 10:20:30:40", None),
            ("", None),
        ];
        for (text, wanted) in rows {
            assert_eq!(date(text), wanted, "{text}");
        }
    }
}

//! Unix nanoseconds as Suricata's timestamps.

use std::fmt::{self, Display, Write};

use serde::{Serialize, Serializer};

/// Appends `2021-12-10T17:05:01.123456+0000` for nanoseconds since 1970, always UTC.
pub fn append_timestamp(unix_ns: u64, out: &mut String) {
    write!(out, "{}", Timestamp(unix_ns)).expect("writing to a String cannot fail");
}

/// Nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timestamp(pub u64);

impl Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000_000;
        let micros = self.0 / 1_000 % 1_000_000;
        let (year, month, day) = civil_from_days((seconds / 86_400) as i64);
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        // Every record has some, and the formatter takes a call for each number.
        let mut text = *b"0000-00-00T00:00:00.000000+0000";
        let numbers = [
            (0..4, year),
            (5..7, month),
            (8..10, day),
            (11..13, hour),
            (14..16, minute),
            (17..19, second),
            (20..26, micros),
        ];
        for (place, number) in numbers {
            put_digits(&mut text[place], number);
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// Fills `digits` with the last digits of a number.
fn put_digits(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `2021-12-10T17:05:01` for seconds since 1970, which may be before it; always UTC.
pub(crate) fn iso_seconds(unix_s: i64) -> String {
    let (days, second) = (unix_s.div_euclid(86_400), unix_s.rem_euclid(86_400));
    // Certificates name years from 0 to 9999.
    let days = days.clamp(-719_468, 2_932_896);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}",
        second % 60
    )
}

/// Year, month and day of a number of days since 1970, of which at most 719,468 are before it.
///
/// Counts in years that begin in March, so that the leap day comes last.
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms".
fn civil_from_days(days: i64) -> (u64, u64, u64) {
    let shifted = days.saturating_add(719_468).max(0) as u64; // days since 0000-03-01
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(unix_ns: u64) -> String {
        let mut out = String::new();
        append_timestamp(unix_ns, &mut out);
        out
    }

    #[test]
    fn formats_as_suricata_does() {
        assert_eq!(shown(0), "1970-01-01T00:00:00.000000+0000");
        assert_eq!(
            shown(1_639_155_901_123_456_789),
            "2021-12-10T17:05:01.123456+0000"
        );
        assert_eq!(
            shown(1_709_164_799_999_999_999),
            "2024-02-28T23:59:59.999999+0000"
        );
        assert_eq!(
            shown(1_709_164_800_000_000_000),
            "2024-02-29T00:00:00.000000+0000"
        );
        assert_eq!(
            shown(951_782_400_000_000_000),
            "2000-02-29T00:00:00.000000+0000"
        );
        assert_eq!(
            shown(4_107_542_400_000_000_000),
            "2100-03-01T00:00:00.000000+0000"
        );
        assert_eq!(shown(u64::MAX), "2554-07-21T23:34:33.709551+0000");
    }

    #[test]
    fn shows_the_years_that_certificates_name() {
        assert_eq!(iso_seconds(-1), "1969-12-31T23:59:59");
        assert_eq!(iso_seconds(-631_152_000), "1950-01-01T00:00:00");
        assert_eq!(iso_seconds(253_402_300_799), "9999-12-31T23:59:59");
        assert_eq!(iso_seconds(i64::MIN), "0000-03-01T08:29:52");
    }
}

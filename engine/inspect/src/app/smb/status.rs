//! How a command went.
use std::sync::OnceLock;

/// It went well.
pub const SUCCESS: u32 = 0;
/// The answer follows later.
pub const PENDING: u32 = 0x0000_0103;
/// There is more than was asked for.
pub const BUFFER_OVERFLOW: u32 = 0x8000_0005;
/// There is nothing further to read.
pub const END_OF_FILE: u32 = 0xc000_0011;

/// A status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// NTSTATUS. Source: MS-ERREF, 2.3.
    Nt(u32),
    /// SMB 1's class and code. Source: MS-CIFS, 2.2.2.4.
    Dos {
        /// 1 the system's, 2 the server's.
        class: u8,
        /// Its code.
        code: u16,
    },
}

impl Status {
    /// SMB 1's, which is of one or the other kind.
    pub fn v1(status: u32, dos_error: bool) -> Self {
        match dos_error {
            true => Self::Dos {
                class: status as u8,
                code: (status >> 16) as u16,
            },
            false => Self::Nt(status),
        }
    }

    /// As EVE names it.
    pub fn name(self) -> String {
        let name = match self {
            Self::Nt(status) => nt_name(status).map(|name| format!("STATUS_{name}")),
            Self::Dos { class: 1, code } => dos_name(code).map(str::to_string),
            Self::Dos { class: 2, code } => server_name(code).map(str::to_string),
            Self::Dos { class, code } => Some(format!("UNKNOWN_{class:02x}_{code:04x}")),
        };
        name.unwrap_or_else(|| match self {
            Self::Nt(status) => status.to_string(),
            Self::Dos { code, .. } => code.to_string(),
        })
    }

    /// As EVE writes its number.
    pub fn code(self) -> String {
        match self {
            Self::Nt(status) => format!("0x{status:x}"),
            Self::Dos { code, .. } => format!("0x{code:04x}"),
        }
    }
}

fn dos_name(code: u16) -> Option<&'static str> {
    const NAMES: [&str; 6] = [
        "DOS_SUCCESS",
        "DOS_BAD_FUNC",
        "DOS_BAD_FILE",
        "DOS_BAD_PATH",
        "DOS_TOO_MANY_OPEN_FILES",
        "DOS_ACCESS_DENIED",
    ];
    NAMES.get(usize::from(code)).copied()
}

fn server_name(code: u16) -> Option<&'static str> {
    Some(match code {
        1 => "SRV_ERROR",
        2 => "SRV_BADPW",
        3 => "SRV_BADTYPE",
        4 => "SRV_ACCESS",
        91 => "SRV_BADUID",
        _ => return None,
    })
}

fn nt_name(status: u32) -> Option<&'static str> {
    let names = nt_names();
    let at = names.binary_search_by_key(&status, |(number, _)| *number);
    at.ok().map(|at| names[at].1)
}

/// By number; without `STATUS_`.
fn nt_names() -> &'static [(u32, &'static str)] {
    static NAMES: OnceLock<Vec<(u32, &'static str)>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let rows = include_str!("nt_status.txt").lines();
        rows.filter_map(|row| {
            let (number, name) = row.split_once(' ')?;
            Some((u32::from_str_radix(number, 16).ok()?, name))
        })
        .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_by_rising_number() {
        let rows = include_str!("nt_status.txt").lines().count();
        assert_eq!(nt_names().len(), rows);
        assert!(nt_names().windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(Status::Nt(0xc000_0022).name(), "STATUS_ACCESS_DENIED");
        assert_eq!(Status::Nt(0xc0ff_ffff).name(), "3238002687");
        let dos = Status::v1(0x0005_0001, true);
        assert_eq!(
            (dos.name(), dos.code()),
            ("DOS_ACCESS_DENIED".into(), "0x0005".into())
        );
    }
}

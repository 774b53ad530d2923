//! Numbers as EVE names them.
use std::borrow::Cow;
use std::fmt::Write as _;

use super::transaction::Command;

/// SMB 2's dialects.
pub fn v2_dialect(dialect: u16) -> Cow<'static, str> {
    Cow::Borrowed(match dialect {
        0x0202 => "2.02",
        0x0210 => "2.10",
        0x0222 => "2.22",
        0x0224 => "2.24",
        0x02ff => "2.??",
        0x0300 => "3.00",
        0x0302 => "3.02",
        0x0310 => "3.10",
        0x0311 => "3.11",
        _ => return Cow::Owned(dialect.to_string()),
    })
}

/// Seconds since 1970 of a FILETIME, 100 ns since 1601; 0 before 1970. Source: MS-DTYP, 2.3.3.
pub fn filetime_s(filetime: u64) -> u32 {
    const EPOCH_S: u64 = 11_644_473_600;
    (filetime / 10_000_000).saturating_sub(EPOCH_S) as u32
}

/// The name of a command.
pub fn command(command: Command) -> Option<String> {
    let (version, name, number) = match command {
        Command::Unknown => return None,
        Command::V1(command) => (1, v1_command(command), u16::from(command)),
        Command::V2(command) => (2, v2_command(command), command),
    };
    Some(match name {
        Some(name) => format!("SMB{version}_COMMAND_{name}"),
        None => number.to_string(),
    })
}

/// Source: MS-SMB2, 2.2.1.2.
fn v2_command(command: u16) -> Option<&'static str> {
    const NAMES: [&str; 19] = [
        "NEGOTIATE_PROTOCOL",
        "SESSION_SETUP",
        "SESSION_LOGOFF",
        "TREE_CONNECT",
        "TREE_DISCONNECT",
        "CREATE",
        "CLOSE",
        "FLUSH",
        "READ",
        "WRITE",
        "LOCK",
        "IOCTL",
        "CANCEL",
        "KEEPALIVE",
        "FIND",
        "CHANGE_NOTIFY",
        "GET_INFO",
        "SET_INFO",
        "OPLOCK_BREAK",
    ];
    NAMES.get(usize::from(command)).copied()
}

/// Source: MS-CIFS, 2.2.2.1.
fn v1_command(command: u8) -> Option<&'static str> {
    Some(match command {
        0x00 => "CREATE_DIRECTORY",
        0x01 => "DELETE_DIRECTORY",
        0x02 => "OPEN",
        0x03 => "CREATE",
        0x04 => "CLOSE",
        0x05 => "FLUSH",
        0x06 => "DELETE",
        0x07 => "RENAME",
        0x08 => "QUERY_INFORMATION",
        0x09 => "SET_INFORMATION",
        0x0a => "READ",
        0x0b => "WRITE",
        0x0c => "LOCK_BYTE_RANGE",
        0x0d => "UNLOCK_BYTE_RANGE",
        0x0e => "CREATE_TEMPORARY",
        0x0f => "CREATE_NEW",
        0x10 => "CHECK_DIRECTORY",
        0x11 => "PROCESS_EXIT",
        0x12 => "SEEK",
        0x13 => "LOCK_AND_READ",
        0x14 => "WRITE_AND_UNLOCK",
        0x24 => "LOCKING_ANDX",
        0x25 => "TRANS",
        0x2b => "ECHO",
        0x2c => "WRITE_AND_CLOSE",
        0x2d => "OPEN_ANDX",
        0x2e => "READ_ANDX",
        0x2f => "WRITE_ANDX",
        0x32 => "TRANS2",
        0x33 => "TRANS2_SECONDARY",
        0x34 => "FIND_CLOSE2",
        0x71 => "TREE_DISCONNECT",
        0x72 => "NEGOTIATE_PROTOCOL",
        0x73 => "SESSION_SETUP_ANDX",
        0x74 => "LOGOFF_ANDX",
        0x75 => "TREE_CONNECT_ANDX",
        0x80 => "QUERY_INFO_DISK",
        0xa0 => "NT_TRANS",
        0xa1 => "NT_TRANS_SECONDARY",
        0xa2 => "NT_CREATE_ANDX",
        0xa4 => "NT_CANCEL",
        _ => return None,
    })
}

/// A GUID, in the order in which EVE writes those of SMB; empty if it is none.
pub fn guid(guid: &[u8]) -> String {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 9, 8, 11, 10, 15, 14, 13, 12];
    let mut text = String::new();
    if guid.len() != 16 {
        return text;
    }
    for (at, from) in ORDER.iter().enumerate() {
        let dash = if matches!(at, 4 | 6 | 8 | 10) {
            "-"
        } else {
            ""
        };
        let _ = write!(text, "{dash}{:02x}", guid[*from]);
    }
    text
}

/// A file's id: a GUID, or SMB 1's number.
pub fn file_id(id: &[u8]) -> String {
    match id {
        [low, high] | [low, high, _, _, _, _] => format!("{high:02x}{low:02x}"),
        _ => guid(id),
    }
}

/// The name of a file system's function. Source: MS-FSCC, 2.3; MS-SMB2, 2.2.31.
pub fn function(function: u32) -> String {
    let name = match function {
        0x0006_0194 => "FSCTL_DFS_GET_REFERRALS",
        0x0006_01b0 => "FSCTL_DFS_GET_REFERRALS_EX",
        0x0009_0000 => "FSCTL_REQUEST_OPLOCK_LEVEL_1",
        0x0009_0018 => "FSCTL_LOCK_VOLUME",
        0x0009_001c => "FSCTL_UNLOCK_VOLUME",
        0x0009_003c => "FSCTL_GET_COMPRESSION",
        0x0009_0060 => "FSCTL_FILESYSTEM_GET_STATISTICS",
        0x0009_0064 => "FSCTL_GET_NTFS_VOLUME_DATA",
        0x0009_009c => "FSCTL_GET_OBJECT_ID",
        0x0009_00a4 => "FSCTL_SET_REPARSE_POINT",
        0x0009_00a8 => "FSCTL_GET_REPARSE_POINT",
        0x0009_00c0 => "FSCTL_CREATE_OR_GET_OBJECT_ID",
        0x0009_00c4 => "FSCTL_SET_SPARSE",
        0x0009_8344 => "FSCTL_DUPLICATE_EXTENTS_TO_FILE",
        0x0011_400c => "FSCTL_PIPE_PEEK",
        0x0011_0018 => "FSCTL_PIPE_WAIT",
        0x0011_c017 => "FSCTL_PIPE_TRANSCEIVE",
        0x0014_0078 => "FSCTL_SRV_REQUEST_RESUME_KEY",
        0x0014_01d4 => "FSCTL_LMR_REQUEST_RESILIENCY",
        0x0014_01fc => "FSCTL_QUERY_NETWORK_INTERFACE_INFO",
        0x0014_0200 => "FSCTL_VALIDATE_NEGOTIATE_INFO_224",
        0x0014_0204 => "FSCTL_VALIDATE_NEGOTIATE_INFO",
        0x0014_4064 => "FSCTL_SRV_ENUMERATE_SNAPSHOTS",
        0x0014_40f2 => "FSCTL_SRV_COPYCHUNK",
        0x0014_41bb => "FSCTL_SRV_READ_HASH",
        0x0014_80f2 => "FSCTL_SRV_COPYCHUNK_WRITE",
        _ => return format!("UNKNOWN_{function:08X}"),
    };
    name.to_string()
}

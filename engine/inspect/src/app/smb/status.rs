//! How a command went.

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
    let at = NT_NAMES.binary_search_by_key(&status, |(number, _)| *number);
    at.ok().map(|at| NT_NAMES[at].1)
}

/// By number; without `STATUS_`.
const NT_NAMES: &[(u32, &str)] = &[
    (0x0000_0000, "SUCCESS"),
    (0x0000_0102, "TIMEOUT"),
    (0x0000_0103, "PENDING"),
    (0x0000_0104, "REPARSE"),
    (0x0000_0105, "MORE_ENTRIES"),
    (0x0000_0107, "SOME_NOT_MAPPED"),
    (0x0000_010b, "NOTIFY_CLEANUP"),
    (0x0000_010c, "NOTIFY_ENUM_DIR"),
    (0x4000_0000, "OBJECT_NAME_EXISTS"),
    (0x8000_0005, "BUFFER_OVERFLOW"),
    (0x8000_0006, "NO_MORE_FILES"),
    (0x8000_000d, "PARTIAL_COPY"),
    (0x8000_001a, "NO_MORE_ENTRIES"),
    (0x8000_002d, "STOPPED_ON_SYMLINK"),
    (0xc000_0001, "UNSUCCESSFUL"),
    (0xc000_0002, "NOT_IMPLEMENTED"),
    (0xc000_0003, "INVALID_INFO_CLASS"),
    (0xc000_0004, "INFO_LENGTH_MISMATCH"),
    (0xc000_0005, "ACCESS_VIOLATION"),
    (0xc000_0008, "INVALID_HANDLE"),
    (0xc000_000d, "INVALID_PARAMETER"),
    (0xc000_000e, "NO_SUCH_DEVICE"),
    (0xc000_000f, "NO_SUCH_FILE"),
    (0xc000_0010, "INVALID_DEVICE_REQUEST"),
    (0xc000_0011, "END_OF_FILE"),
    (0xc000_0013, "NO_MEDIA_IN_DEVICE"),
    (0xc000_0015, "NONEXISTENT_SECTOR"),
    (0xc000_0016, "MORE_PROCESSING_REQUIRED"),
    (0xc000_0017, "NO_MEMORY"),
    (0xc000_001e, "INVALID_LOCK_SEQUENCE"),
    (0xc000_0022, "ACCESS_DENIED"),
    (0xc000_0023, "BUFFER_TOO_SMALL"),
    (0xc000_0024, "OBJECT_TYPE_MISMATCH"),
    (0xc000_0033, "OBJECT_NAME_INVALID"),
    (0xc000_0034, "OBJECT_NAME_NOT_FOUND"),
    (0xc000_0035, "OBJECT_NAME_COLLISION"),
    (0xc000_0037, "PORT_DISCONNECTED"),
    (0xc000_0039, "OBJECT_PATH_INVALID"),
    (0xc000_003a, "OBJECT_PATH_NOT_FOUND"),
    (0xc000_003b, "OBJECT_PATH_SYNTAX_BAD"),
    (0xc000_003e, "DATA_ERROR"),
    (0xc000_003f, "CRC_ERROR"),
    (0xc000_0040, "SECTION_TOO_BIG"),
    (0xc000_0041, "PORT_CONNECTION_REFUSED"),
    (0xc000_0043, "SHARING_VIOLATION"),
    (0xc000_004f, "EAS_NOT_SUPPORTED"),
    (0xc000_0050, "EA_TOO_LARGE"),
    (0xc000_0051, "NONEXISTENT_EA_ENTRY"),
    (0xc000_0052, "NO_EAS_ON_FILE"),
    (0xc000_0054, "FILE_LOCK_CONFLICT"),
    (0xc000_0055, "LOCK_NOT_GRANTED"),
    (0xc000_0056, "DELETE_PENDING"),
    (0xc000_005e, "NO_LOGON_SERVERS"),
    (0xc000_0061, "PRIVILEGE_NOT_HELD"),
    (0xc000_0064, "NO_SUCH_USER"),
    (0xc000_006a, "WRONG_PASSWORD"),
    (0xc000_006d, "LOGON_FAILURE"),
    (0xc000_006e, "ACCOUNT_RESTRICTION"),
    (0xc000_006f, "INVALID_LOGON_HOURS"),
    (0xc000_0070, "INVALID_WORKSTATION"),
    (0xc000_0071, "PASSWORD_EXPIRED"),
    (0xc000_0072, "ACCOUNT_DISABLED"),
    (0xc000_0073, "NONE_MAPPED"),
    (0xc000_007a, "PROCEDURE_NOT_FOUND"),
    (0xc000_007e, "RANGE_NOT_LOCKED"),
    (0xc000_007f, "DISK_FULL"),
    (0xc000_009a, "INSUFFICIENT_RESOURCES"),
    (0xc000_009c, "DEVICE_DATA_ERROR"),
    (0xc000_00a2, "MEDIA_WRITE_PROTECTED"),
    (0xc000_00a3, "DEVICE_NOT_READY"),
    (0xc000_00ab, "INSTANCE_NOT_AVAILABLE"),
    (0xc000_00ac, "PIPE_NOT_AVAILABLE"),
    (0xc000_00ad, "INVALID_PIPE_STATE"),
    (0xc000_00ae, "PIPE_BUSY"),
    (0xc000_00b0, "PIPE_DISCONNECTED"),
    (0xc000_00b1, "PIPE_CLOSING"),
    (0xc000_00b3, "PIPE_LISTENING"),
    (0xc000_00b4, "INVALID_READ_MODE"),
    (0xc000_00b5, "IO_TIMEOUT"),
    (0xc000_00ba, "FILE_IS_A_DIRECTORY"),
    (0xc000_00bb, "NOT_SUPPORTED"),
    (0xc000_00bd, "DUPLICATE_NAME"),
    (0xc000_00be, "BAD_NETWORK_PATH"),
    (0xc000_00c3, "INVALID_NETWORK_RESPONSE"),
    (0xc000_00c9, "NETWORK_NAME_DELETED"),
    (0xc000_00ca, "NETWORK_ACCESS_DENIED"),
    (0xc000_00cb, "BAD_DEVICE_TYPE"),
    (0xc000_00cc, "BAD_NETWORK_NAME"),
    (0xc000_00ce, "TOO_MANY_SESSIONS"),
    (0xc000_00d0, "REQUEST_NOT_ACCEPTED"),
    (0xc000_00d4, "NOT_SAME_DEVICE"),
    (0xc000_00d5, "FILE_RENAMED"),
    (0xc000_00d9, "PIPE_EMPTY"),
    (0xc000_00e2, "OPLOCK_NOT_GRANTED"),
    (0xc000_0101, "DIRECTORY_NOT_EMPTY"),
    (0xc000_0102, "FILE_CORRUPT_ERROR"),
    (0xc000_0103, "NOT_A_DIRECTORY"),
    (0xc000_011f, "TOO_MANY_OPENED_FILES"),
    (0xc000_0120, "CANCELLED"),
    (0xc000_0121, "CANNOT_DELETE"),
    (0xc000_0123, "FILE_DELETED"),
    (0xc000_0128, "FILE_CLOSED"),
    (0xc000_0148, "INVALID_LEVEL"),
    (0xc000_014b, "PIPE_BROKEN"),
    (0xc000_015b, "LOGON_TYPE_NOT_GRANTED"),
    (0xc000_0184, "INVALID_DEVICE_STATE"),
    (0xc000_018a, "NO_TRUST_LSA_SECRET"),
    (0xc000_018b, "NO_TRUST_SAM_ACCOUNT"),
    (0xc000_018d, "TRUSTED_RELATIONSHIP_FAILURE"),
    (0xc000_0193, "ACCOUNT_EXPIRED"),
    (0xc000_019c, "FS_DRIVER_REQUIRED"),
    (0xc000_0203, "USER_SESSION_DELETED"),
    (0xc000_0205, "INSUFF_SERVER_RESOURCES"),
    (0xc000_0224, "PASSWORD_MUST_CHANGE"),
    (0xc000_0225, "NOT_FOUND"),
    (0xc000_0233, "DOMAIN_CONTROLLER_NOT_FOUND"),
    (0xc000_0234, "ACCOUNT_LOCKED_OUT"),
    (0xc000_0235, "HANDLE_NOT_CLOSABLE"),
    (0xc000_0257, "PATH_NOT_COVERED"),
    (0xc000_0275, "NOT_A_REPARSE_POINT"),
    (0xc000_035c, "NETWORK_SESSION_EXPIRED"),
    (0xc000_05c5, "SMB_BAD_CLUSTER_DIALECT"),
];

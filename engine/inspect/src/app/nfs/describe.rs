//! EVE's `nfs` and `rpc`.
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::transaction::{FileTx, Kind, Transaction};
use crate::event::AsText;

/// A transaction under `nfs`.
pub struct Nfs<'a>(pub &'a Transaction);
/// A transaction under `rpc`.
pub struct Rpc<'a>(pub &'a Transaction);

/// Procedures of NFS 3, by number; NFS 2's are shown under these names too, as Suricata has it.
const PROCEDURES: [&str; 22] = [
    "NULL",
    "GETATTR",
    "SETATTR",
    "LOOKUP",
    "ACCESS",
    "READLINK",
    "READ",
    "WRITE",
    "CREATE",
    "MKDIR",
    "SYMLINK",
    "MKNOD",
    "REMOVE",
    "RMDIR",
    "RENAME",
    "LINK",
    "READDIR",
    "READDIRPLUS",
    "FSSTAT",
    "FSINFO",
    "PATHCONF",
    "COMMIT",
];
const READ_3: u32 = 6;
const WRITE_3: u32 = 7;

/// Statuses by number. Source: RFC 1813, 2.6; RFC 7530, 13.1.
const STATUSES: [(u32, &str); 29] = [
    (0, "OK"),
    (1, "ERR_PERM"),
    (2, "ERR_NOENT"),
    (5, "ERR_IO"),
    (6, "ERR_NXIO"),
    (13, "ERR_ACCES"),
    (17, "ERR_EXIST"),
    (18, "ERR_XDEV"),
    (19, "ERR_NODEV"),
    (20, "ERR_NOTDIR"),
    (21, "ERR_ISDIR"),
    (22, "ERR_INVAL"),
    (27, "ERR_FBIG"),
    (28, "ERR_NOSPC"),
    (30, "ERR_ROFS"),
    (31, "ERR_MLINK"),
    (63, "ERR_NAMETOOLONG"),
    (66, "ERR_NOTEMPTY"),
    (69, "ERR_DQUOT"),
    (70, "ERR_STALE"),
    (71, "ERR_REMOTE"),
    (10001, "ERR_BADHANDLE"),
    (10002, "ERR_NOT_SYNC"),
    (10003, "ERR_BAD_COOKIE"),
    (10004, "ERR_NOTSUPP"),
    (10005, "ERR_TOOSMALL"),
    (10006, "ERR_SERVERFAULT"),
    (10007, "ERR_BADTYPE"),
    (10008, "ERR_JUKEBOX"),
];

fn write_name<M: SerializeMap>(
    map: &mut M,
    key: &'static str,
    name: Option<&str>,
    number: u32,
) -> Result<(), M::Error> {
    match name {
        Some(name) => map.serialize_entry(key, name),
        None => map.serialize_entry(key, &AsText(number)),
    }
}

fn procedure_name(version: u32, procedure: u32) -> Option<&'static str> {
    match (version, procedure) {
        (4, 6) => Some("CREATE"),
        (4, 25) => Some("READ"),
        (4, 28) => Some("REMOVE"),
        (4, 38) => Some("WRITE"),
        (4, _) => None,
        _ => PROCEDURES.get(procedure as usize).copied(),
    }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

impl Serialize for Nfs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tx = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version", &tx.version)?;
        let name = procedure_name(tx.version, tx.procedure);
        write_name(&mut map, "procedure", name, tx.procedure)?;
        map.serialize_entry("filename", &text(&tx.name))?;
        if let Some(handle) = &tx.handle {
            let hash = crc32fast::hash(handle.bytes());
            map.serialize_entry("hhash", &format!("{hash:x}"))?;
        }
        map.serialize_entry("id", &(tx.head.id + 1))?;
        map.serialize_entry("file_tx", &tx.file().is_some())?;
        map.serialize_entry("type", "response")?;
        let status = STATUSES.iter().find(|(number, _)| *number == tx.status);
        write_name(&mut map, "status", status.map(|it| it.1), tx.status)?;
        match (&tx.kind, tx.procedure) {
            (Kind::Rename { from, to }, _) => {
                map.serialize_entry("rename", &Renamed { from, to })?;
            }
            (Kind::File(file), READ_3) => map.serialize_entry("read", &Chunks(file))?,
            (Kind::File(file), WRITE_3) => map.serialize_entry("write", &Chunks(file))?,
            _ => {}
        }
        map.end()
    }
}

struct Renamed<'a> {
    from: &'a [u8],
    to: &'a [u8],
}

impl Serialize for Renamed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("from", &text(self.from))?;
        map.serialize_entry("to", &text(self.to))?;
        map.end()
    }
}

struct Chunks<'a>(&'a FileTx);

impl Serialize for Chunks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("first", &true)?;
        map.serialize_entry("last", &self.0.last_xid.is_some())?;
        map.serialize_entry("last_xid", &self.0.last_xid.unwrap_or(0))?;
        map.serialize_entry("chunks", &self.0.chunks)?;
        map.end()
    }
}

impl Serialize for Rpc<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tx = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("xid", &tx.xid)?;
        let state = ["ACCEPTED", "DENIED"].get(tx.reply_state as usize);
        write_name(&mut map, "status", state.copied(), tx.reply_state)?;
        let flavor = match tx.credentials.flavor {
            0 => Some("NULL"),
            1 => Some("UNIX"),
            6 => Some("GSS"),
            _ => None,
        };
        write_name(&mut map, "auth_type", flavor, tx.credentials.flavor)?;
        if let Some((machine, user, group)) = &tx.credentials.unix {
            let who = Who {
                machine,
                ids: [*user, *group],
            };
            map.serialize_entry("creds", &who)?;
        }
        map.end()
    }
}

struct Who<'a> {
    machine: &'a [u8],
    ids: [u32; 2],
}

impl Serialize for Who<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("machine_name", &text(self.machine))?;
        map.serialize_entry("uid", &self.ids[0])?;
        map.serialize_entry("gid", &self.ids[1])?;
        map.end()
    }
}

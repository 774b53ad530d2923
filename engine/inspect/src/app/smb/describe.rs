//! EVE's `smb`.
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::app::dcerpc::record::{kind, kind_name};
use crate::app::dcerpc::{uuid_text, Interface};

use super::text;
use super::transaction::{
    Create, FileTx, Host, Kind, Negotiate, Rename, Rpc, SessionSetup, SetInfo, Transaction,
    TreeConnect,
};

/// A transaction as EVE shows it.
pub struct Record<'a>(pub &'a Transaction);

/// Bytes as text; what is no UTF-8 is replaced.
fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tx = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &(tx.head.id + 1))?;
        let session = &tx.session;
        match (session.dialect, &session.dialect_name) {
            (0, None) => map.serialize_entry("dialect", "unknown")?,
            (0, Some(name)) => {
                let name = std::str::from_utf8(name).unwrap_or("invalid");
                map.serialize_entry("dialect", name)?;
            }
            (dialect, _) => map.serialize_entry("dialect", &text::v2_dialect(dialect))?,
        }
        if let Some(command) = text::command(tx.command) {
            map.serialize_entry("command", &command)?;
        }
        if let Some(status) = tx.status {
            map.serialize_entry("status", &status.name())?;
            map.serialize_entry("status_code", &status.code())?;
        }
        map.serialize_entry("session_id", &tx.key.session)?;
        map.serialize_entry("tree_id", &tx.key.tree)?;
        match &tx.kind {
            Kind::Generic => {}
            Kind::File(file) => file.write(&mut map)?,
            Kind::TreeConnect(tree) => tree.write(&mut map)?,
            Kind::Negotiate(negotiate) => negotiate.write(&mut map, tx)?,
            Kind::Rpc(rpc) => map.serialize_entry("dcerpc", &RpcRecord(rpc, tx))?,
            Kind::Create(create) => create.write(&mut map)?,
            Kind::SessionSetup(setup) => setup.write(&mut map)?,
            Kind::Ioctl(function) => {
                map.serialize_entry("function", &text::function(*function))?;
            }
            Kind::Rename(rename) => rename.write(&mut map, tx)?,
            Kind::SetInfo(info) => info.write(&mut map)?,
        }
        map.end()
    }
}

impl FileTx {
    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("filename", &lossy(&self.file.file().name))?;
        map.serialize_entry("share", &lossy(&self.share))?;
        map.serialize_entry("fuid", &text::file_id(self.id.bytes()))
    }
}

impl TreeConnect {
    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let key = if self.is_pipe { "named_pipe" } else { "share" };
        map.serialize_entry(key, &lossy(&self.share))?;
        if self.request_service.is_none() {
            let share_type = match self.share_type {
                1 => "FILE",
                2 => "PIPE",
                3 => "PRINT",
                _ => "UNKNOWN",
            };
            return map.serialize_entry("share_type", share_type);
        }
        let service = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(|it| lossy(it).into_owned());
        let request = service(&self.request_service);
        let response = service(&self.response_service);
        map.serialize_entry(
            "service",
            &Object(&[("request", request), ("response", response)]),
        )
    }
}

impl Negotiate {
    fn write<M: SerializeMap>(&self, map: &mut M, tx: &Transaction) -> Result<(), M::Error> {
        let dialects: Vec<_> = self.dialects.iter().map(|name| lossy(name)).collect();
        map.serialize_entry("client_dialects", &dialects)?;
        if let Some(guid) = &self.client_guid {
            map.serialize_entry("client_guid", &text::guid(guid))?;
        }
        map.serialize_entry("server_guid", &text::guid(&self.server_guid))?;
        if tx.session.max_read > 0 {
            map.serialize_entry("max_read_size", &tx.session.max_read)?;
        }
        if tx.session.max_write > 0 {
            map.serialize_entry("max_write_size", &tx.session.max_write)?;
        }
        Ok(())
    }
}

impl Create {
    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        match (self.name.is_empty(), self.directory) {
            (true, _) => map.serialize_entry("filename", "<share_root>")?,
            (false, true) => map.serialize_entry("directory", &lossy(&self.name))?,
            (false, false) => map.serialize_entry("filename", &lossy(&self.name))?,
        }
        let disposition = match self.disposition {
            0 => "FILE_SUPERSEDE",
            1 => "FILE_OPEN",
            2 => "FILE_CREATE",
            3 => "FILE_OPEN_IF",
            4 => "FILE_OVERWRITE",
            5 => "FILE_OVERWRITE_IF",
            _ => "UNKNOWN",
        };
        map.serialize_entry("disposition", disposition)?;
        map.serialize_entry("access", access(self.delete_on_close))?;
        let names = ["created", "accessed", "modified", "changed"];
        for (name, time_s) in names.iter().zip(self.times_s) {
            map.serialize_entry(name, &time_s)?;
        }
        map.serialize_entry("size", &self.size)?;
        map.serialize_entry("fuid", &text::file_id(&self.id))
    }
}

fn access(delete: bool) -> &'static str {
    match delete {
        true => "delete on close",
        false => "normal",
    }
}

impl SessionSetup {
    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        if let Some(ntlmssp) = &self.credentials.ntlmssp {
            let version = ntlmssp.version.map(|(major, minor, build, revision)| {
                format!("{major}.{minor} build {build} rev {revision}")
            });
            let name = |bytes: &[u8]| Some(lossy(bytes).into_owned());
            map.serialize_entry(
                "ntlmssp",
                &Object(&[
                    ("domain", name(&ntlmssp.domain)),
                    ("user", name(&ntlmssp.user)),
                    ("host", name(&ntlmssp.host)),
                    ("version", version),
                ]),
            )?;
        }
        if let Some(ticket) = &self.credentials.ticket {
            map.serialize_entry("kerberos", &Kerberos(&ticket.realm, &ticket.service))?;
        }
        let hosts = [("request", &self.client), ("response", &self.server)];
        for (key, host) in hosts {
            if let Some(Host { os, lan_man }) = host {
                let os = Some(lossy(os).into_owned());
                let lan_man = Some(lossy(lan_man).into_owned());
                map.serialize_entry(key, &Object(&[("native_os", os), ("native_lm", lan_man)]))?;
            }
        }
        Ok(())
    }
}

struct Kerberos<'a>(&'a [u8], &'a [Vec<u8>]);

impl Serialize for Kerberos<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("realm", &lossy(self.0))?;
        let names: Vec<_> = self.1.iter().map(|name| lossy(name)).collect();
        map.serialize_entry("snames", &names)?;
        map.end()
    }
}

impl Rename {
    fn write<M: SerializeMap>(&self, map: &mut M, tx: &Transaction) -> Result<(), M::Error> {
        if let super::transaction::Command::V2(_) = tx.command {
            let class = Some("FILE_INFO".to_string());
            let level = Some("SMB2_FILE_RENAME_INFO".to_string());
            map.serialize_entry(
                "set_info",
                &Object(&[("class", class), ("info_level", level)]),
            )?;
        }
        let from = Some(lossy(&self.from).into_owned());
        let to = Some(lossy(&self.to).into_owned());
        map.serialize_entry("rename", &Object(&[("from", from), ("to", to)]))?;
        map.serialize_entry("fuid", &text::file_id(&self.id))
    }
}

impl SetInfo {
    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        if self.name.is_empty() {
            map.serialize_entry("filename", "<share_root>")?;
        } else {
            map.serialize_entry("filename", &lossy(&self.name))?;
        }
        map.serialize_entry("access", access(self.delete))?;
        match self.subcommand {
            8 => map.serialize_entry("subcmd", "SET_FILE_INFO")?,
            6 => map.serialize_entry("subcmd", "SET_PATH_INFO")?,
            _ => {}
        }
        if self.level == 1013 {
            map.serialize_entry("level_of_interest", "Set Disposition Information")?;
        }
        map.serialize_entry("fuid", &text::file_id(&self.id))
    }
}

/// An object of texts, without those that are not there.
struct Object<'a>(&'a [(&'static str, Option<String>)]);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.0 {
            if let Some(value) = value {
                map.serialize_entry(key, value)?;
            }
        }
        map.end()
    }
}

struct RpcRecord<'a>(&'a Rpc, &'a Transaction);

impl Serialize for RpcRecord<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(rpc, tx) = self;
        let interfaces = tx.session.interfaces.as_deref();
        let mut map = serializer.serialize_map(None)?;
        let request = rpc.request.map_or("REQUEST_LOST".into(), kind_name);
        map.serialize_entry("request", &request)?;
        let response = rpc.response.map_or("UNREPLIED".into(), kind_name);
        map.serialize_entry("response", &response)?;
        match rpc.request {
            Some(kind::REQUEST) => {
                map.serialize_entry("opnum", &rpc.opnum)?;
                map.serialize_entry("req", &Half(rpc.fragments[0], rpc.stub[0].len()))?;
                // Suricata compares the context with one it never fills.
                if let Some(interfaces) = interfaces.filter(|_| rpc.context == 0) {
                    map.serialize_entry("interfaces", &Interfaces(interfaces, false))?;
                }
            }
            Some(kind::BIND) => {
                if let Some(interfaces) = interfaces {
                    map.serialize_entry("interfaces", &Interfaces(interfaces, true))?;
                }
            }
            _ => {}
        }
        if rpc.response == Some(kind::RESPONSE) {
            map.serialize_entry("res", &Half(rpc.fragments[1], rpc.stub[1].len()))?;
        }
        map.serialize_entry("call_id", &rpc.call)?;
        map.end()
    }
}

/// Fragments and bytes of one side of a call.
struct Half(u16, usize);

impl Serialize for Half {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("frag_cnt", &self.0)?;
        map.serialize_entry("stub_data_size", &self.1)?;
        map.end()
    }
}

/// Interfaces, with or without how they were answered.
struct Interfaces<'a>(&'a [Interface], bool);

impl Serialize for Interfaces<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for interface in self.0 {
            list.serialize_element(&One(interface, self.1))?;
        }
        list.end()
    }
}

struct One<'a>(&'a Interface, bool);

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(interface, answered) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("uuid", &uuid_text(&interface.uuid))?;
        let version = format!("{}.{}", interface.major, interface.minor);
        map.serialize_entry("version", &version)?;
        if let (true, Some((result, _))) = (answered, interface.ack) {
            map.serialize_entry("ack_result", &result)?;
            // Suricata has the field and never fills it.
            map.serialize_entry("ack_reason", &0)?;
        }
        map.end()
    }
}

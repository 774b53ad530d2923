//! Frames: a protocol's units as they are on the wire.
use super::super::buffer::{Buffer, Transaction};
use super::super::draft::Draft;
use super::super::lexer::unquote;
use super::super::{Protocol, Reason};
use super::{text, value, Keyword};
use crate::app::frame::Frame;
use crate::app::{self, AppProto, AppSet, Stage};

pub(super) const KEYWORDS: &[Keyword] = &[value(&["frame"], frame)];

/// One buffer a frame: protocol, and the frame's name.
macro_rules! frames {
    ($($app:ident $name:literal),* $(,)?) => {
        &[$((AppProto::$app, $name, Buffer {
            to_server: Some(Stage::Line),
            to_client: Some(Stage::Line),
            grows: true,
            at_once: true,
            frame: Some($name),
            ..Buffer::both(
                concat!("frame:", stringify!($app), ".", $name),
                AppSet::of(&[AppProto::$app]),
                |view, _, _, _| bytes(view, $name),
            )
        }),)*]
    };
}

static FRAMES: &[(AppProto, &str, Buffer)] = frames![
    Http "request", Http "response",
    Tls "pdu", Tls "hdr", Tls "data", Tls "alert", Tls "heartbeat", Tls "ssl2.hdr", Tls "ssl2.pdu",
    Smb "nbss.pdu", Smb "nbss.hdr", Smb "nbss.data",
    Smb "smb1.pdu", Smb "smb1.hdr", Smb "smb1.data",
    Smb "smb2.pdu", Smb "smb2.hdr", Smb "smb2.data",
    Smb "smb3.pdu", Smb "smb3.hdr", Smb "smb3.data",
    Dns "pdu", Mqtt "pdu", Mqtt "header", Mqtt "data", Rfb "pdu",
    Telnet "pdu", Telnet "ctl", Telnet "data",
    Sip "pdu", Sip "request.line", Sip "request.headers", Sip "request.body",
    Sip "response.line", Sip "response.headers", Sip "response.body",
    Nfs "rpc.pdu", Nfs "rpc.hdr", Nfs "rpc.data", Nfs "rpc.creds",
    Nfs "nfs.pdu", Nfs "nfs.status",
    Nfs "nfs4.pdu", Nfs "nfs4.hdr", Nfs "nfs4.ops", Nfs "nfs4.status",
    Http "stream", Http2 "stream", Tls "stream", Ssh "stream", Smtp "stream", Ftp "stream",
    FtpData "stream", Dns "stream", Smb "stream", Mqtt "stream", Rfb "stream", Sip "stream",
    Telnet "stream", Nfs "stream", Imap "stream", Pgsql "stream", Rdp "stream", Krb5 "stream",
    Dcerpc "stream", Modbus "stream", Dnp3 "stream", Enip "stream",
];

fn bytes<'a>(view: &'a dyn Transaction, name: &str) -> Option<&'a [u8]> {
    app::of::<Frame>(view)?.named(name)
}

/// How many frames are named where another one is asked for: a protocol has fewer, `tcp` has all.
const MAX_TOLD: usize = 12;

/// `frame:NAME` of the rule's own protocol, or `frame:PROTOCOL.NAME`.
fn frame(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, unquote(value, false).unwrap_or(value))?.trim();
    let named = |app: AppProto, name: &str| {
        let mut all = FRAMES.iter();
        all.find(|it| it.0 == app && it.1 == name).map(|it| &it.2)
    };
    // What stands before the first dot is a protocol where there is one of that name. HTTP of whatever version has
    // no frames.
    let prefixed = value.split_once('.').and_then(|(protocol, name)| {
        let app = match protocol {
            "http1" => AppProto::Http,
            _ => AppProto::from_name(protocol).filter(|app| *app != AppProto::Http)?,
        };
        Some((app, name))
    });
    let versionless = draft.protocol == Protocol::App(AppProto::Http) && value != "stream";
    let own = |_: &AppProto| !versionless;
    let found = match prefixed {
        Some((app, name)) => named(app, name),
        None => draft
            .apps
            .iter()
            .filter(own)
            .find_map(|app| named(app, value)),
    };
    let buffer = found.ok_or_else(|| {
        let apps = prefixed.map_or_else(|| draft.apps.iter().collect(), |(app, _)| vec![app]);
        let of_these = FRAMES.iter().filter(|frame| apps.contains(&frame.0));
        let known: Vec<_> = of_these.map(|frame| frame.1).take(MAX_TOLD).collect();
        let known = match &known[..] {
            [] => "no frame of this protocol".to_owned(),
            [only] => format!("not {only}, the only one"),
            known => format!("none of {}", known.join(", ")),
        };
        Reason::bad_value(keyword, format!("'{value}': {known}"))
    })?;
    draft.enter(buffer)
}

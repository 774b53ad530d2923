//! Conditions on the application protocol and on what its parser noticed.
use super::super::condition::{TxOperand, TxTest};
use super::super::draft::Draft;
use super::super::lexer::unquote;
use super::super::signature::AppTest;
use super::super::Reason;
use super::{dcerpc, event, text, value, Keyword};
use crate::app::http::HttpEvent;
use crate::app::{
    dns, ftp, http2, ike, krb5, mqtt, nfs, quic, rfb, smb, smtp, ssh, tls, AppProto, AppSet,
};

pub(super) const KEYWORDS: &[Keyword] = &[
    value(&["app-layer-protocol"], app_layer_protocol),
    value(&["app-layer-event"], app_layer_event),
];

fn app_layer_protocol(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, unquote(value, false).unwrap_or(value))?;
    let (negated, name) = match value.strip_prefix('!') {
        Some(name) => (true, name.trim()),
        None => (false, value),
    };
    let apps = match name {
        "failed" => AppSet::EMPTY,
        "http" => AppSet::of(&[AppProto::Http, AppProto::Http2]),
        "http1" => AppSet::of(&[AppProto::Http]),
        "dcerpc" => dcerpc::CARRIERS,
        _ => {
            let known = AppProto::from_name(name);
            let unknown = || Reason::unsupported_form(keyword, format!("protocol '{name}'"));
            AppSet::of(&[known.ok_or_else(unknown)?])
        }
    };
    if !draft.apps.is_empty() {
        return Err(Reason::Conflict(
            "'app-layer-protocol' beside another protocol".into(),
        ));
    }
    let test = AppTest {
        apps,
        negated,
        once: false,
    };
    // Several may be excluded, but only one asked for.
    let one_is_asked_for = !negated || draft.app_tests.iter().any(|it| !it.negated);
    if one_is_asked_for && !draft.app_tests.is_empty() {
        return Err(Reason::Conflict(
            "more than one 'app-layer-protocol'".into(),
        ));
    }
    draft.app_tests.push(test);
    Ok(())
}

/// The events of a protocol's parser: their names, or all that begin with a word.
type Events = (
    &'static [&'static str],
    AppProto,
    fn(&str) -> Option<&'static str>,
);

/// By the prefixes in front of the dot.
const EVENTS: &[Events] = &[
    (&["http", "http1"], AppProto::Http, |name| {
        HttpEvent::from_name(name).map(HttpEvent::name)
    }),
    (&["http2"], AppProto::Http2, |name| {
        listed(http2::events::ALL, name)
    }),
    (&["ftp"], AppProto::Ftp, |name| listed(ftp::EVENTS, name)),
    (&["smb"], AppProto::Smb, |name| {
        listed(smb::events::ALL, name)
    }),
    (&["smtp"], AppProto::Smtp, |name| listed(smtp::EVENTS, name)),
    (&["dhcp"], AppProto::Dhcp, |name| {
        listed(crate::app::dhcp::EVENTS, name)
    }),
    (&["ntp"], AppProto::Ntp, |name| {
        listed(crate::app::ntp::EVENTS, name)
    }),
    (&["sip"], AppProto::Sip, |name| {
        listed(crate::app::sip::EVENTS, name)
    }),
    (&["snmp"], AppProto::Snmp, |name| {
        listed(crate::app::snmp::EVENTS, name)
    }),
    (&["dns"], AppProto::Dns, |name| listed(dns::EVENTS, name)),
    (&["ike", "ikev2"], AppProto::Ike, |name| {
        listed(ike::EVENTS, name)
    }),
    (&["nfs"], AppProto::Nfs, |name| listed(nfs::EVENTS, name)),
    (&["krb5"], AppProto::Krb5, |name| listed(krb5::EVENTS, name)),
    (&["mqtt"], AppProto::Mqtt, |name| listed(mqtt::EVENTS, name)),
    (&["quic"], AppProto::Quic, |name| listed(quic::EVENTS, name)),
    (&["bittorrent-dht"], AppProto::BittorrentDht, |name| {
        listed(crate::app::bittorrent_dht::EVENTS, name)
    }),
    (&["rfb"], AppProto::Rfb, |name| listed(rfb::EVENTS, name)),
    (&["ssh"], AppProto::Ssh, |name| listed(ssh::EVENTS, name)),
    (&["tls"], AppProto::Tls, |name| {
        listed(tls::event::NAMES, name)
    }),
];

/// Looks a name up in a parser's list of event names; for the rows of [`EVENTS`].
fn listed(names: &[&'static str], name: &str) -> Option<&'static str> {
    names.iter().copied().find(|known| *known == name)
}

fn app_layer_event(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, unquote(value, false).unwrap_or(value))?;
    if let Some(event) = event::applayer(value) {
        event::ask_for(draft, event);
        return Ok(());
    }
    let unsupported = || Reason::unsupported_form(keyword, format!("'{value}'"));
    let (protocol, name) = value.split_once('.').ok_or_else(unsupported)?;
    let (_, app, find) = EVENTS
        .iter()
        .find(|(prefixes, ..)| prefixes.contains(&protocol))
        .ok_or_else(unsupported)?;
    let event =
        find(name).ok_or_else(|| Reason::bad_value(keyword, format!("no event '{name}'")))?;
    draft.need_apps(AppSet::of(&[*app]), keyword)?;
    draft.tx_tests.push(TxTest {
        keyword: "app-layer-event",
        sides: TxTest::EITHER,
        holds: |transaction, _, operand| match operand {
            TxOperand::Name(event) => transaction.has_event(event),
            _ => false,
        },
        operand: TxOperand::Name(event),
    });
    Ok(())
}

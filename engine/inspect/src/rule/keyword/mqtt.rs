//! MQTT's buffers and conditions.
use super::super::buffer::{Buffer, Extract, Stage, Transaction};
use super::super::condition::{TxOperand, TxTest};
use super::super::draft::Draft;
use super::super::number;
use super::super::Reason;
use super::{decimal, sticky, text, value, Keyword};
use crate::app::mqtt::{self, ConnectFlags, Message};
use crate::app::{of, AppProto, AppSet};
use crate::Direction;

pub(super) const KEYWORDS: &[Keyword] = &[
    sticky(&["mqtt.connect.clientid"], &CLIENT_ID),
    sticky(&["mqtt.connect.username"], &USERNAME),
    sticky(&["mqtt.connect.password"], &PASSWORD),
    sticky(&["mqtt.connect.willtopic"], &WILL_TOPIC),
    sticky(&["mqtt.connect.willmessage"], &WILL_MESSAGE),
    sticky(&["mqtt.publish.topic"], &PUBLISH_TOPIC),
    sticky(&["mqtt.publish.message"], &PUBLISH_MESSAGE),
    sticky(&["mqtt.subscribe.topic"], &SUBSCRIBE_TOPIC),
    sticky(&["mqtt.unsubscribe.topic"], &UNSUBSCRIBE_TOPIC),
    value(&["mqtt.type"], kind),
    value(&["mqtt.flags"], flags),
    value(&["mqtt.qos"], qos),
    value(&["mqtt.protocol_version"], protocol_version),
    value(&["mqtt.reason_code", "mqtt.connack.return_code"], reason),
    value(&["mqtt.connect.flags"], connect_flags),
    value(&["mqtt.connack.session_present"], session_present),
];

const MQTT: AppSet = AppSet::of(&[AppProto::Mqtt]);

/// Topics of one transaction that are looked at. Suricata's default.
const MAX_TOPICS: usize = 100;

const BOTH: [Option<Stage>; 2] = TxTest::EITHER;
/// What Suricata looks at only where a client began the transaction.
const CLIENT: [Option<Stage>; 2] = [Some(Stage::Line), None];
/// Likewise a server.
const SERVER: [Option<Stage>; 2] = [None, Some(Stage::Line)];

/// A part of the transaction's first packet, which is there from the beginning.
const fn part(name: &'static str, extract: Extract) -> Buffer {
    Buffer {
        to_server: Some(Stage::Body),
        to_client: None,
        ..Buffer::both(name, MQTT, extract)
    }
}

/// An extractor for what a packet's method finds.
macro_rules! found {
    ($method:ident) => {
        |view, _, index, _| {
            let tx = of::<mqtt::Transaction>(view).filter(|_| index == 0)?;
            tx.part(Message::$method)
        }
    };
}

static CLIENT_ID: Buffer = part("mqtt.connect.clientid", found!(client_id));
static USERNAME: Buffer = part("mqtt.connect.username", found!(username));
static PASSWORD: Buffer = part("mqtt.connect.password", found!(password));
static WILL_TOPIC: Buffer = part("mqtt.connect.willtopic", found!(will_topic));
static WILL_MESSAGE: Buffer = part("mqtt.connect.willmessage", found!(will_message));
static PUBLISH_MESSAGE: Buffer = part("mqtt.publish.message", found!(publish_message));
static PUBLISH_TOPIC: Buffer = Buffer {
    to_client: Some(Stage::Body),
    ..part("mqtt.publish.topic", found!(publish_topic))
};

static SUBSCRIBE_TOPIC: Buffer = Buffer {
    multiple: true,
    ..Buffer::both("mqtt.subscribe.topic", MQTT, |view, _, index, _| {
        topic(view, "SUBSCRIBE", index)
    })
};
static UNSUBSCRIBE_TOPIC: Buffer = Buffer {
    to_client: None,
    multiple: true,
    ..Buffer::both("mqtt.unsubscribe.topic", MQTT, |view, _, index, _| {
        topic(view, "UNSUBSCRIBE", index)
    })
};

/// The `index`-th topic of a whole transaction's packets of that type.
fn topic<'a>(view: &'a dyn Transaction, kind: &str, index: u32) -> Option<&'a [u8]> {
    let tx = of::<mqtt::Transaction>(view).filter(|tx| tx.is_whole())?;
    let kind = Message::kind_named(kind);
    let packets = tx.messages.iter().filter(|it| Some(it.kind()) == kind);
    let mut topics = packets.flat_map(Message::topics).take(MAX_TOPICS);
    topics.nth(usize::try_from(index).ok()?)
}

type Holds = fn(&dyn Transaction, Direction, &TxOperand) -> bool;

fn add(
    draft: &mut Draft,
    keyword: &'static str,
    sides: [Option<Stage>; 2],
    operand: TxOperand,
    holds: Holds,
) -> Result<(), Reason> {
    draft.need_apps(MQTT, keyword)?;
    draft.tx_tests.push(TxTest {
        keyword,
        sides,
        holds,
        operand,
    });
    Ok(())
}

/// Whether some packet of a whole transaction fits the number wanted.
fn some(view: &dyn Transaction, wanted: &TxOperand, fits: impl Fn(&Message, u64) -> bool) -> bool {
    match (of::<mqtt::Transaction>(view), wanted) {
        (Some(tx), TxOperand::Number(wanted)) => {
            tx.is_whole() && tx.messages.iter().any(|it| fits(it, *wanted))
        }
        _ => false,
    }
}

fn kind(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let name = text(keyword, value)?.trim();
    let kind = Message::kind_named(name)
        .ok_or_else(|| Reason::bad_value(keyword, format!("no packet type '{name}'")))?;
    let wanted = TxOperand::Number(kind.into());
    add(draft, "mqtt.type", BOTH, wanted, |view, _, wanted| {
        some(view, wanted, |it, kind| u64::from(it.kind()) == kind)
    })
}

fn qos(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let qos: u8 = decimal(keyword, value)?;
    if qos > 2 {
        return Err(Reason::bad_value(keyword, "not 0, 1 or 2"));
    }
    let wanted = TxOperand::Number(qos.into());
    add(draft, "mqtt.qos", CLIENT, wanted, |view, _, wanted| {
        some(view, wanted, |it, qos| u64::from(it.qos()) == qos)
    })
}

fn reason(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let code: u8 = decimal(keyword, value)?;
    let wanted = TxOperand::Number(code.into());
    add(
        draft,
        "mqtt.reason_code",
        BOTH,
        wanted,
        |view, _, wanted| some(view, wanted, |it, code| it.has_reason(code as u8)),
    )
}

fn session_present(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let present = match text(keyword, value)?.trim() {
        "yes" | "true" => 1,
        "no" | "false" => 0,
        _ => return Err(Reason::bad_value(keyword, "neither yes nor no")),
    };
    const NAME: &str = "mqtt.connack.session_present";
    let wanted = TxOperand::Number(present);
    add(draft, NAME, SERVER, wanted, |view, _, wanted| {
        some(view, wanted, |it, present| {
            it.session_present() == Some(present == 1)
        })
    })
}

fn protocol_version(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let range = number::parse_up_to(value, u8::MAX.into())
        .map_err(|why| Reason::bad_value(keyword, why))?;
    const NAME: &str = "mqtt.protocol_version";
    let wanted = TxOperand::Range(range);
    add(draft, NAME, CLIENT, wanted, |view, _, wanted| {
        match (of::<mqtt::Transaction>(view), wanted) {
            (Some(tx), TxOperand::Range(range)) => tx.is_whole() && range.holds(tx.version.into()),
            _ => false,
        }
    })
}

fn flags(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    const NAMES: [(&str, u8); 2] = [("dup", 1), ("retain", 2)];
    let wanted = flag_list(keyword, value, &NAMES)?;
    add(draft, "mqtt.flags", CLIENT, wanted, |view, _, wanted| {
        some(view, wanted, |it, wanted| {
            let set = u8::from(it.is_duplicate()) | u8::from(it.is_retained()) << 1;
            fits_flags(set, wanted)
        })
    })
}

fn connect_flags(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    const NAMES: [(&str, u8); 5] = [
        ("username", ConnectFlags::USERNAME),
        ("password", ConnectFlags::PASSWORD),
        ("will", ConnectFlags::WILL),
        ("will_retain", ConnectFlags::WILL_RETAIN),
        ("clean_session", ConnectFlags::CLEAN_SESSION),
    ];
    let wanted = flag_list(keyword, value, &NAMES)?;
    add(
        draft,
        "mqtt.connect.flags",
        CLIENT,
        wanted,
        |view, _, wanted| {
            some(view, wanted, |it, wanted| {
                it.connect_flags()
                    .is_some_and(|set| fits_flags(set, wanted))
            })
        },
    )
}

/// `username,!will`: flags that must and, behind `!`, must not be set. The number has those named in its second
/// byte and of them those that must be set in its first.
fn flag_list(keyword: &str, value: &[u8], names: &[(&str, u8)]) -> Result<TxOperand, Reason> {
    let (mut named, mut set) = (0, 0);
    let words = text(keyword, value)?.split(',').map(str::trim);
    for word in words.filter(|word| !word.is_empty()) {
        let (wanted, name) = match word.strip_prefix('!') {
            Some(name) => (false, name),
            None => (true, word),
        };
        let flag = names.iter().find(|(known, _)| *known == name);
        let (_, bit) =
            flag.ok_or_else(|| Reason::bad_value(keyword, format!("no flag '{name}'")))?;
        if named & bit != 0 {
            return Err(Reason::bad_value(keyword, format!("'{name}' twice")));
        }
        named |= bit;
        set |= if wanted { *bit } else { 0 };
    }
    Ok(TxOperand::Number(u64::from(named) << 8 | u64::from(set)))
}

fn fits_flags(set: u8, wanted: u64) -> bool {
    let [.., named, wanted] = wanted.to_be_bytes();
    set & named == wanted
}

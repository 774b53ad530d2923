//! DCE/RPC's conditions, on its own connections and inside SMB's pipes.
use super::super::buffer::{Buffer, Stage};
use super::super::condition::{TxOperand, TxTest};
use super::super::draft::Draft;
use super::super::number::Range;
use super::super::Reason;
use super::{sticky, text, value, Keyword};
use crate::app::dcerpc::record::kind;
use crate::app::dcerpc::{self, Interface};
use crate::app::{of, smb, AppProto, AppSet, Transaction};

pub(super) const KEYWORDS: &[Keyword] = &[
    value(&["dcerpc.iface", "dce_iface"], iface),
    value(&["dcerpc.opnum", "dce_opnum"], opnum),
    sticky(&["dcerpc.stub_data", "dce_stub_data"], &STUB_DATA),
];

/// What carries it: SMB counts as it to Suricata.
pub(super) const CARRIERS: AppSet = AppSet::of(&[AppProto::Dcerpc, AppProto::Smb]);

/// Arguments or results; more of them may come with further fragments.
static STUB_DATA: Buffer = Buffer {
    to_server: Some(Stage::Body),
    to_client: Some(Stage::Body),
    grows: true,
    at_once: true,
    ..Buffer::both("dcerpc.stub_data", CARRIERS, |view, direction, index, _| {
        let stub = match of::<dcerpc::Transaction>(view) {
            Some(tx) => &tx.stub,
            None => &of::<smb::Transaction>(view)?.rpc()?.stub,
        };
        let stub = &stub[direction as usize];
        (index == 0 && !stub.is_empty()).then_some(stub.as_slice())
    })
};

/// `dcerpc.iface`'s operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iface {
    uuid: [u8; 16],
    version: Option<Range>,
    any_fragment: bool,
}

impl Iface {
    fn is(&self, interface: &Interface) -> bool {
        let accepted = interface.ack.is_some_and(|(result, _)| result == 0);
        let version = u64::from(interface.major);
        accepted
            && interface.uuid == self.uuid
            && self.version.is_none_or(|range| range.holds(version))
    }

    /// Whether a call goes to it.
    fn holds(&self, view: &dyn Transaction) -> bool {
        if let Some(tx) = of::<dcerpc::Transaction>(view) {
            let is_call = tx.request == kind::REQUEST || tx.response == kind::RESPONSE;
            return tx.called
                && is_call
                && tx.interfaces.iter().any(|known| {
                    (self.any_fragment || known.first)
                        && known.interface.context == tx.context
                        && self.is(&known.interface)
                });
        }
        let Some(tx) = of::<smb::Transaction>(view) else {
            return false;
        };
        let is_call = tx
            .rpc()
            .is_some_and(|rpc| rpc.request == Some(kind::REQUEST));
        let interfaces = tx.session.interfaces.as_deref().unwrap_or_default();
        is_call && interfaces.iter().any(|interface| self.is(interface))
    }
}

/// `dcerpc.iface:UUID[,(<|>|=|!)VERSION][,any_frag]`.
fn iface(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, value)?;
    let bad = || Reason::bad_value(keyword, format!("'{value}' cannot be read"));
    let mut parts = value.split(',').map(str::trim);
    let uuid = parts.next().and_then(read_uuid).ok_or_else(bad)?;
    let mut version = None;
    let mut any_fragment = false;
    for part in parts {
        match part {
            "any_frag" if !any_fragment => any_fragment = true,
            _ if version.is_none() && !any_fragment => {
                let range = Range::parse(part.as_bytes());
                version = Some(range.map_err(|why| Reason::bad_value(keyword, why))?);
            }
            _ => return Err(bad()),
        }
    }
    let operand = Iface {
        uuid,
        version,
        any_fragment,
    };
    draft.need_apps(CARRIERS, keyword)?;
    draft.tx_tests.push(TxTest {
        keyword: "dcerpc.iface",
        sides: TxTest::EITHER,
        holds: |view, _, operand| match operand {
            TxOperand::Iface(iface) => iface.holds(view),
            _ => false,
        },
        operand: TxOperand::Iface(operand),
    });
    Ok(())
}

/// Source: RFC 4122, 3.
fn read_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|char| *char != '-')
        .map(|char| char.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    let pairs: Vec<u8> = digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0))
        .collect();
    (digits.len() == 32)
        .then(|| pairs.try_into().ok())
        .flatten()
}

/// `dcerpc.opnum:15`, or `1-3,7`.
fn opnum(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, value)?.trim();
    let ranges: Option<Vec<Range>> = value.split(',').map(listed).collect();
    let ranges =
        ranges.ok_or_else(|| Reason::bad_value(keyword, format!("'{value}' cannot be read")))?;
    draft.need_apps(CARRIERS, keyword)?;
    draft.tx_tests.push(TxTest {
        keyword: "dcerpc.opnum",
        sides: TxTest::EITHER,
        holds: |view, _, operand| {
            let TxOperand::Ranges(ranges) = operand else {
                return false;
            };
            let called = called_opnum(view).map(u64::from);
            called.is_some_and(|opnum| ranges.iter().any(|range| range.holds(opnum)))
        },
        operand: TxOperand::Ranges(ranges),
    });
    Ok(())
}

/// One item of a list: a number, or two with a hyphen between, both included.
fn listed(item: &str) -> Option<Range> {
    let number = |text: &str| text.parse::<u32>().ok().map(u64::from);
    match item.split_once('-') {
        None => number(item).map(Range::Is),
        Some((low, high)) => {
            let (low, high) = (number(low)?, number(high)?);
            (low <= high).then_some(Range::Within(low, high))
        }
    }
}

fn called_opnum(view: &dyn Transaction) -> Option<u16> {
    if let Some(tx) = of::<dcerpc::Transaction>(view) {
        return tx.called.then_some(tx.opnum);
    }
    let rpc = of::<smb::Transaction>(view)?.rpc()?;
    (rpc.request == Some(kind::REQUEST)).then_some(rpc.opnum)
}

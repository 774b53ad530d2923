//! NFS's keywords, and ONC RPC's.
use super::super::condition::{Operand, PacketTest, TxOperand, TxTest};
use super::super::draft::Draft;
use super::super::number::{parse_up_to, Range};
use super::super::Reason;
use super::{decimal, text, value, Keyword};
use crate::app::cursor::Cursor;
use crate::app::nfs::rpc::CallHeader;
use crate::app::nfs::Transaction;
use crate::app::{of, AppProto, AppSet, Stage};
use crate::detect::PacketView;
use crate::wire::proto;

pub(super) const KEYWORDS: &[Keyword] = &[
    value(&["nfs.version", "nfs_version"], version),
    value(&["nfs_procedure"], procedure),
    value(&["rpc"], rpc),
];

const NFS: AppSet = AppSet::of(&[AppProto::Nfs]);
/// Both are told by calls.
const CALLS: [Option<Stage>; 2] = [Some(Stage::Line), None];

/// A comparison in decimal; unlike other keywords' ranges these hold their ends.
fn range(keyword: &str, value: &[u8]) -> Result<TxOperand, Reason> {
    let text = text(keyword, value)?;
    if let Some((low, high)) = text.split_once("<>").or_else(|| text.split_once('-')) {
        let low: u32 = decimal(keyword, low.as_bytes())?;
        let high: u32 = decimal(keyword, high.as_bytes())?;
        return match low < high {
            true => Ok(TxOperand::Range(Range::Within(low.into(), high.into()))),
            false => Err(Reason::bad_value(keyword, "the range is empty")),
        };
    }
    if text.contains(['x', 'X']) {
        return Err(Reason::bad_value(keyword, "the number is not decimal"));
    }
    parse_up_to(value, u32::MAX.into())
        .map(TxOperand::Range)
        .map_err(|why| Reason::bad_value(keyword, why))
}

fn version(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let operand = range(keyword, value)?;
    draft.need_apps(NFS, keyword)?;
    draft.tx_tests.push(TxTest {
        keyword: "nfs.version",
        sides: CALLS,
        holds: |view, _, operand| match (of::<Transaction>(view), operand) {
            (Some(it), TxOperand::Range(range)) => {
                range.holds(if it.has_version { it.version.into() } else { 0 })
            }
            _ => false,
        },
        operand,
    });
    Ok(())
}

fn procedure(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let operand = range(keyword, value)?;
    draft.need_apps(NFS, keyword)?;
    draft.tx_tests.push(TxTest {
        keyword: "nfs_procedure",
        sides: CALLS,
        holds: |view, _, operand| match (of::<Transaction>(view), operand) {
            (Some(it), TxOperand::Range(range)) => {
                let mut all = std::iter::once(&it.procedure).chain(&it.procedures);
                all.any(|procedure| range.holds((*procedure).into()))
            }
            _ => false,
        },
        operand,
    });
    Ok(())
}

/// A packet that begins with a call of that program, and of its version and procedure where they are no `*`.
fn rpc(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let mut parts = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let program = decimal(keyword, parts.next().unwrap_or_default())?;
    let mut optional = || match parts.next() {
        None | Some(b"*") => Ok(None),
        Some(digits) => decimal(keyword, digits).map(Some),
    };
    let operand = Operand::Call(program, optional()?, optional()?);
    if parts.next().is_some() {
        let why = "it is a program, its version and its procedure";
        return Err(Reason::bad_value(keyword, why));
    }
    draft.needs_packet = true;
    draft.packet_tests.push(PacketTest {
        keyword: "rpc",
        needs_header: true,
        holds: |packet, _, operand| match operand {
            Operand::Call(program, version, procedure) => called(packet).is_some_and(|call| {
                call.program == *program
                    && version.is_none_or(|version| call.version == version)
                    && procedure.is_none_or(|procedure| call.procedure == procedure)
            }),
            _ => false,
        },
        operand,
    });
    Ok(())
}

/// The call a packet begins with; over TCP behind its record's mark.
fn called(packet: &PacketView<'_>) -> Option<CallHeader> {
    let message = match packet.ip_proto {
        proto::TCP => packet.payload.get(4..)?,
        proto::UDP => packet.payload,
        _ => return None,
    };
    CallHeader::read(&mut Cursor::new(message))
}

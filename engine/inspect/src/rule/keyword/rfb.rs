//! RFB's buffers and conditions.
use super::super::buffer::{Buffer, Transaction};
use super::super::condition::{TxOperand, TxTest};
use super::super::draft::Draft;
use super::super::number;
use super::super::Reason;
use super::{sticky, text, value, Keyword};
use crate::app::{of, rfb, AppProto, AppSet, Stage};

pub(super) const KEYWORDS: &[Keyword] = &[
    sticky(&["rfb.name"], &NAME),
    value(&["rfb.sectype"], security_type),
    value(&["rfb.secresult"], security_result),
];

const RFB: AppSet = AppSet::of(&[AppProto::Rfb]);

static NAME: Buffer = Buffer {
    to_server: None,
    ..Buffer::both("rfb.name", RFB, |view, _, index, _| {
        let name = of::<rfb::Transaction>(view)?.name()?;
        (index == 0 && !name.is_empty()).then_some(name)
    })
};

fn security_type(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let range = number::parse_up_to(value, u32::MAX.into())
        .map_err(|why| Reason::bad_value(keyword, why))?;
    draft.need_apps(RFB, keyword)?;
    draft.tx_tests.push(TxTest {
        keyword: "rfb.sectype",
        sides: [Some(Stage::Line), None],
        holds: |view, _, operand| match (security_type_of(view), operand) {
            (Some(kind), TxOperand::Range(range)) => range.holds(kind.into()),
            _ => false,
        },
        operand: TxOperand::Range(range),
    });
    Ok(())
}

fn security_type_of(view: &dyn Transaction) -> Option<u32> {
    of::<rfb::Transaction>(view)?.security_type()
}

/// Only what is good leads on, so that only that is ever found, as in Suricata.
fn security_result(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let name = text(keyword, value)?.trim().to_ascii_lowercase();
    let names = ["ok", "fail", "toomany", "unknown"];
    let wanted = names.iter().position(|known| **known == *name);
    let wanted = wanted
        .ok_or_else(|| Reason::bad_value(keyword, format!("not one of {}", names.join(", "))))?;
    draft.need_apps(RFB, keyword)?;
    draft.tx_tests.push(TxTest {
        keyword: "rfb.secresult",
        sides: [None, Some(Stage::Line)],
        holds: |view, _, operand| {
            let result = of::<rfb::Transaction>(view).and_then(rfb::Transaction::security_result);
            result.is_some_and(|result| *operand == TxOperand::Number(result.min(3).into()))
        },
        operand: TxOperand::Number(wanted as u64),
    });
    Ok(())
}

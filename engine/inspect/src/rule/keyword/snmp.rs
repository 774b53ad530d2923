//! SNMP's keywords.
use super::super::buffer::Buffer;
use super::super::condition::{TxOperand, TxTest};
use super::super::draft::Draft;
use super::super::number::Range;
use super::super::Reason;
use super::{decimal, sticky, value, Keyword};
use crate::app::snmp::Transaction;
use crate::app::{of, AppProto, AppSet};

pub(super) const KEYWORDS: &[Keyword] = &[
    sticky(&["snmp.community"], &COMMUNITY),
    sticky(&["snmp.usm"], &USER),
    value(&["snmp.version"], version),
    value(&["snmp.pdu_type"], pdu_type),
];

const SNMP: AppSet = AppSet::of(&[AppProto::Snmp]);

static COMMUNITY: Buffer = Buffer::both("snmp.community", SNMP, |view, _, _, _| {
    let community = of::<Transaction>(view)?.message.community.as_ref();
    community.map(|it| it.as_bytes())
});

static USER: Buffer = Buffer::both("snmp.usm", SNMP, |view, _, _, _| {
    let user = of::<Transaction>(view)?.message.user.as_ref();
    user.map(|it| it.as_bytes())
});

fn version(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let range = Range::parse(value).map_err(|why| Reason::bad_value(keyword, why))?;
    draft.need_apps(SNMP, keyword)?;
    draft.tx_tests.push(TxTest {
        keyword: "snmp.version",
        sides: TxTest::EITHER,
        holds: |view, _, operand| match (of::<Transaction>(view), operand) {
            (Some(it), TxOperand::Range(range)) => range.holds(it.message.version.into()),
            _ => false,
        },
        operand: TxOperand::Range(range),
    });
    Ok(())
}

fn pdu_type(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let kind: u32 = decimal(keyword, value)?;
    draft.need_apps(SNMP, keyword)?;
    draft.tx_tests.push(TxTest {
        keyword: "snmp.pdu_type",
        sides: TxTest::EITHER,
        holds: |view, _, operand| {
            let pdu = of::<Transaction>(view).and_then(|it| it.message.pdu.as_ref());
            pdu.is_some_and(|pdu| *operand == TxOperand::Number(pdu.kind.into()))
        },
        operand: TxOperand::Number(kind.into()),
    });
    Ok(())
}

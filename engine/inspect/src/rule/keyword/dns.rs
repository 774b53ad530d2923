//! DNS's keywords.
use super::super::buffer::{Buffer, Extract};
use super::super::condition::{TxOperand, TxTest};
use super::super::draft::Draft;
use super::super::number::Range;
use super::super::Reason;
use super::{decimal, sticky, value, Keyword};
use crate::app::{dns, of, AppProto, AppSet};

pub(super) const KEYWORDS: &[Keyword] = &[
    sticky(&["dns.query", "dns_query"], &QUERY),
    value(&["dns.opcode"], opcode),
];

const DNS: AppSet = AppSet::of(&[AppProto::Dns]);

/// Every question's name, labels joined by dots; up to one that asks for the root, as Suricata stops there.
const NAME: Extract = |view, _, index, _| {
    let transaction = of::<dns::Transaction>(view)?;
    let question = transaction.message.questions.get(index as usize)?;
    (!question.name.is_empty()).then_some(question.name.as_slice())
};

static QUERY: Buffer = Buffer {
    multiple: true,
    to_client: None,
    ..Buffer::both("dns.query", DNS, NAME)
};

/// `dns.opcode:4`, `!4`; comparisons are not read before Suricata 8.
fn opcode(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let number = |value: &[u8]| decimal::<u8>(keyword, value).map(u64::from);
    let range = match value.trim_ascii().strip_prefix(b"!") {
        Some(value) => Range::Not(number(value)?),
        None => Range::Is(number(value)?),
    };
    draft.need_apps(DNS, keyword)?;
    draft.tx_tests.push(TxTest {
        keyword: "dns.opcode",
        sides: TxTest::EITHER,
        holds: |view, direction, operand| match (of::<dns::Transaction>(view), operand) {
            (Some(it), TxOperand::Range(range)) => {
                it.direction == direction && range.holds(it.message.header.opcode().into())
            }
            _ => false,
        },
        operand: TxOperand::Range(range),
    });
    Ok(())
}

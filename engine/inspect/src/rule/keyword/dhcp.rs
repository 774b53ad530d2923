//! DHCP's keywords: the seconds that an option holds.
use super::super::condition::{TxOperand, TxTest};
use super::super::draft::Draft;
use super::super::number::Range;
use super::super::Reason;
use super::{value, Keyword};
use crate::app::dhcp::{option, Transaction};
use crate::app::{of, AppProto, AppSet, Transaction as View};
use crate::Direction;

pub(super) const KEYWORDS: &[Keyword] = &[
    value(&["dhcp.leasetime"], |draft, keyword, value| {
        let holds = |view: &dyn View, _, operand: &_| holds(view, operand, option::LEASE_TIME);
        time(draft, keyword, value, "dhcp.leasetime", holds)
    }),
    value(&["dhcp.rebinding_time"], |draft, keyword, value| {
        let holds = |view: &dyn View, _, operand: &_| holds(view, operand, option::REBINDING_TIME);
        time(draft, keyword, value, "dhcp.rebinding_time", holds)
    }),
    value(&["dhcp.renewal_time"], |draft, keyword, value| {
        let holds = |view: &dyn View, _, operand: &_| holds(view, operand, option::RENEWAL_TIME);
        time(draft, keyword, value, "dhcp.renewal_time", holds)
    }),
];

fn time(
    draft: &mut Draft,
    keyword: &str,
    value: &[u8],
    name: &'static str,
    holds: fn(&dyn View, Direction, &TxOperand) -> bool,
) -> Result<(), Reason> {
    let range = Range::parse(value).map_err(|why| Reason::bad_value(keyword, why))?;
    draft.need_apps(AppSet::of(&[AppProto::Dhcp]), keyword)?;
    draft.tx_tests.push(TxTest {
        keyword: name,
        sides: TxTest::EITHER,
        holds,
        operand: TxOperand::Range(range),
    });
    Ok(())
}

fn holds(view: &dyn View, operand: &TxOperand, option: u8) -> bool {
    let seconds = of::<Transaction>(view).and_then(|it| it.message.time(option));
    match (seconds, operand) {
        (Some(seconds), TxOperand::Range(range)) => range.holds(seconds.into()),
        _ => false,
    }
}

//! Kerberos's buffers and conditions.
use super::super::buffer::{Buffer, Extract, Stage, Transaction};
use super::super::condition::{TxOperand, TxTest};
use super::super::draft::Draft;
use super::super::number::Range;
use super::super::Reason;
use super::{sticky, text, value, Keyword};
use crate::app::{krb5, of, AppProto, AppSet};
use crate::Direction;

pub(super) const KEYWORDS: &[Keyword] = &[
    sticky(&["krb5.cname", "krb5_cname"], &CNAME),
    sticky(&["krb5.sname", "krb5_sname"], &SNAME),
    value(&["krb5_msg_type"], message_type),
    value(&["krb5_err_code"], error_code),
    value(&["krb5.ticket_encryption"], ticket_encryption),
];

const KRB5: AppSet = AppSet::of(&[AppProto::Krb5]);

/// A buffer of what the server says, one a part of the name.
const fn name(name: &'static str, extract: Extract) -> Buffer {
    Buffer {
        to_server: None,
        multiple: true,
        ..Buffer::both(name, KRB5, extract)
    }
}

static CNAME: Buffer = name("krb5.cname", |view, _, index, _| {
    let name = of::<krb5::Transaction>(view)?.client.as_ref()?;
    name.get(usize::try_from(index).ok()?).map(|part| &**part)
});
static SNAME: Buffer = name("krb5.sname", |view, _, index, _| {
    let name = of::<krb5::Transaction>(view)?.server.as_ref()?;
    name.get(usize::try_from(index).ok()?).map(|part| &**part)
});

fn message_type(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let wanted: u8 = super::decimal(keyword, value.trim_ascii())?;
    add(
        draft,
        "krb5_msg_type",
        vec![exactly(i64::from(wanted))],
        |view, _, wanted| is_one_of(view, wanted, |tx| Some(tx.message.into())),
    )
}

fn error_code(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let wanted: u32 = super::decimal(keyword, value.trim_ascii())?;
    add(
        draft,
        "krb5_err_code",
        vec![exactly(i64::from(wanted))],
        |view, _, wanted| is_one_of(view, wanted, |tx| tx.error.map(i64::from)),
    )
}

/// `weak`, or a list of numbers and names, one of which it must be; behind `!` must not be.
fn ticket_encryption(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    const NAME: &str = "krb5.ticket_encryption";
    let text = text(keyword, value)?.trim();
    let (negated, text) = match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if text == "weak" {
        return add(
            draft,
            NAME,
            vec![exactly(i64::from(!negated))],
            |view, _, wanted| {
                is_one_of(view, wanted, |tx| {
                    tx.ticket_encryption.map(|kind| krb5::is_weak(kind).into())
                })
            },
        );
    }
    let kinds = text.split(',').map(str::trim).map(|word| {
        let number = word.parse().ok();
        let kind: Option<i32> = number.or_else(|| krb5::encryption_named(word));
        kind.map(|kind| exactly(kind.into()))
            .ok_or_else(|| Reason::bad_value(keyword, format!("no encryption '{word}'")))
    });
    let kinds = kinds.collect::<Result<Vec<_>, _>>()?;
    if negated {
        return add(draft, NAME, kinds, |view, _, wanted| {
            let known = of::<krb5::Transaction>(view).and_then(ticket).is_some();
            known && !is_one_of(view, wanted, ticket)
        });
    }
    add(draft, NAME, kinds, |view, _, wanted| {
        is_one_of(view, wanted, ticket)
    })
}

fn ticket(tx: &krb5::Transaction) -> Option<i64> {
    tx.ticket_encryption.map(i64::from)
}

/// Numbers may be negative: they are compared as bits.
fn exactly(number: i64) -> Range {
    Range::Is(number as u64)
}

/// Adds a condition on both sides' messages.
fn add(
    draft: &mut Draft,
    keyword: &'static str,
    wanted: Vec<Range>,
    holds: fn(&dyn Transaction, Direction, &TxOperand) -> bool,
) -> Result<(), Reason> {
    draft.need_apps(KRB5, keyword)?;
    draft.tx_tests.push(TxTest {
        keyword,
        sides: [Some(Stage::Complete); 2],
        holds,
        operand: TxOperand::Ranges(wanted),
    });
    Ok(())
}

/// Whether the number that `read` finds is one of those wanted.
fn is_one_of(
    view: &dyn Transaction,
    wanted: &TxOperand,
    read: impl Fn(&krb5::Transaction) -> Option<i64>,
) -> bool {
    let found = of::<krb5::Transaction>(view).and_then(read);
    match (wanted, found) {
        (TxOperand::Ranges(wanted), Some(found)) => {
            wanted.iter().any(|range| range.holds(found as u64))
        }
        _ => false,
    }
}

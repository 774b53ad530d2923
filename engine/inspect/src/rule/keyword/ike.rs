//! Buffers and conditions of key exchanges.
use super::super::buffer::{Buffer, Extract, Stage, Transaction};
use super::super::condition::{TxOperand, TxTest};
use super::super::draft::Draft;
use super::super::number::Range;
use super::super::Reason;
use super::{sticky, text, value, Keyword};
use crate::app::{ike, of, AppProto, AppSet};
use crate::Direction;

pub(super) const KEYWORDS: &[Keyword] = &[
    sticky(&["ike.init_spi"], &INIT_SPI),
    sticky(&["ike.resp_spi"], &RESP_SPI),
    sticky(&["ike.vendor"], &VENDOR),
    sticky(&["ike.nonce_payload"], &NONCE),
    sticky(&["ike.key_exchange_payload"], &KEY_EXCHANGE),
    value(&["ike.exchtype"], |draft, keyword, value| {
        compare(draft, "ike.exchtype", keyword, value, |view, _, range| {
            is_within(view, range, |tx| Some(tx.header.exchange.into()))
        })
    }),
    value(&["ike.nonce_payload_length"], |draft, keyword, value| {
        let name = "ike.nonce_payload_length";
        compare(draft, name, keyword, value, |view, _, range| {
            is_within(view, range, |tx| length(&tx.nonce))
        })
    }),
    value(
        &["ike.key_exchange_payload_length"],
        |draft, keyword, value| {
            let name = "ike.key_exchange_payload_length";
            compare(draft, name, keyword, value, |view, _, range| {
                is_within(view, range, |tx| length(&tx.key_exchange))
            })
        },
    ),
    value(&["ike.chosen_sa_attribute"], chosen),
];

const IKE: AppSet = AppSet::of(&[AppProto::Ike]);

const fn both(name: &'static str, extract: Extract) -> Buffer {
    Buffer::both(name, IKE, extract)
}

static INIT_SPI: Buffer = Buffer {
    to_client: None,
    ..both("ike.init_spi", |view, _, index, _| {
        let spi = of::<ike::Transaction>(view)?.initiator();
        (index == 0).then_some(spi.as_bytes())
    })
};
static RESP_SPI: Buffer = Buffer {
    to_server: None,
    ..both("ike.resp_spi", |view, _, index, _| {
        let spi = of::<ike::Transaction>(view)?.responder();
        (index == 0).then_some(spi.as_bytes())
    })
};
static VENDOR: Buffer = Buffer {
    to_client: None,
    multiple: true,
    ..both("ike.vendor", |view, _, index, _| {
        let vendors = &of::<ike::Transaction>(view)?.vendors;
        Some(vendors.get(usize::try_from(index).ok()?)?.as_bytes())
    })
};
static NONCE: Buffer = both("ike.nonce_payload", |view, _, index, _| {
    let nonce = &of::<ike::Transaction>(view)?.nonce;
    (index == 0 && !nonce.is_empty()).then_some(nonce.as_slice())
});
static KEY_EXCHANGE: Buffer = both("ike.key_exchange_payload", |view, _, index, _| {
    let data = &of::<ike::Transaction>(view)?.key_exchange;
    (index == 0 && !data.is_empty()).then_some(data.as_slice())
});

fn length(bytes: &[u8]) -> Option<u64> {
    (!bytes.is_empty()).then_some(bytes.len() as u64)
}

/// Whether the number that `read` finds is in the range.
fn is_within(
    view: &dyn Transaction,
    range: &TxOperand,
    read: impl Fn(&ike::Transaction) -> Option<u64>,
) -> bool {
    let found = of::<ike::Transaction>(view).and_then(read);
    match (range, found) {
        (TxOperand::Range(range), Some(found)) => range.holds(found),
        _ => false,
    }
}

type Holds = fn(&dyn Transaction, Direction, &TxOperand) -> bool;

/// Adds a comparison on both sides' messages.
fn compare(
    draft: &mut Draft,
    name: &'static str,
    keyword: &str,
    value: &[u8],
    holds: Holds,
) -> Result<(), Reason> {
    let range = Range::parse(value).map_err(|why| Reason::bad_value(keyword, why))?;
    draft.need_apps(IKE, keyword)?;
    draft.tx_tests.push(TxTest {
        keyword: name,
        sides: [Some(Stage::Complete); 2],
        holds,
        operand: TxOperand::Range(range),
    });
    Ok(())
}

/// `attribute=number` of what the server chose. Version 2 has four of these attributes.
fn chosen(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    /// Names, numbers in version 1 and kinds of transforms in version 2 (0: none).
    const ATTRIBUTES: [(&str, u16, u8); 10] = [
        ("alg_enc", 1, 1),
        ("alg_hash", 2, 0),
        ("alg_auth", 3, 3),
        ("alg_dh", 4, 4),
        ("sa_group_type", 5, 0),
        ("sa_life_type", 11, 0),
        ("sa_life_duration", 12, 0),
        ("alg_prf", 13, 2),
        ("sa_key_length", 14, 0),
        ("sa_field_size", 15, 0),
    ];
    let bad = || Reason::bad_value(keyword, "not an attribute and a number: alg_enc=7");
    let (name, number) = text(keyword, value)?.split_once('=').ok_or_else(bad)?;
    let number: u32 = super::decimal(keyword, number.as_bytes())?;
    let name = name.trim();
    let (_, first, second) = ATTRIBUTES
        .into_iter()
        .find(|row| row.0 == name)
        .ok_or_else(bad)?;
    draft.need_apps(IKE, keyword)?;
    draft.tx_tests.push(TxTest {
        keyword: "ike.chosen_sa_attribute",
        sides: [None, Some(Stage::Complete)],
        holds: |view, _, wanted| match (of::<ike::Transaction>(view), wanted) {
            (Some(tx), TxOperand::Number(wanted)) => has_chosen(tx, *wanted),
            _ => false,
        },
        operand: TxOperand::Number(
            u64::from(first) << 48 | u64::from(second) << 40 | u64::from(number),
        ),
    });
    Ok(())
}

/// `wanted`: the attribute's number (16 bits), the transform's kind (8), 8 bits of nothing, the value (32).
fn has_chosen(tx: &ike::Transaction, wanted: u64) -> bool {
    let (attribute, kind, value) = ((wanted >> 48) as u16, (wanted >> 40) as u8, wanted as u32);
    let found = if tx.header.version.0 == 1 {
        let first = tx.transforms.first().map_or(&[][..], Vec::as_slice);
        first
            .iter()
            .filter(|it| it.kind == attribute)
            .find_map(|it| it.number)
    } else {
        let same = tx.chosen.iter().find(|(it, _)| *it == kind && kind != 0);
        same.map(|(_, number)| u32::from(*number))
    };
    found == Some(value)
}

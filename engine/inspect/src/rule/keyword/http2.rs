//! HTTP/2's own keywords; its requests and responses are in HTTP's buffers.
use super::super::buffer::{Buffer, Stage, Transaction};
use super::super::condition::{TxOperand, TxTest};
use super::super::draft::Draft;
use super::super::number::{parse_up_to, Range};
use super::super::Reason;
use super::{decimal, sticky, text, value, Keyword};
use crate::app::http2::{frame::kind, Side, Stream, SETTINGS};
use crate::app::{of, AppProto, AppSet};
use crate::Direction;

pub(super) const KEYWORDS: &[Keyword] = &[
    sticky(&["http2.header_name"], &HEADER_NAME),
    value(&["http2.frametype"], |draft, keyword, value| {
        let kind: u8 = named(keyword, value, &FRAMES)?;
        let operand = TxOperand::Number(kind.into());
        add(draft, keyword, operand, |view, direction, operand| {
            let side = side(view, direction);
            side.is_some_and(
                |side| matches!(operand, TxOperand::Number(kind) if side.has_frame(*kind as u8)),
            )
        })
    }),
    value(&["http2.errorcode"], |draft, keyword, value| {
        let code: u32 = named(keyword, value, &ERRORS)?;
        let operand = TxOperand::Range(Range::Is(code.into()));
        add(draft, keyword, operand, |view, direction, operand| {
            side(view, direction).is_some_and(|side| some_holds(&side.errors.0, operand))
        })
    }),
    value(&["http2.priority"], |draft, keyword, value| {
        let operand = range(keyword, value, u8::MAX.into())?;
        add(draft, keyword, operand, |view, direction, operand| {
            side(view, direction).is_some_and(|side| some_holds(&side.priorities.0, operand))
        })
    }),
    value(&["http2.window"], |draft, keyword, value| {
        let operand = range(keyword, value, u32::MAX.into())?;
        add(draft, keyword, operand, |view, direction, operand| {
            side(view, direction).is_some_and(|side| some_holds(&side.windows.0, operand))
        })
    }),
    value(&["http2.size_update"], |draft, keyword, value| {
        let operand = range(keyword, value, u64::MAX)?;
        add(draft, keyword, operand, |view, direction, operand| {
            side(view, direction).is_some_and(|side| some_holds(&side.size_updates.0, operand))
        })
    }),
    value(&["http2.settings"], settings),
];

const HTTP2: AppSet = AppSet::of(&[AppProto::Http2]);

const FRAMES: [(&str, u8); 10] = [
    ("DATA", kind::DATA),
    ("HEADERS", kind::HEADERS),
    ("PRIORITY", kind::PRIORITY),
    ("RSTSTREAM", kind::RST_STREAM),
    ("SETTINGS", kind::SETTINGS),
    ("PUSHPROMISE", kind::PUSH_PROMISE),
    ("PING", kind::PING),
    ("GOAWAY", kind::GOAWAY),
    ("WINDOWUPDATE", kind::WINDOW_UPDATE),
    ("CONTINUATION", kind::CONTINUATION),
];

/// Source: RFC 9113, 7.
const ERRORS: [(&str, u32); 14] = [
    ("NO_ERROR", 0),
    ("PROTOCOL_ERROR", 1),
    ("INTERNAL_ERROR", 2),
    ("FLOW_CONTROL_ERROR", 3),
    ("SETTINGS_TIMEOUT", 4),
    ("STREAM_CLOSED", 5),
    ("FRAME_SIZE_ERROR", 6),
    ("REFUSED_STREAM", 7),
    ("CANCEL", 8),
    ("COMPRESSION_ERROR", 9),
    ("CONNECT_ERROR", 10),
    ("ENHANCE_YOUR_CALM", 11),
    ("INADEQUATE_SECURITY", 12),
    ("HTTP_1_1_REQUIRED", 13),
];

/// The name of each field.
static HEADER_NAME: Buffer = Buffer {
    to_server: Some(Stage::Headers),
    to_client: Some(Stage::Headers),
    multiple: true,
    ..Buffer::both("http2.header_name", HTTP2, |view, direction, index, _| {
        let fields = &of::<Stream>(view)?.side(direction).fields;
        Some(&*fields.get(index as usize)?.name)
    })
};

/// A number, or one of the names, in any case.
fn named<T: Copy + std::str::FromStr>(
    keyword: &str,
    value: &[u8],
    names: &[(&str, T)],
) -> Result<T, Reason> {
    let name = text(keyword, value)?.trim();
    let known = names.iter().find(|(it, _)| it.eq_ignore_ascii_case(name));
    match known {
        Some((_, number)) => Ok(*number),
        None => decimal(keyword, value),
    }
}

fn side(view: &dyn Transaction, direction: Direction) -> Option<&Side> {
    of::<Stream>(view).map(|stream| stream.side(direction))
}

/// Whether one of the numbers is in the operand's range.
fn some_holds<T: Copy + Into<u64>>(numbers: &[T], operand: &TxOperand) -> bool {
    let holds = |range: &Range| numbers.iter().any(|number| range.holds((*number).into()));
    matches!(operand, TxOperand::Range(range) if holds(range))
}

fn range(keyword: &str, value: &[u8], max: u64) -> Result<TxOperand, Reason> {
    let range = parse_up_to(value, max).map_err(|why| Reason::bad_value(keyword, why))?;
    Ok(TxOperand::Range(range))
}

/// `NAME [comparison]`: the setting is sent, with a value that compares.
fn settings(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let words = text(keyword, value)?.trim();
    let end = words
        .find(|letter: char| !letter.is_ascii_alphabetic() && letter != '_')
        .unwrap_or(words.len());
    let (name, comparison) = words.split_at(end);
    let (_, id) = SETTINGS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .ok_or_else(|| Reason::bad_value(keyword, format!("no setting is called '{name}'")))?;
    let range = match comparison.trim() {
        unread if unread.starts_with("!=") => {
            return Err(Reason::bad_value(
                keyword,
                format!("'{unread}' cannot be read"),
            ))
        }
        "" => Range::Within(0, u64::MAX),
        comparison => parse_up_to(comparison.as_bytes(), u32::MAX.into())
            .map_err(|why| Reason::bad_value(keyword, why))?,
    };
    let operand = TxOperand::Ranges(vec![Range::Is((*id).into()), range]);
    add(draft, keyword, operand, |view, direction, operand| {
        let (Some(side), TxOperand::Ranges(ranges)) = (side(view, direction), operand) else {
            return false;
        };
        let [id, value] = ranges.as_slice() else {
            return false;
        };
        side.settings
            .iter()
            .any(|(sent, number)| id.holds((*sent).into()) && value.holds((*number).into()))
    })
}

/// Adds a condition on what one side's frames say.
fn add(
    draft: &mut Draft,
    keyword: &str,
    operand: TxOperand,
    holds: fn(&dyn Transaction, Direction, &TxOperand) -> bool,
) -> Result<(), Reason> {
    draft.need_apps(HTTP2, keyword)?;
    draft.tx_tests.push(TxTest {
        keyword: "http2",
        sides: TxTest::EITHER,
        holds,
        operand,
    });
    Ok(())
}

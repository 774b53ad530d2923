//! `byte_test`, `byte_jump`, `byte_extract`, `byte_math` and `base64_decode`.
use super::super::buffer::{
    Base64, ByteExtract, ByteField, ByteJump, ByteMath, ByteTest, Comparison, JumpFrom, Number,
    Operator, Test,
};
use super::super::draft::Draft;
use super::super::lexer::{printable, unquote};
use super::super::number::number;
use super::super::Reason;
use super::{decimal, flag, optional, text, value, Keyword};

pub(super) const KEYWORDS: &[Keyword] = &[
    value(&["byte_test"], byte_test),
    value(&["byte_jump"], byte_jump),
    value(&["byte_extract"], byte_extract),
    value(&["byte_math"], byte_math),
    optional(&["base64_decode"], base64_decode),
    flag(&["base64_data"], |draft, _| draft.enter_base64()),
];

/// Most bytes a binary number takes.
const MAX_BINARY: i64 = 8;
/// Most digits a number in text takes; Suricata's bound.
const MAX_DIGITS: i64 = 23;

/// A value's parts: trimmed, cut at commas.
fn parts<'a>(keyword: &str, value: &'a [u8]) -> Result<Vec<&'a str>, Reason> {
    let value = text(keyword, unquote(value, false).unwrap_or(value))?;
    Ok(value.split(',').map(str::trim).collect())
}

fn field(count: Number, offset: Number) -> ByteField {
    ByteField {
        count,
        offset,
        relative: false,
        little: false,
        dce: false,
        text_base: None,
        bitmask: None,
    }
}

fn bad(keyword: &str, part: &str) -> Reason {
    Reason::bad_value(keyword, format!("'{part}'"))
}

/// Reads an option that describes the field; false where it is not one.
fn field_option(
    keyword: &str,
    part: &str,
    field: &mut ByteField,
    text: &mut bool,
) -> Result<bool, Reason> {
    let (name, rest) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
    match (name, rest.trim()) {
        ("relative", "") => field.relative = true,
        ("little", "") | ("endian", "little") => field.little = true,
        ("big", "") | ("endian", "big") => field.little = false,
        ("string", base) => {
            *text = true;
            field.text_base = Some(field.text_base.unwrap_or(0));
            if !base.is_empty() {
                field.text_base = Some(text_base(base).ok_or_else(|| bad(keyword, part))?);
            }
        }
        (base @ ("hex" | "dec" | "oct"), "") => field.text_base = text_base(base),
        ("bitmask", mask) => {
            let mask = number(mask.as_bytes()).filter(|mask| *mask != 0);
            field.bitmask = Some(mask.ok_or_else(|| bad(keyword, part))?);
        }
        ("dce", "") => field.dce = true,
        _ => return Ok(false),
    }
    Ok(true)
}

fn text_base(name: &str) -> Option<u32> {
    match name {
        "hex" => Some(16),
        "dec" => Some(10),
        "oct" => Some(8),
        _ => None,
    }
}

/// Errors: a base without `string`, or more bytes than a number can have.
fn check(keyword: &str, field: &ByteField, text: bool) -> Result<(), Reason> {
    if field.text_base.is_some() && !text {
        return Err(Reason::bad_value(keyword, "hex, dec and oct need 'string'"));
    }
    let most = if text { MAX_DIGITS } else { MAX_BINARY };
    // No count before text is as many digits as there are.
    let least = i64::from(!text);
    match field.count {
        Number::Fixed(count) if !(least..=most).contains(&count) => Err(Reason::bad_value(
            keyword,
            format!("{count} bytes are not a number"),
        )),
        _ => Ok(()),
    }
}

fn byte_test(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let parts = parts(keyword, value)?;
    let [count, operator, operand, offset, options @ ..] = &parts[..] else {
        return Err(Reason::bad_value(
            keyword,
            "needs bytes, operator, value and offset",
        ));
    };
    let mut field = field(
        draft.number(keyword, count.as_bytes())?,
        draft.number(keyword, offset.as_bytes())?,
    );
    let (negated, sign) = match operator.strip_prefix('!') {
        Some(rest) => (true, rest.trim()),
        None => (false, *operator),
    };
    let comparison = match sign {
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        "=" => Comparison::Equal,
        "" if negated => Comparison::Equal,
        "&" => Comparison::And,
        "^" => Comparison::Xor,
        _ => return Err(bad(keyword, operator)),
    };
    let value = match number(operand.as_bytes()) {
        Some(fixed) => Number::Fixed(fixed as i64),
        None => draft.number(keyword, operand.as_bytes())?,
    };
    let mut text = false;
    for part in options {
        if !field_option(keyword, part, &mut field, &mut text)? {
            return Err(bad(keyword, part));
        }
    }
    check(keyword, &field, text)?;
    draft.push_relative(
        field.relative,
        Test::ByteTest(ByteTest {
            field,
            comparison,
            negated,
            value,
        }),
    )
}

fn byte_jump(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let parts = parts(keyword, value)?;
    let [count, offset, options @ ..] = &parts[..] else {
        return Err(Reason::bad_value(keyword, "needs bytes and offset"));
    };
    let field = field(
        draft.number(keyword, count.as_bytes())?,
        draft.number(keyword, offset.as_bytes())?,
    );
    let mut jump = ByteJump {
        field,
        multiplier: 1,
        align: false,
        from: JumpFrom::Here,
        post_offset: Number::Fixed(0),
    };
    let mut text = false;
    for part in options {
        if field_option(keyword, part, &mut jump.field, &mut text)? {
            continue;
        }
        match part.split_once(char::is_whitespace).unwrap_or((part, "")) {
            ("align", "") => jump.align = true,
            ("from_beginning", "") => jump.from = JumpFrom::Beginning,
            ("from_end", "") => jump.from = JumpFrom::End,
            ("multiplier", factor) => {
                jump.multiplier = decimal::<u16>(keyword, factor.as_bytes())?.into()
            }
            ("post_offset", offset) => {
                jump.post_offset = draft.number(keyword, offset.as_bytes())?
            }
            _ => return Err(bad(keyword, part)),
        }
    }
    // With no bytes to read, only the offset moves.
    if jump.field.count != Number::Fixed(0) {
        check(keyword, &jump.field, text)?;
    }
    draft.push_relative(jump.field.relative, Test::ByteJump(jump))
}

fn byte_extract(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let parts = parts(keyword, value)?;
    let [count, offset, name, options @ ..] = &parts[..] else {
        return Err(Reason::bad_value(keyword, "needs bytes, offset and name"));
    };
    let mut field = field(
        Number::Fixed(decimal::<u8>(keyword, count.as_bytes())?.into()),
        draft.number(keyword, offset.as_bytes())?,
    );
    let (mut multiplier, mut align, mut text) = (1, 1, false);
    for part in options {
        if field_option(keyword, part, &mut field, &mut text)? {
            continue;
        }
        match part.split_once(char::is_whitespace).unwrap_or((part, "")) {
            ("multiplier", factor) => {
                multiplier = decimal::<u16>(keyword, factor.as_bytes())?.into()
            }
            ("align", "2") => align = 2,
            ("align", "4") => align = 4,
            _ => return Err(bad(keyword, part)),
        }
    }
    check(keyword, &field, text)?;
    let variable = draft.declare(keyword, name)?;
    draft.push_relative(
        field.relative,
        Test::ByteExtract(ByteExtract {
            field,
            multiplier,
            align,
            variable,
        }),
    )
}

fn byte_math(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let (mut count, mut offset, mut operator, mut operand, mut result) =
        (None, None, None, None, None);
    let mut described = field(Number::Fixed(0), Number::Fixed(0));
    let mut text = false;
    for part in parts(keyword, value)? {
        if field_option(keyword, part, &mut described, &mut text)? {
            continue;
        }
        let (name, rest) = part
            .split_once(char::is_whitespace)
            .ok_or_else(|| bad(keyword, part))?;
        let rest = rest.trim();
        let fresh = match name {
            "bytes" => count
                .replace(draft.number(keyword, rest.as_bytes())?)
                .is_none(),
            "offset" => offset
                .replace(draft.number(keyword, rest.as_bytes())?)
                .is_none(),
            "rvalue" => operand
                .replace(draft.number(keyword, rest.as_bytes())?)
                .is_none(),
            "result" => result.replace(rest).is_none(),
            "oper" => operator
                .replace(math_operator(rest).ok_or_else(|| bad(keyword, part))?)
                .is_none(),
            _ => return Err(bad(keyword, part)),
        };
        if !fresh {
            return Err(Reason::Conflict(format!("byte_math: two '{name}'")));
        }
    }
    let (Some(count), Some(offset), Some(operator), Some(value), Some(name)) =
        (count, offset, operator, operand, result)
    else {
        return Err(Reason::bad_value(
            keyword,
            "needs bytes, offset, oper, rvalue and result",
        ));
    };
    let field = ByteField {
        count,
        offset,
        ..described
    };
    check(keyword, &field, text)?;
    if operator == Operator::Divide && value == Number::Fixed(0) {
        return Err(Reason::bad_value(keyword, "divides by zero"));
    }
    let variable = draft.declare(keyword, name)?;
    draft.push_relative(
        field.relative,
        Test::ByteMath(ByteMath {
            field,
            operator,
            value,
            variable,
        }),
    )
}

fn math_operator(sign: &str) -> Option<Operator> {
    Some(match sign {
        "+" => Operator::Add,
        "-" => Operator::Subtract,
        "*" => Operator::Multiply,
        "/" => Operator::Divide,
        "<<" => Operator::Left,
        ">>" => Operator::Right,
        _ => return None,
    })
}

fn base64_decode(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let mut base64 = Base64 {
        bytes: None,
        offset: 0,
        relative: false,
        tests: Vec::new(),
    };
    for part in parts(keyword, value)?
        .into_iter()
        .filter(|part| !part.is_empty())
    {
        let (name, rest) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
        match (name, rest.trim()) {
            ("relative", "") => base64.relative = true,
            ("bytes", count) => base64.bytes = Some(decimal(keyword, count.as_bytes())?),
            ("offset", offset) => {
                base64.offset = decimal::<u16>(keyword, offset.as_bytes())?.into()
            }
            _ => {
                return Err(Reason::bad_value(
                    keyword,
                    format!("'{}'", printable(part.as_bytes())),
                ))
            }
        }
    }
    draft.push_relative(base64.relative, Test::Base64(base64))
}

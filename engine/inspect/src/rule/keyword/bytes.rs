//! `byte_test`, `byte_jump`, `byte_extract`, `byte_math` and `base64_decode`.
use super::super::buffer::{
    Asn1, Base64, ByteExtract, ByteField, ByteJump, ByteMath, ByteTest, Comparison, JumpFrom,
    Number, Operator, Test,
};
use super::super::draft::Draft;
use super::super::lexer::{printable, unquote};
use super::super::number::{number, signed};
use super::super::Reason;
use super::{dcerpc, decimal, flag, optional, text, value, Keyword};

pub(super) const KEYWORDS: &[Keyword] = &[
    value(&["byte_test"], byte_test),
    value(&["byte_jump"], byte_jump),
    value(&["byte_extract"], byte_extract),
    value(&["byte_math"], byte_math),
    optional(&["base64_decode"], base64_decode),
    value(&["asn1"], asn1),
    flag(&["base64_data"], |draft, _| draft.enter_base64()),
];

/// Most bytes a binary number takes.
const MAX_BINARY: i64 = 8;
/// Most digits a number in text takes; Suricata's bound.
const MAX_DIGITS: i64 = 23;
/// The same where they are extracted.
const MAX_EXTRACTED_DIGITS: i64 = 20;
/// Most bytes `byte_math` takes; more than eight are no number in binary.
const MAX_MATH: i64 = 10;

/// Furthest offset, either way; Suricata's bound.
const MAX_OFFSET: i64 = 65_535;

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
    Reason::bad_value(keyword, format!("'{part}' cannot be read"))
}

/// Options that a keyword has been given.
#[derive(Default)]
struct Given<'a> {
    names: Vec<&'a str>,
    /// It is digits.
    text: bool,
}

impl<'a> Given<'a> {
    /// Errors: an option, or another one for the same, stands there already.
    fn note(&mut self, keyword: &str, name: &'a str) -> Result<(), Reason> {
        let known = |known: &&str| match (name, *known) {
            ("little" | "big", "little" | "big") => true,
            (name, known) => name == known,
        };
        // `byte_test` takes the last of what is said twice.
        if keyword != "byte_test" && keyword != "byte_jump" && self.names.iter().any(known) {
            return Err(Reason::Conflict(format!(
                "{keyword}: '{name}' once too often"
            )));
        }
        self.names.push(name);
        Ok(())
    }

    /// Errors: beside `dce` the order or form of bytes is given.
    fn check_dce(&self, keyword: &str) -> Result<(), Reason> {
        const CONTRARY: [&str; 7] = ["little", "big", "endian", "string", "hex", "dec", "oct"];
        let dce = self.names.contains(&"dce");
        if dce && self.names.iter().any(|name| CONTRARY.contains(name)) {
            return Err(Reason::Conflict(format!(
                "{keyword}: 'dce' beside an order or form of bytes"
            )));
        }
        Ok(())
    }
}

/// Reads an option that describes the field; false where it is not one of this keyword.
fn field_option<'a>(
    keyword: &str,
    part: &'a str,
    field: &mut ByteField,
    given: &mut Given<'a>,
) -> Result<bool, Reason> {
    let (name, rest) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
    let math = keyword == "byte_math";
    match (name, rest.trim()) {
        ("relative", "") => field.relative = true,
        ("little", "") if !math => field.little = true,
        ("big", "") if !math => field.little = false,
        ("endian", "little") if math => field.little = true,
        ("endian", "big") if math => field.little = false,
        ("string", "") if math => return Err(bad(keyword, part)),
        ("string", base) => {
            given.text = true;
            field.text_base = Some(field.text_base.unwrap_or(0));
            if !base.is_empty() {
                field.text_base = Some(text_base(base).ok_or_else(|| bad(keyword, part))?);
            }
        }
        (base @ ("hex" | "dec" | "oct"), "") if !math => field.text_base = text_base(base),
        ("bitmask", mask) if math || keyword == "byte_test" => {
            field.bitmask = Some(bitmask(mask).ok_or_else(|| bad(keyword, part))?);
        }
        // Suricata knows it of `byte_math` too, and refuses it there.
        ("dce", "") if !math => field.dce = true,
        _ => return Ok(false),
    }
    given.note(keyword, name)?;
    Ok(true)
}

/// A mask in hexadecimal, `0x` before it or not; digits end where C would end them.
fn bitmask(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let digits = digits.unwrap_or(text);
    let end = digits.find(|char: char| !char.is_ascii_hexdigit());
    let digits = &digits[..end.unwrap_or(digits.len())];
    match digits {
        "" if text.is_empty() => None,
        "" => Some(0),
        digits => u32::from_str_radix(digits, 16).ok().map(u64::from),
    }
}

/// Errors: an offset further than Suricata's bound.
fn check_offset(keyword: &str, offset: Number) -> Result<Number, Reason> {
    match offset {
        Number::Fixed(fixed) if !(-MAX_OFFSET..=MAX_OFFSET).contains(&fixed) => {
            Err(Reason::bad_value(keyword, format!("offset {fixed}")))
        }
        _ => Ok(offset),
    }
}

/// A number, and no variable.
fn fixed_offset(keyword: &str, text: &str) -> Result<Number, Reason> {
    let number = signed(text.as_bytes()).ok_or_else(|| bad(keyword, text))?;
    check_offset(keyword, Number::Fixed(number))
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
fn check(keyword: &str, field: &ByteField, given: &Given<'_>) -> Result<(), Reason> {
    let text = given.text;
    if field.text_base.is_some() && !text {
        return Err(Reason::bad_value(keyword, "hex, dec and oct need 'string'"));
    }
    given.check_dce(keyword)?;
    let most = match (keyword, text) {
        ("byte_math", _) => MAX_MATH,
        ("byte_extract", true) => MAX_EXTRACTED_DIGITS,
        (_, true) => MAX_DIGITS,
        (_, false) => MAX_BINARY,
    };
    // No count before text is as many digits as there are; no bytes at all are never a number.
    let least = match keyword {
        "byte_math" | "byte_jump" => i64::from(!text),
        _ => 0,
    };
    match field.count {
        Number::Fixed(count) if !(least..=most).contains(&count) => Err(Reason::bad_value(
            keyword,
            format!("{count} bytes are not a number"),
        )),
        _ => Ok(()),
    }
}

/// What counts bytes as a DCE/RPC message says is about such messages.
///
/// Errors: the rule is about another protocol.
fn need_dce(draft: &mut Draft, keyword: &str, field: &ByteField) -> Result<(), Reason> {
    match field.dce {
        true => draft.need_apps(dcerpc::CARRIERS, keyword),
        false => Ok(()),
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
    let mut given = Given::default();
    for part in options {
        if !field_option(keyword, part, &mut field, &mut given)? {
            return Err(bad(keyword, part));
        }
    }
    check(keyword, &field, &given)?;
    need_dce(draft, keyword, &field)?;
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
        check_offset(keyword, draft.number(keyword, offset.as_bytes())?)?,
    );
    let mut jump = ByteJump {
        field,
        multiplier: 1,
        align: false,
        from: JumpFrom::Here,
        post_offset: Number::Fixed(0),
    };
    let mut given = Given::default();
    for part in options {
        if field_option(keyword, part, &mut jump.field, &mut given)? {
            continue;
        }
        match part.split_once(char::is_whitespace).unwrap_or((part, "")) {
            ("align", "") => jump.align = true,
            ("from_beginning", "") if jump.from != JumpFrom::End => jump.from = JumpFrom::Beginning,
            ("from_end", "") if jump.from != JumpFrom::Beginning => jump.from = JumpFrom::End,
            ("multiplier", factor) => jump.multiplier = multiplier(keyword, factor)?,
            ("post_offset", offset) => jump.post_offset = fixed_offset(keyword, offset)?,
            _ => return Err(bad(keyword, part)),
        }
    }
    if jump.field.dce && jump.from != JumpFrom::Here {
        return Err(Reason::Conflict(
            "byte_jump: 'dce' beside where it jumps from".into(),
        ));
    }
    // With no bytes to read, only the offset moves.
    if jump.field.count != Number::Fixed(0) {
        check(keyword, &jump.field, &given)?;
    }
    need_dce(draft, keyword, &jump.field)?;
    draft.push_relative(jump.field.relative, Test::ByteJump(jump))
}

fn multiplier(keyword: &str, factor: &str) -> Result<u64, Reason> {
    match decimal::<u16>(keyword, factor.as_bytes())? {
        0 => Err(Reason::bad_value(keyword, "multiplies by zero")),
        factor => Ok(factor.into()),
    }
}

fn byte_extract(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let parts = parts(keyword, value)?;
    let [count, offset, name, options @ ..] = &parts[..] else {
        return Err(Reason::bad_value(keyword, "needs bytes, offset and name"));
    };
    let mut field = field(
        Number::Fixed(decimal::<u8>(keyword, count.as_bytes())?.into()),
        fixed_offset(keyword, offset)?,
    );
    if name.contains(char::is_whitespace) {
        return Err(bad(keyword, name));
    }
    let (mut factor, mut align, mut given) = (1, 1, Given::default());
    for part in options {
        if field_option(keyword, part, &mut field, &mut given)? {
            continue;
        }
        match part.split_once(char::is_whitespace).unwrap_or((part, "")) {
            ("multiplier", text) => factor = multiplier(keyword, text)?,
            ("align", "2") => align = 2,
            ("align", "4") => align = 4,
            _ => return Err(bad(keyword, part)),
        }
    }
    check(keyword, &field, &given)?;
    need_dce(draft, keyword, &field)?;
    let variable = draft.declare(keyword, name)?;
    draft.push_relative(
        field.relative,
        Test::ByteExtract(ByteExtract {
            field,
            multiplier: factor,
            align,
            variable,
        }),
    )
}

fn byte_math(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let (mut count, mut offset, mut operator, mut operand, mut result) =
        (None, None, None, None, None);
    let mut described = field(Number::Fixed(0), Number::Fixed(0));
    let mut given = Given::default();
    for part in parts(keyword, value)? {
        if field_option(keyword, part, &mut described, &mut given)? {
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
            "offset" => offset.replace(fixed_offset(keyword, rest)?).is_none(),
            "rvalue" => operand.replace(operand_of(draft, keyword, rest)?).is_none(),
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
    check(keyword, &field, &given)?;
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

/// A number of 32 bits in decimal, or a variable.
fn operand_of(draft: &Draft, keyword: &str, text: &str) -> Result<Number, Reason> {
    match draft.number(keyword, text.as_bytes())? {
        Number::Fixed(_) => {
            decimal::<u32>(keyword, text.as_bytes()).map(|it| Number::Fixed(it.into()))
        }
        variable => Ok(variable),
    }
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
    let mut placed = false;
    for part in parts(keyword, value)?
        .into_iter()
        .filter(|part| !part.is_empty())
    {
        let (name, rest) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
        match (name, rest.trim()) {
            ("relative", "") => base64.relative = true,
            ("bytes", count) if base64.bytes.is_none() && !placed => {
                base64.bytes = Some(decimal::<u16>(keyword, count.as_bytes())?.into())
            }
            ("offset", offset) => {
                placed = true;
                base64.offset = decimal(keyword, offset.as_bytes())?
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

/// Conditions on the packet's payload, read as ASN.1 from an offset that counts from its start or the last match.
fn asn1(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let mut asn1 = Asn1 {
        oversize_bytes: None,
        bitstring_overflow: false,
        double_overflow: false,
        offset: 0,
        relative: false,
    };
    let value = text(keyword, unquote(value, false).unwrap_or(value))?;
    let separates = |char: char| char == ',' || char.is_whitespace();
    let mut words = value.split(separates).filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let mut number = || words.next().unwrap_or_default();
        match word {
            "bitstring_overflow" => asn1.bitstring_overflow = true,
            "double_overflow" => asn1.double_overflow = true,
            "oversize_length" => asn1.oversize_bytes = Some(decimal(keyword, number().as_bytes())?),
            "absolute_offset" => asn1.offset = decimal::<u16>(keyword, number().as_bytes())?.into(),
            "relative_offset" => {
                let number = number();
                let offset = signed(number.as_bytes()).ok_or_else(|| bad(keyword, number))?;
                check_offset(keyword, Number::Fixed(offset))?;
                asn1.offset = offset;
                asn1.relative = true;
            }
            _ => return Err(bad(keyword, word)),
        }
    }
    draft.needs_packet = true;
    draft.push_relative(asn1.relative, Test::Asn1(asn1))
}

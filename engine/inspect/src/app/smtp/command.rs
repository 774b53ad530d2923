//! The client's command lines and the server's codes.

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    StartTls,
    Data,
    /// DATA, and the mail behind it without waiting for the reply.
    DataAhead,
    Bdat,
    Helo,
    MailFrom,
    RcptTo,
    Rset,
    Quit,
    /// Not a command: the end of a mail, which is answered like one.
    MailEnd,
    Other,
}

/// Commands by how their lines begin, in any case.
const COMMANDS: &[(&[u8], Command)] = &[
    (b"starttls", Command::StartTls),
    (b"data", Command::Data),
    (b"bdat", Command::Bdat),
    (b"helo", Command::Helo),
    (b"ehlo", Command::Helo),
    (b"mail from", Command::MailFrom),
    (b"rcpt to", Command::RcptTo),
    (b"rset", Command::Rset),
    (b"quit", Command::Quit),
];

impl Command {
    pub(super) fn of(line: &[u8]) -> Self {
        let begins = |word: &[u8]| {
            line.get(..word.len())
                .is_some_and(|front| front.eq_ignore_ascii_case(word))
        };
        let found = COMMANDS.iter().find(|(word, _)| begins(word));
        found.map_or(Self::Other, |(_, command)| *command)
    }
}

/// The word behind a command of `len` bytes and the byte that follows it (a space or a colon).
pub(super) fn parameter(line: &[u8], len: usize) -> &[u8] {
    let rest = line.get(len + 1..).unwrap_or_default();
    let start = rest.iter().position(|byte| *byte != b' ');
    let rest = &rest[start.unwrap_or(rest.len())..];
    let end = rest.iter().position(|byte| *byte == b' ');
    &rest[..end.unwrap_or(rest.len())]
}

/// A BDAT command's chunk size, and whether it is the last. Source: RFC 3030, 2.
pub(super) fn chunk(line: &[u8]) -> Option<(u64, bool)> {
    let mut words = line
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty())
        .skip(1);
    let size = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let last = words.any(|word| word.eq_ignore_ascii_case(b"last"));
    Some((size, last))
}

/// Three digits.
pub(super) fn reply_code(text: &[u8]) -> Option<u16> {
    text.iter().all(u8::is_ascii_digit).then_some(())?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

//! Files, of every protocol that carries some.

use super::super::buffer::{Buffer, Test};
use super::super::condition::{TxOperand, TxTest};
use super::super::content::{self, Content};
use super::super::draft::Draft;
use super::super::file::{FileTest, HashKind};
use super::super::lexer::unquote;
use super::super::number::{self, Range};
use super::super::Reason;
use super::{optional, sticky, text, value, Keyword};
use crate::app::{magic, AppProto, AppSet, Stage};

pub(super) const KEYWORDS: &[Keyword] = &[
    sticky(&["file.data", "file_data"], &FILE_DATA),
    sticky(&["file.name"], &FILE_NAME),
    value(&["filename"], filename),
    value(&["fileext"], fileext),
    sticky(&["file.magic"], &FILE_MAGIC),
    value(&["filemagic"], filemagic),
    value(&["filesize"], filesize),
    value(&["filemd5"], |draft, keyword, value| {
        hash(draft, keyword, value, HashKind::Md5)
    }),
    value(&["filesha1"], |draft, keyword, value| {
        hash(draft, keyword, value, HashKind::Sha1)
    }),
    value(&["filesha256"], |draft, keyword, value| {
        hash(draft, keyword, value, HashKind::Sha256)
    }),
    optional(&["filestore"], filestore),
];

/// The protocols that carry files; FTP's are on its data connections.
pub(super) const CARRIERS: AppSet = AppSet::of(&[
    AppProto::Http,
    AppProto::Http2,
    AppProto::Smtp,
    AppProto::FtpData,
    AppProto::Smb,
    AppProto::Nfs,
]);

/// Decoded bytes of each file, behind those that could not be decoded.
pub(super) static FILE_DATA: Buffer = per_file("file.data", |view, direction, index, _| {
    let files = view.files(direction);
    match index.checked_sub(1) {
        None => match view.undecoded(direction) {
            Some(file) => Some(&file.bytes),
            None => (!files.is_empty()).then_some(&[]),
        },
        Some(index) => Some(&files.get(index as usize)?.bytes),
    }
});

static FILE_NAME: Buffer = Buffer {
    at_once: true,
    ..per_file("file.name", |view, direction, index, _| {
        let file = view.files(direction).get(index as usize)?;
        Some(&file.name)
    })
};

/// What each file is by its first bytes.
static FILE_MAGIC: Buffer = Buffer {
    at_once: true,
    validate: |content| match content.negated || magic::can_say(content.needle.bytes()) {
        true => Ok(()),
        false => Err("no kind of file that is known here is called so"),
    },
    ..per_file("file.magic", |view, direction, index, out| {
        let file = view.files(direction).get(index as usize)?;
        out.extend_from_slice(file.magic().unwrap_or_default().as_bytes());
        Some(out)
    })
};

/// A buffer of each file; files may be added until the message is complete.
const fn per_file(name: &'static str, extract: super::super::buffer::Extract) -> Buffer {
    Buffer {
        to_server: Some(Stage::Headers),
        to_client: Some(Stage::Headers),
        grows: true,
        multiple: true,
        ..Buffer::both(name, CARRIERS, extract)
    }
}

/// The pattern of `filename:[!]"text"`, which is looked for whatever its case.
fn name_pattern(keyword: &str, value: &[u8], prefix: &[u8]) -> Result<Content, Reason> {
    let (negated, value) = match value.strip_prefix(b"!") {
        Some(rest) => (true, rest.trim_ascii_start()),
        None => (false, value),
    };
    let text = unquote(value, true).unwrap_or(value);
    let pattern = [prefix, &content::parse_pattern(keyword, text)?].concat();
    let mut content = Content::new(pattern, negated);
    content.needle = content.needle.without_case();
    Ok(content)
}

fn filename(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let content = name_pattern(keyword, value, b"")?;
    draft.push_to(&FILE_NAME, Test::Content(content))
}

fn filemagic(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let content = name_pattern(keyword, value, b"")?;
    draft.push_to(&FILE_MAGIC, Test::Content(content))
}

fn fileext(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let mut content = name_pattern(keyword, value, b".")?;
    content.endswith = true;
    draft.push_to(&FILE_NAME, Test::Content(content))
}

fn filesize(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let range = match with_unit(value) {
        Some(size) => Range::Is(size),
        None => Range::parse(value).map_err(|why| Reason::bad_value(keyword, why))?,
    };
    add(draft, keyword, FileTest::Size(range))
}

/// `10KB`, `2mb`, `1GB`: an exact size may have a unit.
fn with_unit(value: &[u8]) -> Option<u64> {
    let (number, unit) = value.trim_ascii().split_last_chunk::<2>()?;
    let scale = match &unit.to_ascii_lowercase()[..] {
        b"kb" => 1 << 10,
        b"mb" => 1 << 20,
        b"gb" => 1 << 30,
        _ => return None,
    };
    number::number(number)?.checked_mul(scale)
}

/// `filemd5:[!]list`, and its kin.
fn hash(draft: &mut Draft, keyword: &str, value: &[u8], kind: HashKind) -> Result<(), Reason> {
    let value = text(keyword, value)?.trim();
    let path = value.strip_prefix('!').map(str::trim);
    let negated = path.is_some();
    let path = path.unwrap_or(value);
    let list = draft.load.shared.list(kind, draft.beside(path), || {
        let list = draft
            .attachment(path)
            .and_then(|text| kind.read_list(&text));
        list.map_err(|why| Reason::bad_value(keyword, format!("file '{path}': {why}")))
    })?;
    let test = FileTest::Hash {
        kind,
        list,
        negated,
    };
    add(draft, keyword, test)
}

/// `filestore[:direction[,scope]]`. Nothing is stored: a guest's files are not the appliance's to keep. What is
/// left of it is the condition that there is a file.
fn filestore(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, value)?;
    let words: Vec<_> = value.split(',').map(str::trim).collect();
    let is_word = |word: &&str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
    };
    // Suricata takes a direction that it does not know for none, so that a scope may stand in its place.
    let known = match words[..] {
        [""] => true,
        [direction] => is_word(&direction),
        [direction, scope] => is_word(&direction) && ["file", "tx", "ssn", "flow"].contains(&scope),
        _ => false,
    };
    if !known {
        return Err(Reason::bad_value(
            keyword,
            format!("'{value}' cannot be read"),
        ));
    }
    draft.warn("filestore: no file is stored");
    add(draft, keyword, FileTest::Exists)
}

/// Adds a condition on a file; all those of a signature are about one and the same.
fn add(draft: &mut Draft, keyword: &str, test: FileTest) -> Result<(), Reason> {
    draft.need_apps(CARRIERS, keyword)?;
    let known = draft
        .tx_tests
        .iter_mut()
        .find_map(|test| match &mut test.operand {
            TxOperand::File(tests) => Some(tests),
            _ => None,
        });
    if let Some(tests) = known {
        tests.push(test);
        return Ok(());
    }
    draft.tx_tests.push(TxTest {
        keyword: "file",
        sides: TxTest::EITHER,
        // Which file is asked elsewhere: one that a signature fired on counts no more.
        holds: |transaction, direction, _| !transaction.files(direction).is_empty(),
        operand: TxOperand::File(vec![test]),
    });
    Ok(())
}

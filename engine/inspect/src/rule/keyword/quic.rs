//! QUIC's buffers.
use super::super::buffer::{Buffer, Extract};
use super::{sticky, Keyword};
use crate::app::{of, quic, AppProto, AppSet};

pub(super) const KEYWORDS: &[Keyword] = &[
    sticky(&["quic.version"], &VERSION),
    sticky(&["quic.sni"], &SNI),
    sticky(&["quic.ua"], &USER_AGENT),
    sticky(&["quic.cyu.hash"], &CYU_HASH),
    sticky(&["quic.cyu.string"], &CYU_STRING),
];

const fn both(name: &'static str, extract: Extract) -> Buffer {
    Buffer::both(name, AppSet::of(&[AppProto::Quic]), extract)
}

/// A buffer that only a client's packets have.
const fn offered(name: &'static str, extract: Extract) -> Buffer {
    Buffer {
        to_client: None,
        ..both(name, extract)
    }
}

static VERSION: Buffer = both("quic.version", |view, _, index, _| {
    let version = &of::<quic::Transaction>(view)?.version;
    (index == 0).then_some(version.as_slice())
});
static SNI: Buffer = offered("quic.sni", |view, _, index, _| {
    let sni = of::<quic::Transaction>(view)?.sni.as_deref();
    sni.filter(|_| index == 0)
});
static USER_AGENT: Buffer = offered("quic.ua", |view, _, index, _| {
    let agent = of::<quic::Transaction>(view)?.user_agent.as_deref();
    agent.filter(|_| index == 0)
});
static CYU_HASH: Buffer = Buffer {
    multiple: true,
    any_case: true,
    validate: super::tls::is_md5,
    ..offered("quic.cyu.hash", |view, _, index, _| {
        let all = &of::<quic::Transaction>(view)?.cyu;
        Some(all.get(usize::try_from(index).ok()?)?.hash.as_bytes())
    })
};
static CYU_STRING: Buffer = Buffer {
    multiple: true,
    ..offered("quic.cyu.string", |view, _, index, _| {
        let all = &of::<quic::Transaction>(view)?.cyu;
        Some(all.get(usize::try_from(index).ok()?)?.string.as_bytes())
    })
};

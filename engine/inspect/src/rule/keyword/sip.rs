//! SIP's buffers.
use super::super::buffer::{Buffer, Extract};
use super::{sticky, Keyword};
use crate::app::sip::Transaction;
use crate::app::{of, AppProto, AppSet};
use crate::Direction;

pub(super) const KEYWORDS: &[Keyword] = &[
    sticky(&["sip.method"], &METHOD),
    sticky(&["sip.uri"], &URI),
    sticky(&["sip.protocol"], &PROTOCOL),
    sticky(&["sip.stat_code"], &STATUS),
    sticky(&["sip.stat_msg"], &REASON),
    sticky(&["sip.request_line"], &REQUEST_LINE),
    sticky(&["sip.response_line"], &RESPONSE_LINE),
];

const SIP: AppSet = AppSet::of(&[AppProto::Sip]);

const fn request(name: &'static str, extract: Extract) -> Buffer {
    Buffer {
        to_client: None,
        ..Buffer::both(name, SIP, extract)
    }
}

const fn response(name: &'static str, extract: Extract) -> Buffer {
    Buffer {
        to_server: None,
        ..Buffer::both(name, SIP, extract)
    }
}

static METHOD: Buffer = request("sip.method", |view, _, _, _| {
    of::<Transaction>(view)?.message.method()
});
static URI: Buffer = request("sip.uri", |view, _, _, _| {
    of::<Transaction>(view)?.message.uri()
});
/// Of a message that went the other way there is none.
static PROTOCOL: Buffer = Buffer::both("sip.protocol", SIP, |view, direction: Direction, _, _| {
    let it = of::<Transaction>(view)?;
    (it.direction == direction).then(|| it.message.protocol())
});
static STATUS: Buffer = response("sip.stat_code", |view, _, _, _| {
    of::<Transaction>(view)?.message.status()
});
static REASON: Buffer = response("sip.stat_msg", |view, _, _, _| {
    of::<Transaction>(view)?.message.reason()
});
static REQUEST_LINE: Buffer = request("sip.request_line", |view, _, _, _| {
    of::<Transaction>(view)?.message.request_line()
});
static RESPONSE_LINE: Buffer = response("sip.response_line", |view, _, _, _| {
    of::<Transaction>(view)?.message.response_line()
});

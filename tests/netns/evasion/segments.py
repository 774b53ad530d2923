"""Evasions by TCP segments: how the text is cut, doubled and contradicted, and what the guest throws away.

What Linux does with a contradiction, where both copies wait behind a hole: of two equal pieces the first
stays, a new piece that covers an old one takes its place, and of two that overlap in part the one further
left wins (`tcp_data_queue_ofo`). What has reached the application stays, whatever comes later.
"""

from collections.abc import Callable, Iterator
from itertools import permutations, product

from tests.netns.evasion.attacker import FIRST_SEQ, Connection
from tests.netns.evasion.evasion import Evasion, Play
from tests.netns.evasion.rig import HOP_PORT, INLINE_PORT, LENGTH, MARK_AT, MARK_END, Guest

REAL, DECOY, NEITHER = Guest.REAL, Guest.DECOY, Guest.NEITHER
Span = tuple[int, int]
STAMPS = {"stamp": 1_000_000}
MD5 = [(19, b"\0" * 16)]
FAR = 10_000_000
MIDDLE = MARK_AT + 6
CHECKSUMS = "replay looks at captures without checking checksums, as with Suricata's `-k none`"
HOPS = "a sensor cannot know how many hops are still to come"
TAKEN = "reassembly takes for a part of the stream what the guest throws away"
ENDED = "reassembly takes for the stream's end what the guest does not"
OTHERS = "overlaps are resolved as by Windows, as Suricata's configuration has it, not as by Linux"
OVERWRITTEN = "with `--ips` bytes that differ are overwritten, so that the guest would not have received them"
OVER_FIN = "reassembly goes on over a FIN, as Suricata's does"
EARLY = "a segment that begins before the stream is not taken, as by Suricata"


def every(size: int, length: int = LENGTH) -> list[Span]:
    """Return the spans of a text cut every `size` bytes."""
    return [(start, min(start + size, length)) for start in range(0, length, size)]


def in_pieces(spans: list[Span]) -> Play:
    return lambda c, real, _: c.open().pieces(real, spans)


def contested(old: Span, new: Span) -> Play:
    """The decoy's old span and the real text's new one wait behind a hole; then the rest comes."""
    low, high = min(old[0], new[0]), max(old[1], new[1])

    def play(c: Connection, real: bytes, decoy: bytes) -> None:
        c.open().pieces(decoy, [old]).pieces(real, [new])
        c.pieces(real, [(high, LENGTH), (0, low)])

    return play


def thrown_away(send: Callable[[Connection, bytes], object]) -> Play:
    """The decoy is sent so that the guest does not take it, then the real text at the same place."""

    def play(c: Connection, real: bytes, decoy: bytes) -> None:
        c.open()
        send(c, decoy)
        c.put(0, real)

    return play


def first_of_all(send: Callable[[Connection], object]) -> Play:
    """Something that may end the connection in an inspector's eyes, then the text."""
    return thrown_away(lambda c, _: send(c))


def whole(c: Connection, real: bytes, _: bytes) -> None:
    c.open().put(0, real)


def syn_with_data(c: Connection, real: bytes, decoy: bytes) -> None:
    c.open(decoy).put(0, real)


def before_the_answer(c: Connection, real: bytes, decoy: bytes) -> None:
    since = len(c.wire.frames)
    c.put(0, decoy, ack=1)
    c.syn().answered(since)
    c.put(0, flags="A").put(0, real)


def with_the_last_ack(c: Connection, real: bytes, _: bytes) -> None:
    c.open(last=False).put(0, real)


def urgent(c: Connection, real: bytes, _: bytes) -> None:
    """One byte in the middle of the mark is urgent: who takes it out of band reads the mark without it."""
    data = real[:MIDDLE] + b"!" + real[MIDDLE:]
    c.open().put(0, data, "PAU", urgptr=MIDDLE + 1)


def scaled_window(c: Connection, real: bytes, _: bytes) -> None:
    c.open()
    c.pieces(real, every(8)).put(0, flags="A", window=1)


def resent_within_a_later_segment(c: Connection, real: bytes, decoy: bytes) -> None:
    c.open().put(0, real[:MARK_END])
    c.put(0, decoy[:MARK_END] + real[MARK_END:])


EVASIONS = [
    # How the text is cut.
    Evasion(REAL, "whole", whole),
    Evasion(REAL, "one byte a segment", lambda c, r, _: c.open().pieces(r, every(1))),
    Evasion(REAL, "cut in the mark", lambda c, r, _: c.open().pieces(r, [(0, MIDDLE), (MIDDLE, LENGTH)])),
    Evasion(REAL, "backwards", lambda c, r, _: c.open().pieces(r, every(8)[::-1])),
    Evasion(REAL, "backwards, byte by byte", lambda c, r, _: c.open().pieces(r, every(1)[::-1])),
    Evasion(REAL, "odd pieces before even ones", lambda c, r, _: c.open().pieces(r, every(7)[1::2] + every(7)[::2])),
    Evasion(REAL, "every piece twice", lambda c, r, _: c.open().pieces(r, [s for s in every(8) for _ in (0, 1)])),
    Evasion(REAL, "everything resent whole", lambda c, r, _: c.open().pieces(r, [*every(8), (0, LENGTH)])),
    Evasion(REAL, "each piece overlaps the next", lambda c, r, _: c.open().pieces(r, [(a, min(b + 5, LENGTH)) for a, b in every(8)])),
    Evasion(REAL, "sequence numbers wrap in the mark", lambda c, r, _: c.open().pieces(r, every(8)), {"base": (1 << 32) - MIDDLE - 1}),
    Evasion(REAL, "sequence numbers wrap, backwards", lambda c, r, _: c.open().pieces(r, every(8)[::-1]), {"base": (1 << 32) - MIDDLE - 1}),
    Evasion(REAL, "the first sequence number is the last there is", whole, {"base": (1 << 32) - 1}),
    Evasion(REAL, "over IPv6", whole, {"version": 6}),
    Evasion(REAL, "over IPv6, backwards", lambda c, r, _: c.open().pieces(r, every(8)[::-1]), {"version": 6}),
    # Contradictions: the decoy is old, the real text new.
    Evasion(REAL, "resent with other bytes", lambda c, r, d: c.open().put(0, r).put(0, d)),
    Evasion(REAL, "resent with other bytes, and more", resent_within_a_later_segment),
    Evasion(DECOY, "old, then new of the same span", contested((32, 64), (32, 64))),
    Evasion(DECOY, "new inside old", contested((24, 72), (36, 56))),
    Evasion(REAL, "new around old", contested((36, 56), (24, 72)), blind=OVERWRITTEN),
    Evasion(REAL, "new begins with old and is longer", contested((32, 56), (32, 72)), blind=OTHERS),
    Evasion(DECOY, "new begins with old and is shorter", contested((32, 72), (32, 56))),
    Evasion(REAL, "new begins left of old", contested((36, 72), (24, 56)), blind=OVERWRITTEN),
    Evasion(DECOY, "new begins right of old's start", contested((24, 56), (36, 72))),
    Evasion(REAL, "new begins left of old and ends with it", contested((36, 64), (24, 64)), blind=OVERWRITTEN),
    Evasion(DECOY, "new begins in old and ends with it", contested((24, 64), (36, 64))),
    # What the guest throws away.
    Evasion(REAL, "past the window", thrown_away(lambda c, d: c.put(FAR, d))),
    Evasion(REAL, "before the stream", thrown_away(lambda c, d: c.put(-LENGTH, d))),
    Evasion(REAL, "from before the stream into it", lambda c, r, d: c.open().put(-20, d[:20] + r), blind=EARLY),
    Evasion(REAL, "bad TCP checksum", thrown_away(lambda c, d: c.put(0, d, chksum=0xBAD)), blind=CHECKSUMS),
    Evasion(REAL, "bad TCP checksum over IPv6", thrown_away(lambda c, d: c.put(0, d, chksum=0xBAD)), {"version": 6}, blind=CHECKSUMS),
    Evasion(REAL, "bad IP checksum", thrown_away(lambda c, d: c.put(0, d, ip={"chksum": 0xBAD})), blind=CHECKSUMS),
    Evasion(REAL, "no ACK flag", thrown_away(lambda c, d: c.put(0, d, "P"))),
    Evasion(REAL, "no flag at all", thrown_away(lambda c, d: c.put(0, d, ""))),
    Evasion(REAL, "acknowledges what was never sent", thrown_away(lambda c, d: c.put(0, d, ack=c.their_next + FAR)), blind=TAKEN),
    Evasion(REAL, "acknowledges what is long gone", thrown_away(lambda c, d: c.put(0, d, ack=c.their_next - (1 << 30)))),
    Evasion(REAL, "data offset too small", thrown_away(lambda c, d: c.put(0, d, dataofs=4))),
    Evasion(REAL, "data offset past the end", lambda c, r, d: c.open().put(0, d[:8], dataofs=15).put(0, r)),
    Evasion(REAL, "older timestamp", thrown_away(lambda c, d: c.stale(0, d, 100_000)), STAMPS),
    Evasion(REAL, "timestamps left out", lambda c, r, _: c.open().put(0, r, options=[]), STAMPS),
    Evasion(REAL, "MD5 signature nobody asked for", thrown_away(lambda c, d: c.put(0, d, options=MD5)), blind=TAKEN),
    Evasion(REAL, "option of a length of nothing", lambda c, r, _: c.open().put(0, r, options=[(99, b"")])),
    Evasion(REAL, "window of one", scaled_window),
    Evasion(REAL, "expires on the way", thrown_away(lambda c, d: c.put(0, d, ip={"ttl": 1})), {"dport": HOP_PORT},
            blind=HOPS),
    Evasion(REAL, "for another MAC address", thrown_away(lambda c, d: _to_another(c, d)),
            blind="a capture does not say whose MAC address is whose"),
    # SYN and RST.
    Evasion(REAL, "data on the SYN", syn_with_data),
    Evasion(REAL, "data before the handshake", before_the_answer),
    Evasion(REAL, "data on the handshake's last ACK", with_the_last_ack),
    Evasion(REAL, "SYN in the connection", first_of_all(lambda c: c.put(0, flags="S", seq=FIRST_SEQ + FAR))),
    Evasion(REAL, "SYN of the same number again", first_of_all(lambda c: c.put(-1, flags="S", ack=0))),
    Evasion(REAL, "RST past the window", first_of_all(lambda c: c.put(FAR, flags="R"))),
    Evasion(REAL, "RST in the window, not at its edge", first_of_all(lambda c: c.put(7, flags="R"))),
    Evasion(REAL, "RST before the stream", first_of_all(lambda c: c.put(-100, flags="R"))),
    Evasion(REAL, "RST with a bad checksum", first_of_all(lambda c: c.put(0, flags="R", chksum=0xBAD)), blind=CHECKSUMS),
    Evasion(REAL, "RST that expires on the way", first_of_all(lambda c: c.put(0, flags="R", ip={"ttl": 1})), {"dport": HOP_PORT},
            blind=HOPS, lossy="for the inspector the connection is over"),
    Evasion(REAL, "RST with an MD5 signature", first_of_all(lambda c: c.put(0, flags="R", options=MD5)), lossy="for the inspector the connection is over"),
    Evasion(NEITHER, "RST that counts", first_of_all(lambda c: c.put(0, flags="R")), lossy="the connection is over"),
    # FIN.
    Evasion(NEITHER, "text past the FIN", lambda c, r, _: c.open().put(0, flags="FA").put(1, r), lossy="the stream is over"),
    Evasion(NEITHER, "text over the FIN", first_of_all(lambda c: c.put(0, flags="FA")), lossy="the stream is over", blind=OVER_FIN),
    Evasion(REAL, "FIN past the window", first_of_all(lambda c: c.put(FAR, flags="FA"))),
    Evasion(REAL, "FIN with a bad checksum", first_of_all(lambda c: c.put(0, flags="FA", chksum=0xBAD)), blind=CHECKSUMS),
    Evasion(REAL, "FIN without ACK", first_of_all(lambda c: c.put(0, flags="F")), blind=ENDED),
    Evasion(REAL, "FIN before the text", lambda c, r, _: c.open().put(LENGTH, flags="FA").put(0, r)),
    Evasion(REAL, "FIN on the last piece, which comes first", lambda c, r, _: c.open().put(48, r[48:], "FPA").put(0, r[:48])),
    Evasion(NEITHER, "FIN in the mark, then all of it", lambda c, r, _: c.open().put(0, r[:MIDDLE], "FPA").put(0, r),
            lossy="the stream is over", blind=OVER_FIN),
    # Urgent data.
    Evasion(REAL, "urgent byte in the mark", urgent,
            blind="urgent data stays in the stream, as by Suricata's default; the guest takes it out of band",
            lossy="the inspector drops urgent data"),
    Evasion(NEITHER, "urgent byte in the mark, taken in line", urgent, {"dport": INLINE_PORT}, lossy="it has a byte more"),
    Evasion(REAL, "urgent pointer without its flag", lambda c, r, _: c.open().put(0, r, urgptr=MIDDLE)),
    Evasion(REAL, "urgent pointer past the data, in line", lambda c, r, _: c.open().put(0, r, "PAU", urgptr=4000), {"dport": INLINE_PORT},
            lossy="the inspector drops urgent data"),
]  # fmt: skip


def _to_another(c: Connection, data: bytes) -> None:
    frame = c.frame(0, data)
    frame.dst = "02:5e:99:00:00:77"
    c.wire.send(frame)


def more() -> Iterator[Evasion]:
    """Every way two spans may overlap around the mark, the rest in every order; every size of piece."""
    spans = [(24, 56), (24, 64), (32, 56), (32, 64), (36, 60), (38, 72)]
    for (old, new), order in product(product(spans, spans), permutations(range(4))):
        blind = OTHERS if old[0] == new[0] and old != new else OVERWRITTEN
        play = _in_order(old, new, order)
        yield Evasion(Guest.ANY, f"old {old} new {new} order {order}", play, blind=blind)
    for size in range(1, LENGTH):
        for name, turn in [("forwards", 1), ("backwards", -1)]:
            yield Evasion(REAL, f"pieces of {size}, {name}", in_pieces(every(size)[::turn]))


def _in_order(old: Span, new: Span, order: tuple[int, ...]) -> Play:
    low, high = min(old[0], new[0]), max(old[1], new[1])

    def play(c: Connection, real: bytes, decoy: bytes) -> None:
        pieces = [(decoy, old), (real, new), (real, (high, LENGTH)), (real, (0, low))]
        c.open()
        for data, (start, end) in (pieces[at] for at in order):
            c.put(start, data[start:end])

    return play

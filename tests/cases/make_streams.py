"""Cases for TCP: how a stream may be cut, repeated and reordered; flow and flowbits."""

from collections.abc import Iterator

from tests.tools.cases import Case
from tests.tools.wire import OK, Tcp, exchange, http


def rule(sid: int, msg: str, options: str, header: str = "tcp any any -> $HOME_NET 9000") -> str:
    """Return one alert rule."""
    return f'alert {header} (msg:"{msg}"; {options} sid:{sid};)\n'


HTTP = "http any any -> $HOME_NET any"
TO_SERVER = "flow:established,to_server;"
WORDS = b"please open sesame now, thank you"
TCP_RULES = (
    rule(101, "the words in the stream", f'{TO_SERVER} content:"open sesame";')
    + rule(
        102, "and what follows", f'{TO_SERVER} content:"open sesame"; content:"now"; distance:1; within:3;'
    )
    + rule(201, "other words", f'{TO_SERVER} content:"close sesame";')
)
BOTH = {101: 1, 102: 1}
HTTP_RULES = rule(101, "the path", f'{TO_SERVER} http.uri; content:"/secret/door";', HTTP) + rule(
    102, "a header", f'{TO_SERVER} http.header; content:"X-Key|3a 20|sesame";', HTTP
)
REQUEST = http("GET", "/secret/door", ("X-Key", "sesame"))

# The retransmitted or overlapping bytes, of the same length as what they stand beside.
OTHER = b"please shut sesame now, thank you"


def tcp(name: str, purpose: str, why: str, packets: Tcp, alerts: dict[int, int], **more: object) -> Case:
    """A case on the words in a stream to port 9000."""
    return Case(name, purpose, why, TCP_RULES, packets.close().packets, alerts, **more)  # type: ignore[arg-type]


def conversation() -> Tcp:
    """Return an open connection to port 9000."""
    return Tcp(dport=9000).open()


def cases() -> Iterator[Case]:
    """Return every case of this family."""
    yield from cut_in_order()
    yield from reordered_and_repeated()
    yield from not_a_stream()
    yield from directions()
    yield from bits()


def cut_in_order() -> Iterator[Case]:
    """Segments in order."""
    middle = WORDS.index(b"sesame") + 2
    yield tcp(
        "tcp-one-segment", "The words in one segment.", "They are there.", conversation().say(WORDS), BOTH
    )
    yield tcp(
        "tcp-two-segments",
        "A segment boundary inside the match.",
        "The stream is searched, not the packets.",
        conversation().say(WORDS, cuts=[middle]),
        BOTH,
    )
    yield tcp(
        "tcp-one-byte-segments",
        "Every byte in its own segment.",
        "Thirty-three segments are still one stream, and one alert.",
        conversation().say(WORDS, cuts=range(1, len(WORDS))),
        BOTH,
    )
    yield tcp(
        "tcp-one-acknowledgement",
        "One byte a segment, acknowledged once at the end.",
        "Inspection waits for the acknowledgement; nothing is lost by it.",
        conversation().say(WORDS[:-1], cuts=range(1, len(WORDS) - 1), ack=False).say(WORDS[-1:]),
        BOTH,
    )
    inside = REQUEST.index(b"door")
    for name, cuts in (
        ("http-two-segments", [inside]),
        ("http-ten-one-byte-segments", range(inside - 5, inside + 5)),
        ("http-one-byte-segments", range(1, len(REQUEST))),
    ):
        yield Case(
            name,
            "A request cut where it hurts.",
            "The request is put together before its parts are searched.",
            HTTP_RULES,
            Tcp().open().say(REQUEST, cuts=cuts).say(OK, to_server=False).close().packets,
            BOTH,
        )


def reordered_and_repeated() -> Iterator[Case]:
    """Segments out of order, twice, overlapping."""
    a, b = WORDS.index(b"open") + 2, WORDS.index(b"sesame") + 2
    end = len(WORDS)
    yield tcp(
        "tcp-out-of-order",
        "Three segments, the last one first.",
        "The gap is closed before the stream is searched.",
        conversation().pieces(WORDS, [(b, end), (a, b), (0, a)]),
        BOTH,
    )
    yield tcp(
        "tcp-retransmission",
        "The segment with half of the match comes twice.",
        "The second copy adds nothing: one alert.",
        conversation().pieces(WORDS, [(0, b), (0, b), (b, end), (b, end)]),
        BOTH,
    )
    yield tcp(
        "tcp-retransmission-longer",
        "A retransmission that holds old bytes and new ones.",
        "The new ones continue the stream.",
        conversation().pieces(WORDS, [(0, b), (a, end)]),
        BOTH,
    )
    yield tcp(
        "tcp-overlap-equal",
        "Overlapping segments that agree, out of order.",
        "Where copies agree there is one stream.",
        conversation().pieces(WORDS, [(a, b + 3), (b, end), (0, a + 4)]),
        BOTH,
    )
    yield tcp(
        "tcp-gap",
        "A segment of the match never comes.",
        "No alert: what is on both sides of a gap is not one stream, and the server has not seen it either.",
        conversation().pieces(WORDS, [(0, a), (b, end)]),
        {},
    )
    yield Case(
        "http-lost-beginning",
        "The first request never came; the answer to it and the second request did.",
        "The answer tells what is spoken, so the request behind the hole is read.",
        HTTP_RULES,
        Tcp()
        .open()
        .pieces(b"x" * 100, [])
        .say(OK, to_server=False)
        .say(REQUEST)
        .say(OK, to_server=False)
        .close()
        .packets,
        BOTH,
    )
    yield Case(
        "http-out-of-order",
        "A request's three segments, the middle one last.",
        "The request is read once it is whole.",
        HTTP_RULES,
        Tcp()
        .open()
        .pieces(REQUEST, [(0, 10), (30, len(REQUEST)), (10, 30)])
        .say(OK, to_server=False)
        .close()
        .packets,
        BOTH,
    )
    yield tcp(
        "tcp-inline-first-copy-counts",
        "A segment is followed by another copy that differs, before either is acknowledged; inline.",
        "Inline, what was let through first is the stream: the harmless second copy hides nothing.",
        conversation().pieces(WORDS, [(0, b), (0, OTHER[:b]), (b, end)]),
        BOTH,
        ips=True,
    )
    yield tcp(
        "tcp-inline-second-copy-does-not",
        "The harmless copy first, the other after it; inline.",
        "Inline, the first copy is what the server gets; the second is no part of the stream.",
        conversation().pieces(WORDS, [(0, OTHER[:b]), (0, b), (b, end)]),
        {},
        ips=True,
    )


def not_a_stream() -> Iterator[Case]:
    """What `established` leaves out."""
    whole = conversation().say(WORDS).close()
    rules = (
        TCP_RULES
        + rule(103, "without flow", 'content:"open sesame";')
        + rule(104, "stateless", 'flow:stateless; content:"open sesame";')
        + rule(105, "not established", 'flow:not_established; content:"open";')
    )
    yield Case(
        "flow-established",
        "The words after a handshake.",
        "All but the rule for flows that are not established.",
        rules,
        whole.packets,
        {101: 1, 102: 1, 103: 1, 104: 1},
    )
    yield Case(
        "flow-midstream",
        "The same without the handshake.",
        "The flow was not seen to begin: `established` does not hold, and no stream is put together.",
        rules,
        whole.packets[3:],
        {103: 1, 104: 1, 105: 1},
    )


def directions() -> Iterator[Case]:
    """flow's directions."""
    rules = "\n".join(
        f'alert tcp any any -> any any (msg:"{flow}"; flow:established,{flow}; content:"{word}"; sid:{sid};)'
        for sid, flow, word in (
            (101, "to_server", "question"),
            (102, "to_client", "answer"),
            (103, "from_client", "question"),
            (104, "from_server", "answer"),
            (201, "to_client", "question"),
            (202, "to_server", "answer"),
        )
    )
    packets = conversation().say(b"a question").say(b"an answer", to_server=False).close().packets
    yield Case(
        "flow-directions",
        "to_server, to_client, from_client, from_server.",
        "The side that opened the connection is the client, whatever the ports are.",
        rules,
        packets,
        {101: 1, 102: 1, 103: 1, 104: 1},
    )


def bits() -> Iterator[Case]:
    """flowbits."""
    bit = "sekisho.login"
    rules = (
        rule(
            101,
            "remembers the login page",
            f'{TO_SERVER} http.uri; content:"/login"; flowbits:set,{bit}; flowbits:noalert;',
            HTTP,
        )
        + rule(
            102,
            "after the login page",
            f'{TO_SERVER} flowbits:isset,{bit}; http.uri; content:"/upload";',
            HTTP,
        )
        + rule(103, "without it", f'{TO_SERVER} flowbits:isnotset,{bit}; http.uri; content:"/upload";', HTTP)
        + rule(104, "forgets", f'{TO_SERVER} http.uri; content:"/logout"; flowbits:unset,{bit};', HTTP)
    )
    login, upload, logout = (http("GET", path) for path in ("/login", "/upload", "/logout"))
    yield Case(
        "flowbits-chain",
        "A bit set by one request decides about the next one on the connection; noalert.",
        "The second upload comes after the login, so 102 fires and 103 does not; 101 never says anything.",
        rules,
        exchange(login, upload),
        {102: 1},
    )
    yield Case(
        "flowbits-isnotset",
        "The upload without the login.",
        "Only 103 holds.",
        rules,
        exchange(upload),
        {103: 1},
    )
    yield Case(
        "flowbits-unset",
        "Login, logout, upload.",
        "The logout takes the bit back.",
        rules,
        exchange(login, logout, upload),
        {103: 1, 104: 1},
    )
    yield Case(
        "flowbits-per-flow",
        "The login in one connection, the upload in another of the same client.",
        "Bits belong to a flow.",
        rules,
        exchange(login) + exchange(upload, sport=40001),
        {103: 1},
    )
    request_and_answer = rule(
        101, "asks", f'{TO_SERVER} http.uri; content:"/door"; flowbits:set,asked; flowbits:noalert;', HTTP
    ) + rule(
        102,
        "and is refused",
        'flow:established,to_client; flowbits:isset,asked; http.stat_code; content:"403";',
        "http $HOME_NET any -> any any",
    )
    refused = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    yield Case(
        "flowbits-request-and-answer",
        "A bit set by the request, tested on the answer.",
        "One exchange, both directions of one flow.",
        request_and_answer,
        exchange(http("GET", "/door"), response=refused)
        + exchange(http("GET", "/wall"), sport=40001, response=refused),
        {102: 1},
    )

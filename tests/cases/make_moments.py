"""Cases for when signatures look at a capture: with which packet, and how often."""

import struct
from collections.abc import Iterator

from tests.tools.cases import Case
from tests.tools.wire import OK, Tcp, exchange, http

UNKNOWN = "alert tcp any any -> any any (flow:established; app-layer-protocol:"
ANSWER = OK[:-1]


def cases() -> Iterator[Case]:
    """Return every case of this family."""
    yield from nothing_known()
    yield from payload_and_stream()
    yield from ends()
    yield from holes()


def nothing_known() -> Iterator[Case]:
    """Connections that speak no protocol that is known."""
    short = Tcp(dport=9000).open()
    short.say(b"\x01\x02\x03\x04\x05\x06\x07\x08").say(b"\x01\x02\x03\x04", to_server=False)
    rules = (
        f"{UNKNOWN}!tls; sid:101;)\n{UNKNOWN}!tls; prefilter; sid:102;)\n"
        "alert tcp any any -> any any (app-layer-protocol:failed; sid:103;)\n"
    )
    yield Case(
        "protocol-unknown-too-short",
        "A few bytes either way that are those of no protocol.",
        "As long as a pattern could still be found, nobody says that the protocol is not TLS.",
        rules,
        short.close().packets,
        {},
    )
    longer = Tcp(dport=9000).open()
    longer.say(b"\x01\x02\x03\x04" * 2).say(b"\x01\x02\x03\x04" * 4, to_server=False)
    longer.say(b"\x05\x06\x07\x08" * 4).say(b"\x01\x02\x03\x04", to_server=False).say(b"\x09" * 9)
    yield Case(
        "protocol-unknown",
        "Seventeen bytes from the client and more that are those of no protocol.",
        "It is told with the acknowledgment of the 17th byte; the next packet each way sees it.",
        rules,
        longer.close().packets,
        {101: 8, 102: 2, 103: 2},
    )


def payload_and_stream() -> Iterator[Case]:
    """Packets without payload, streams, and packets that are in no stream."""
    two = exchange(http("GET", "/first"), http("GET", "/second"))
    empty = "alert tcp any any -> any any (dsize:0; sid:101;)\n"
    yield Case(
        "dsize-zero-alone",
        "dsize:0 with no signature that looks at streams.",
        "Every packet without payload is one; that bytes of its stream came meanwhile concerns nobody.",
        empty,
        two,
        {101: 10},
    )
    yield Case(
        "dsize-zero-beside-stream",
        "dsize:0 with a signature that looks at streams.",
        "A packet with which bytes of its stream are looked at is not one without payload.",
        empty + 'alert tcp any any -> any any (content:"second"; sid:102;)\n',
        two,
        {101: 6, 102: 1},
    )
    midstream = Tcp(dport=9000).say(b"the words").packets
    yield Case(
        "tcp-stream-midstream",
        "Words in a connection that is not followed.",
        "What is part of no stream is a stream of its own to `tcp-stream`, but not to `flow:only_stream`.",
        'alert tcp-stream any any -> any any (content:"words"; sid:101;)\n'
        'alert tcp any any -> any any (flow:only_stream; content:"words"; sid:102;)\n',
        midstream,
        {101: 1},
    )
    yield Case(
        "flow-only-stream-alone",
        "flow:only_stream without a condition on the stream.",
        "It says that a condition held on a stream; without one it never holds.",
        "alert tcp any any -> any any (flow:only_stream; sid:101;)\n"
        "alert tcp any any -> any any (flow:established,only_stream; sid:102;)\n",
        two,
        {},
    )
    post = http("POST", "/", body=b"one and one and one")
    posted = Tcp().open().say(post, cuts=(len(post) - 19, len(post) - 11))
    yield Case(
        "stream-of-http-until-a-message-is-over",
        "A request in three segments, with a word in each of two.",
        "The stream is looked at once the request is over; the packet that follows is none without payload.",
        empty + 'alert tcp any any -> any any (content:"one and"; sid:102;)\n',
        posted.say(OK, to_server=False).close().packets,
        {101: 8, 102: 1},
    )
    yield Case(
        "request-that-nobody-answers",
        "A signature on nothing but HTTP; the connection is closed without a response.",
        "What stays open is looked at once more either way.",
        "alert http any any -> any any (sid:101;)\n",
        Tcp().open().say(http("GET", "/")).close().packets,
        {101: 6},
    )
    ftp = Tcp(dport=21).open().say(b"220 (ready)\r\n", to_server=False)
    for command in (b"USER a\r\n", b"PASS b\r\n", b"NOOP\r\n", b"NOOP\r\n", b"QUIT\r\n"):
        ftp.say(command).say(b"200 ok\r\n", to_server=False)
    yield Case(
        "stream-of-ftp-in-pieces",
        "FTP's commands, in the stream.",
        "Few protocols have their stream looked at with each message; FTP's is in pieces of 2,560 bytes.",
        'alert tcp any any -> any any (flow:to_server; content:"NOOP"; sid:101;)\n',
        ftp.close().packets,
        {101: 1},
    )
    deaf = Tcp(dport=21).open().say(b"220 (ready)\r\n", to_server=False)
    for port in range(4):
        deaf.say(b"PORT 10,0,0,200,78,%d\r\n" % port)
    yield Case(
        "ftp-unanswered-commands",
        "FTP commands that nobody answers, and what was in the stream before they are looked at.",
        "A command is looked at once it is answered or its connection is over; then no bytes go with it.",
        'alert tcp any any -> any 21 (content:"PORT"; ftpbounce; sid:101;)\n'
        'alert tcp any any -> any 21 (content:"PORT"; sid:102;)\n',
        deaf.close().packets,
        {102: 1},
    )
    shell = Tcp(dport=22).open()
    shell.say(b"SSH-2.0-tool\r\n").say(b"SSH-2.0-server\r\n", to_server=False)
    yield Case(
        "stream-of-ssh-in-pieces",
        "SSH's banner, in the stream.",
        "It is looked at when the connection ends.",
        'alert tcp any any -> any any (flow:to_server; content:"2.0-tool"; sid:101;)\n',
        shell.close().packets,
        {101: 1},
    )


def ends() -> Iterator[Case]:
    """How connections begin and end."""
    rules = "alert http any any -> any any (sid:101;)\n"
    left_open = Tcp().open().say(http("GET", "/")).say(ANSWER, to_server=False)
    yield Case(
        "http-never-closed",
        "A signature on nothing but HTTP, on a connection that the capture does not see closed.",
        "It is looked at once more either way when the capture ends.",
        rules,
        left_open.packets,
        {101: 5},
    )
    unended = Tcp().open().say(http("GET", "/"))
    unended.say(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", to_server=False)
    yield Case(
        "http-ends-with-its-connection",
        "A signature on nothing but HTTP; the response ends with its connection.",
        "The last acknowledgment ends it, and no packet of its direction follows: one more look that way.",
        rules,
        unended.close().packets,
        {101: 7},
    )
    yield Case(
        "syn-ack-first",
        "A capture that begins with the answer to a SYN.",
        "Of connections that are not taken up midstream, who speaks first is the client.",
        "alert tcp any any -> any any (flow:to_server; sid:101;)\n",
        Tcp().open().say(http("GET", "/")).packets[1:],
        {101: 2},
    )


def holes() -> Iterator[Case]:
    """Bytes that were acknowledged and never seen."""
    event = "alert tcp any any -> any any (stream-event:reassembly_seq_gap; sid:101;)\n"
    queue = Tcp(dport=1883).open().say(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02id")
    queue.say(b"\x20\x02\x00\x00", to_server=False)
    for lost in (0, 0, 10, 10, 0):
        queue.seqs[True] += lost
        queue.say(b"\x30\x08\x00\x04doorup").say(b"\xd0\x00", to_server=False)
    yield Case(
        "hole-ends-mqtt",
        "Messages with two holes between them.",
        "MQTT is not read on behind a hole, whose end nobody knows; nor is a further hole told then.",
        event + 'alert mqtt any any -> any any (mqtt.publish.topic; content:"door"; sid:102;)\n',
        queue.close().packets,
        {101: 1, 102: 2},
    )
    web = Tcp().open()
    for number, lost in enumerate((0, 40, 40)):
        web.seqs[True] += lost
        web.say(http("GET", f"/page{number}")).say(OK, to_server=False)
    yield Case(
        "holes-in-http",
        "Requests with two holes between them.",
        "HTTP is read on; each hole is told.",
        event + 'alert http any any -> any any (http.uri; content:"/page"; sid:102;)\n',
        web.close().packets,
        {101: 2, 102: 3},
    )
    late = Tcp().open().say(http("GET", "/first"))
    late.seqs[True] += 40
    late.say(OK, to_server=False)
    late.say(http("GET", "/second"), ack=False).say(OK, to_server=False)
    yield Case(
        "hole-acknowledged-before-it-shows",
        "The bytes behind a hole come after its acknowledgment.",
        "What is acknowledged and unseen is no hole until bytes follow it; then the next answer tells it.",
        event,
        late.close().packets,
        {101: 1},
    )
    yield Case(
        "dcerpc-ends-at-auth3",
        "Two calls, and a data unit that completes an authentication between them.",
        "Suricata reads no further behind a kind of data unit that it does not know.",
        CALLS,
        called(called(bound(), 2).say(data_unit(16, bytes(8), 2)), 3).close().packets,
        {101: 2},
    )
    cut = called(bound(), 2).say(called_of(3)[:10]).say(data_unit(3, bytes(8), 2), to_server=False)
    yield Case(
        "dcerpc-ends-out-of-turn",
        "Two calls, and an answer in the middle of a third one.",
        "While a data unit is incomplete Suricata goes on only with whoever sent the last whole one.",
        CALLS,
        called(cut.say(called_of(3)[10:]), 4).close().packets,
        {101: 2},
    )


CALLS = "alert dcerpc any any -> any any (dcerpc.opnum:7; sid:101;)\n"
ABSTRACT = bytes.fromhex("c84f324b7016d30112785a47bf6ee188") + struct.pack("<I", 3)
TRANSFER = bytes.fromhex("045d888aeb1cc9119fe808002b104860") + struct.pack("<I", 2)
SIZES = struct.pack("<HHI", 4280, 4280, 0)
BIND = SIZES + struct.pack("<BxHHBx", 1, 0, 0, 1) + ABSTRACT + TRANSFER
BIND_ACK = SIZES + struct.pack("<H4sxxBxH", 4, b"135\0", 1, 0) + struct.pack("<HH", 0, 0) + TRANSFER


def data_unit(kind: int, body: bytes, call: int = 1) -> bytes:
    """Return a whole DCE/RPC data unit."""
    return struct.pack("<BBBBIHHI", 5, 0, kind, 3, 0x10, 16 + len(body), 0, call) + body


def called_of(call: int) -> bytes:
    """Return a request."""
    return data_unit(0, bytes(4) + b"\x00\x00\x07\x00" + b"stub", call)


def bound() -> Tcp:
    """Return a connection that is bound to an interface."""
    return Tcp(dport=135).open().say(data_unit(11, BIND)).say(data_unit(12, BIND_ACK), to_server=False)


def called(tcp: Tcp, call: int) -> Tcp:
    """Add a request and its response."""
    return tcp.say(called_of(call)).say(data_unit(2, bytes(8) + b"resp", call), to_server=False)

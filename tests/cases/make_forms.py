"""Cases for forms of rules that change nothing here, and for what is broken in packets and in responses."""

import gzip
from collections.abc import Iterator

from scapy.layers.inet import UDP
from scapy.packet import Raw

from tests.tools.cases import Case
from tests.tools.wire import OK, Path2, exchange, http

TEXT = b"the words that a signature looks for, and some more of them behind"


def cases() -> Iterator[Case]:
    """Return the cases of this file."""
    yield from rules()
    yield from packets()
    yield from responses()


def rules() -> Iterator[Case]:
    """Rules as they may be written."""
    yield Case(
        "rule-forms-without-effect",
        "Forms of rules that are read and change nothing.",
        "Actions may be in capitals, priorities 0 or large; a transaction may leave no record.",
        "\n".join(
            [
                'ALERT tcp any any -> any any (content:"GET"; sid:101;)',
                'Alert tcp any any -> any any (content:"GET"; priority:0; sid:102;)',
                'alert http any any -> any any (http.uri; content:"/first"; priority:70000; sid:103;)',
                'config http any any -> any any (http.uri; content:"/first"; config:logging disable, type tx,'
                " scope tx; sid:104;)",
            ]
        ),
        exchange(http("GET", "/first")),
        {101: 1, 102: 1, 103: 1},
    )
    once = 'content:"GET"; threshold:type {}, track by_src, count 0, seconds 60;'
    yield Case(
        "threshold-count-none",
        "Thresholds with a count of 0, on three requests.",
        "A limit lets a period's first match through, a threshold all but the first; both is never reached.",
        "\n".join(
            f"alert tcp any any -> any any ({once.format(kind)} sid:{sid};)"
            for sid, kind in [(101, "limit"), (102, "threshold"), (103, "both")]
        ),
        exchange(http("GET", "/1"), http("GET", "/2"), http("GET", "/3")),
        {101: 1, 102: 2},
    )
    yield Case(
        "flags-of-syn-alone",
        "Flags that name SYN, in a connection with SYN and FIN.",
        "Without a content such a signature is asked of packets with SYN alone; negated, with a content or"
        " beside prefilter of all.",
        "\n".join(
            [
                "alert tcp any any -> any any (flags:*SF; sid:101;)",
                "alert tcp any any -> any any (flags:*SF; prefilter; sid:102;)",
                "alert tcp any any -> any any (flags:!S; sid:103;)",
            ]
        ),
        exchange(http("GET", "/")),
        {101: 2, 102: 4, 103: 2},
    )


def packets() -> Iterator[Case]:
    """Packets with something broken behind their IP header."""
    short = UDP(sport=40000, dport=53, len=4) / Raw(b"words")
    yield Case(
        "packet-broken-behind-ip",
        "A UDP header with a length that is too short for it.",
        "The IP header was read, so signatures on it fire, and the protocol is the one that it names; ports"
        " and payload there are none.",
        "\n".join(
            [
                "alert udp any any -> any any (ttl:64; sid:101;)",
                "alert ip any any -> any any (decode-event:udp.len_invalid; sid:102;)",
                'alert udp any any -> any any (content:"words"; sid:201;)',
                "alert tcp any any -> any any (ttl:64; sid:202;)",
            ]
        ),
        [Path2().frame(True, short)],
        {101: 1, 102: 1},
    )


def responses() -> Iterator[Case]:
    """Responses that clients read in ways of their own."""
    found = (
        'alert http any any -> any any (file.data; content:"signature looks for, and some more"; sid:101;)'
    )
    coded = gzip.compress(TEXT, mtime=0)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Encoding: gzip\r\n" % len(coded)
    yield Case(
        "http-status-line-ends-with-cr",
        "A status line that ends with CR CR LF.",
        "The first CR ends the line, the second with its LF the header block: the headers are the body.",
        'alert http any any -> any any (file.data; content:"Server: lab"; sid:101;)',
        exchange(http(), response=b"HTTP/1.1 200 OK\r\r\nServer: lab\r\n\r\n" + TEXT),
        {101: 1},
    )
    yield Case(
        "http-line-of-lf-cr",
        "LF CR LF behind the last header line.",
        "LF CR is one end of a line, which ends no header block; the LF behind it does.",
        found,
        exchange(http(), response=head + b"\n\r\n" + coded),
        {101: 1},
    )
    yield Case(
        "http-coded-body-behind-none",
        "A coded body behind a status that has none.",
        "What follows is body all the same, and decoded, line ends in it included.",
        found,
        exchange(http(), response=b"HTTP/1.1 204 OK\r\nContent-Encoding: gzip\r\n\r\n" + coded),
        {101: 1},
    )
    yield Case(
        "http-codings-counted",
        "A coding behind two that nobody knows.",
        "Each name counts as a layer, known or not, and there may be two.",
        found
        + "\nalert http any any -> any any (app-layer-event:http.too_many_encoding_layers; flow:to_client;"
        " sid:102;)",
        exchange(http(), response=OK.split(b"\r\n")[0] + b"\r\nContent-Encoding: a, b, gzip\r\n\r\n" + coded),
        {102: 1},
    )

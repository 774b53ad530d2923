"""Cases for what is not there: payloads, buffers, flows, protocols, families of addresses."""

from collections.abc import Iterator

from scapy.layers.inet import ICMP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

from tests.tools.cases import Case
from tests.tools.wire import CLIENT6, OK, SERVER6, Path2, Tcp, exchange, http, udp

V6 = Path2(CLIENT6, SERVER6)
ANY = "any any -> any any"


def cases() -> Iterator[Case]:
    """Return every case of this family."""
    yield from payload()
    yield from buffers()
    yield from protocol()
    yield from flow_and_addresses()


def payload() -> Iterator[Case]:
    """Conditions on bytes, and packets without any."""
    spoken = Tcp(dport=9000).open().say(b"one two three", ack=False).close().packets
    yield Case(
        "payload-negated-without-payload",
        "Contents that are to be missing, in packets of which only one has a payload.",
        "A packet without payload is not looked at for bytes, not even for such as are to be missing.",
        f'alert tcp-pkt {ANY} (content:!"four"; sid:101;)\n'
        f'alert tcp-pkt {ANY} (content:!"two"; sid:102;)\n'
        f'alert tcp {ANY} (flow:not_established; content:!"four"; sid:103;)\n',
        spoken,
        {101: 3, 102: 2},
        notes="The FINs count: bytes of their streams are looked at with them.",
    )
    pieces = Tcp(dport=135).open()
    for _ in range(3):
        pieces.say(BIND).say(BIND_ACK, to_server=False)
    yield Case(
        "stream-unpatterned-in-pieces",
        "Conditions without a content to search for, on a stream that is looked at with each segment.",
        "They hold of each piece for itself, and nothing of one is looked at with the next.",
        f"alert tcp-stream {ANY} (flow:to_server; isdataat:1; sid:101;)\n"
        f"alert tcp-stream {ANY} (flow:to_server; byte_test:1,=,5,0; sid:102;)\n"
        f'alert tcp-stream {ANY} (flow:to_server; content:"|05 00 0b|"; '
        'content:"|05 00 0b|"; distance:1; sid:103;)\n',
        pieces.close().packets,
        {101: 3, 102: 3},
    )


BIND = bytes.fromhex(
    "05000b03100000004800000001000000b810b810000000000100000000000100"
    "8063bb3a5b15d011b26e00c04fc2d4f101000000045d888aeb1cc9119fe808002b10486002000000"
)
BIND_ACK = bytes.fromhex(
    "05000c03100000003c00000001000000b810b810000000000100000000000000"
    "045d888aeb1cc9119fe808002b1048600200000000000000000000"
) + bytes(1)


def buffers() -> Iterator[Case]:
    """Buffers of messages that never came, and fields that are empty."""
    lonely = Tcp().open().say(http("GET", "/")).close().packets
    yield Case(
        "http-response-that-never-came",
        "Sizes, ends and missing contents in the buffers of a response that never came.",
        "A message that is not there has no buffers, rather than empty ones.",
        "".join(
            f"alert http {ANY} (flow:to_client; {buffer}; bsize:<9; sid:{sid};)\n"
            for sid, buffer in enumerate(
                ("http.protocol", "http.response_line", "http.start", "http.stat_code", "http.stat_msg"), 101
            )
        ),
        lonely,
        {},
    )
    body = http("POST", "/a", body=b"0123456789")
    posted = Tcp().open().say(body, cuts=(len(body) - 10, len(body) - 5)).say(OK, to_server=False)
    yield Case(
        "http-negated-fires-with-each-piece",
        "A content that is to be missing from the request line, with a body in two segments behind it.",
        "Suricata does not note that such a signature fired once the message is past the buffer, and fires "
        "again with what comes next of it.",
        f'alert http {ANY} (http.uri; content:!"b"; sid:101;)\n'
        f'alert http {ANY} (http.uri; content:"a"; sid:102;)\n'
        f'alert http {ANY} (http.uri; content:!"b"; content:"a"; sid:103;)\n',
        posted.close().packets,
        {101: 3, 102: 1, 103: 1},
    )


def protocol() -> Iterator[Case]:
    """Protocols that only one direction speaks, or that are asked of what has none."""
    rules = (
        f"alert tcp {ANY} (flow:to_client; app-layer-protocol:!http; sid:101;)\n"
        f"alert tcp {ANY} (flow:to_client; app-layer-protocol:http; sid:102;)\n"
        f"alert tcp {ANY} (flow:to_server; app-layer-protocol:http; prefilter; sid:103;)\n"
        f'alert http {ANY} (flow:to_client; content:"ok"; sid:104;)\n'
    )
    yield Case(
        "app-layer-protocol-of-one-direction",
        "A response of a version that nobody knows.",
        "Its direction speaks nothing known, so it is not HTTP to `app-layer-protocol`; the connection is.",
        rules,
        exchange(http("GET", "/"), response=OK.replace(b"HTTP/1.1", b"HTTP/1.2")),
        {101: 1, 103: 1, 104: 1},
    )
    datagrams = [udp(b"\x01\x02\x03", dport=9000) for _ in range(4)]
    datagrams += [udp(b"\x01\x02\x03", dport=9000, to_server=False) for _ in range(3)]
    pings = [Path2().frame(True, ICMP(type=8, id=1, seq=seq) / Raw(b"abc")) for seq in range(3)]
    yield Case(
        "app-layer-protocol-of-datagrams",
        "Datagrams and pings of no known protocol.",
        "It is told with a direction's first datagram, and the next one counts too; a ping has no protocol.",
        f"alert udp {ANY} (app-layer-protocol:!dns; sid:101;)\n"
        f"alert ip {ANY} (app-layer-protocol:!dns; sid:102;)\n",
        [*datagrams, *pings],
        {101: 4, 102: 4},
    )


def flow_and_addresses() -> Iterator[Case]:
    """Packets without a flow, and lists that name one family."""
    piece = IPv6(src=CLIENT6, dst=SERVER6) / IPv6ExtHdrFragment(id=7, offset=0, m=1)
    first = V6.frame(True, ICMPv6EchoRequest(data=b"x" * 32))
    first[IPv6].remove_payload()
    first = first.__class__(src=first.src, dst=first.dst) / piece / Raw(b"\x80\x00\x00\x00" + b"x" * 28)
    yield Case(
        "fragment-of-ipv6-is-of-no-protocol",
        "The first piece of a datagram whose others never come.",
        "In IPv6 it is a fragment and nothing else. It has no flow, and counts as a client's.",
        f"alert icmpv6 {ANY} (sid:101;)\n"
        f"alert ip {ANY} (ip_proto:58; sid:102;)\n"
        f"alert ip6 {ANY} (flow:to_server; sid:103;)\n"
        f"alert ip6 {ANY} (flow:to_client; sid:104;)\n"
        f"alert ip6 {ANY} (flow:stateless; sid:105;)\n",
        [first],
        {103: 1},
    )
    yield Case(
        "fragment-fields-of-ipv6",
        "Fragment bits and offsets, asked of IPv6 packets that are in one piece.",
        "They have neither, not even bits that are not set.",
        f"alert ip {ANY} (fragbits:!M; sid:101;)\nalert ip {ANY} (fragoffset:0; sid:102;)\n",
        [udp(b"abc", path=V6), udp(b"abc")],
        {101: 1, 102: 1},
    )
    yield Case(
        "stream-size-without-a-stream",
        "Segments of a connection that is not followed.",
        "Where no stream is followed it has no size, not even none.",
        f"alert tcp {ANY} (stream_size:client,<,10; sid:101;)\nalert tcp {ANY} (sid:102;)\n",
        Tcp(dport=9000).say(b"the words").packets,
        {102: 2},
    )
    yield Case(
        "addresses-negated-in-one-family",
        "Addresses that are said not to be some of IPv4, and a request over IPv6.",
        "Such a list speaks of IPv4 alone.",
        'alert http !192.168.0.0/16 any -> any any (content:"GET"; sid:101;)\n'
        'alert http ![192.168.0.0/16,fe80::/10] any -> any any (content:"GET"; sid:102;)\n'
        'alert http $EXTERNAL_NET any -> any any (content:"GET"; sid:103;)\n',
        exchange(http("GET", "/"), path=V6),
        {102: 1},
    )

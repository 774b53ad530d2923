"""Cases below TCP: fragments, extension headers, tags, UDP, ICMP, addresses and ports of a rule's header."""

from collections.abc import Iterator

from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    fragment6,
)
from scapy.packet import Packet

from tests.tools.cases import Case
from tests.tools.wire import (
    CLIENT,
    CLIENT6,
    SERVER,
    SERVER6,
    Path2,
    Tcp,
    exchange,
    fragments,
    http,
    ping,
    udp,
)

V6 = Path2(CLIENT6, SERVER6)
HTTP_RULES = """
alert http any any -> any any (flow:established,to_server; http.uri; content:"/secret/door"; sid:101;)
alert tcp any any -> any 80 (flow:established,to_server; content:"/secret/door"; sid:102;)
"""
REQUEST = http("GET", "/secret/door", ("X-Padding", "p" * 200))
BOTH = {101: 1, 102: 1}
UDP_RULES = """
alert udp any any -> any 9999 (msg:"the datagram"; content:"open sesame"; sid:101;)
alert udp any any -> any 9999 (msg:"its end"; content:"thank you"; endswith; sid:102;)
"""
DATAGRAM = b"." * 30 + b"open sesame" + b"." * 60 + b"thank you"


def cases() -> Iterator[Case]:
    """Return every case of this family."""
    yield from fragments4()
    yield from version6()
    yield from links()
    yield from datagrams()
    yield from rule_headers()


def in_fragments(packets: list[Packet], size: int, order: slice = slice(None)) -> list[Packet]:
    """Return the conversation, each packet with data as fragments in this order."""
    out: list[Packet] = []
    for packet in packets:
        out += fragments(packet, size)[order] if len(packet) > 100 else [packet]
    return out


def fragments4() -> Iterator[Case]:
    """IPv4 fragments."""
    why = "The packet is put together before anything looks at it."
    yield Case(
        "ipv4-fragments-tcp",
        "A request in IPv4 fragments of 24 bytes: TCP header in the first, the match over several.",
        why,
        HTTP_RULES,
        in_fragments(exchange(REQUEST), 24),
        BOTH,
    )
    yield Case(
        "ipv4-fragments-reversed",
        "The same, last fragment first.",
        why,
        HTTP_RULES,
        in_fragments(exchange(REQUEST), 24, slice(None, None, -1)),
        BOTH,
    )
    yield Case(
        "ipv4-fragments-udp",
        "A datagram in fragments of 8 bytes.",
        why,
        UDP_RULES,
        fragments(udp(DATAGRAM, dport=9999), 8),
        BOTH,
    )
    yield Case(
        "ipv4-fragments-incomplete",
        "The same datagram without its third fragment.",
        "No alert: a datagram that is never whole never reaches a program.",
        UDP_RULES,
        [f for n, f in enumerate(fragments(udp(DATAGRAM, dport=9999), 8)) if n != 2],
    )


def version6() -> Iterator[Case]:
    """IPv6, its extension headers and fragments."""
    yield Case(
        "ipv6-http", "A request over IPv6.", "As over IPv4.", HTTP_RULES, exchange(REQUEST, path=V6), BOTH
    )
    pad = [PadN(optdata=b"\x00\x00\x00\x00")]
    headers = {
        "hop-by-hop": lambda: IPv6ExtHdrHopByHop(options=pad),
        "destination-options": lambda: IPv6ExtHdrDestOpt(options=pad),
        "routing": lambda: IPv6ExtHdrRouting(type=0, segleft=0, addresses=[]),
        "several": lambda: IPv6ExtHdrHopByHop(options=pad) / IPv6ExtHdrDestOpt(options=pad),
    }
    for name, header in headers.items():
        yield Case(
            f"ipv6-extension-{name}",
            f"A request over IPv6 with extension headers: {name}.",
            "The chain is walked to TCP.",
            HTTP_RULES,
            exchange(REQUEST, path=Path2(CLIENT6, SERVER6, wrap6=header)),
            BOTH,
        )
    yield Case(
        "ipv6-fragments-tcp",
        "A request in IPv6 fragments, the match over several.",
        "The packet is put together before anything looks at it.",
        HTTP_RULES,
        [f for packet in exchange(REQUEST, path=V6) for f in fragments6(packet, 112)],
        BOTH,
    )
    yield Case(
        "ipv6-fragments-udp-reversed",
        "A datagram in IPv6 fragments, the last one first.",
        "The packet is put together before anything looks at it.",
        UDP_RULES,
        fragments6(udp(DATAGRAM, path=V6, dport=9999), 112)[::-1],
        BOTH,
    )


def fragments6(packet: Packet, size: int) -> list[Packet]:
    """Return an IPv6 packet as fragments of at most size bytes, header included; a small one as it is."""
    if len(packet[IPv6]) <= size:
        return [packet]
    inner = packet[IPv6]
    whole = IPv6(src=inner.src, dst=inner.dst, hlim=64) / IPv6ExtHdrFragment(id=7) / inner.payload
    return [packet.copy().__class__(src=packet.src, dst=packet.dst) / part for part in fragment6(whole, size)]  # type: ignore[no-untyped-call]


def links() -> Iterator[Case]:
    """Tags below IP."""
    yield Case(
        "vlan-tag",
        "A request in frames with one 802.1Q tag.",
        "The tag is passed over.",
        HTTP_RULES,
        exchange(REQUEST, path=Path2(vlan=42)),
        BOTH,
    )
    yield Case(
        "vlan-tag-ipv6-fragments",
        "A datagram in IPv4 fragments inside tagged frames.",
        "The tag is passed over, and the fragments put together.",
        UDP_RULES,
        fragments(udp(DATAGRAM, path=Path2(vlan=42), dport=9999), 24),
        BOTH,
    )
    first, second = (exchange(REQUEST, path=Path2(vlan=vlan)) for vlan in (42, 43))
    yield Case(
        "vlan-keeps-flows-apart",
        "The same addresses and ports in two VLANs, packet by packet in turn.",
        "Two segments, two flows: each request is whole, and each fires.",
        HTTP_RULES,
        [packet for pair in zip(first, second, strict=True) for packet in pair],
        {101: 2, 102: 2},
    )


def datagrams() -> Iterator[Case]:
    """UDP and ICMP."""
    yield Case(
        "udp-content", "A datagram.", "The words are in it.", UDP_RULES, [udp(DATAGRAM, dport=9999)], BOTH
    )
    yield Case(
        "udp-each-datagram-alone",
        "The words over two datagrams.",
        "No alert: datagrams are not a stream.",
        UDP_RULES,
        [udp(DATAGRAM[:35], dport=9999), udp(DATAGRAM[35:80], dport=9999)],
    )
    yield Case(
        "udp-flow-direction",
        "A question and its answer over UDP.",
        "The first datagram's sender is the client; an answer establishes the flow.",
        """
alert udp any any -> any any (msg:"to server"; flow:to_server; content:"question"; sid:101;)
alert udp any any -> any any (msg:"to client"; flow:to_client; content:"answer"; sid:102;)
alert udp any any -> any any (msg:"wrong way"; flow:to_client; content:"question"; sid:201;)
""",
        [udp(b"question", dport=9999), udp(b"answer", dport=9999, to_server=False)],
        BOTH,
    )
    yield Case(
        "icmp-content",
        "An ICMP echo with words in it, and its reply.",
        "The payload is searched in either direction that the addresses allow.",
        """
alert icmp any any -> $HOME_NET any (msg:"in"; content:"open sesame"; sid:101;)
alert icmp $HOME_NET any -> any any (msg:"out"; content:"open sesame"; sid:102;)
alert icmp any any -> $HOME_NET any (msg:"size"; dsize:11; sid:103;)
alert icmp any any -> $HOME_NET any (msg:"other words"; content:"close"; sid:201;)
""",
        [ping(b"open sesame"), ping(b"open sesame", to_server=False, kind=0)],
        {101: 1, 102: 1, 103: 1},
    )
    yield Case(
        "ip-any-protocol",
        "An `ip` rule on TCP, UDP and ICMP.",
        "It holds for each protocol.",
        'alert ip any any -> $HOME_NET any (msg:"any protocol"; content:"open sesame"; sid:101;)',
        [
            *Tcp(dport=9000).open().say(b"open sesame").close().packets,
            udp(b"open sesame", dport=9999),
            ping(b"open sesame"),
        ],
        {101: 3},
    )


def rule_headers() -> Iterator[Case]:
    """Addresses, ports, variables and directions."""
    there = udp(b"hello", dport=9999)
    back = udp(b"hello", dport=9999, to_server=False)
    inner = udp(b"hello", path=Path2("10.0.0.7", SERVER), sport=40001, dport=9999)

    def header_case(name: str, purpose: str, why: str, rules: dict[int, str], packets: list[Packet]) -> Case:
        text = "\n".join(
            f'alert udp {header} (msg:"{sid}"; content:"hello"; sid:{sid};)' for sid, header in rules.items()
        )
        return Case(name, purpose, why, text, packets, {sid: 1 for sid in rules if sid < 200})

    yield header_case(
        "header-home-and-external",
        "$HOME_NET and $EXTERNAL_NET on a datagram from outside to home.",
        f"{CLIENT} is not in HOME_NET, {SERVER} is; EXTERNAL_NET is all but HOME_NET.",
        {
            101: "$EXTERNAL_NET any -> $HOME_NET any",
            102: "!$HOME_NET any -> $HOME_NET any",
            103: "any any -> !$EXTERNAL_NET any",
            201: "$HOME_NET any -> $EXTERNAL_NET any",
            202: "$HOME_NET any -> any any",
            203: "any any -> $EXTERNAL_NET any",
        },
        [there],
    )
    yield header_case(
        "header-home-to-home",
        "A datagram between two addresses at home.",
        "Nothing here is EXTERNAL_NET: offline there is one HOME_NET, unlike for protected guests.",
        {101: "$HOME_NET any -> $HOME_NET any", 201: "$EXTERNAL_NET any -> $HOME_NET any"},
        [inner],
    )
    yield header_case(
        "header-address-groups",
        "Lists, networks, negation and nesting of addresses.",
        "An address is in a list if an element holds it and no negated one does.",
        {
            101: f"[{CLIENT},192.0.2.1] any -> 10.0.0.0/8 any",
            102: "any any -> [10.0.0.0/8,!10.0.1.0/24] any",
            103: "[203.0.113.0/24,![203.0.113.1,203.0.113.2]] any -> any any",
            104: f"any any -> [[{SERVER}]] any",
            201: f"[203.0.113.0/24,!{CLIENT}] any -> any any",
            202: f"any any -> [10.0.0.0/8,!{SERVER}] any",
            203: "192.0.2.0/24 any -> any any",
        },
        [there],
    )
    yield header_case(
        "header-ports",
        "Ports: single, ranges, open ranges, lists and negation, of either side.",
        "From 40000 to 9999.",
        {
            101: "any 40000 -> any 9999",
            102: "any any -> any [80,9999]",
            103: "any any -> any 9000:10000",
            104: "any 1024: -> any :9999",
            105: "any any -> any !80",
            106: "any any -> any [9000:10000,!9998]",
            201: "any 9999 -> any 40000",
            202: "any any -> any [80,443]",
            203: "any any -> any [9000:10000,!9999]",
            204: "any any -> any !9000:",
        },
        [there],
    )
    yield Case(
        "header-both-directions",
        "`<>` on a datagram and its answer.",
        "It holds for both; an arrow for one.",
        f"""
alert udp {CLIENT} any <> {SERVER} any (msg:"both"; content:"hello"; sid:101;)
alert udp {SERVER} any <> {CLIENT} 40000 (msg:"both, ports at their addresses"; content:"hello"; sid:102;)
alert udp {CLIENT} any -> {SERVER} any (msg:"there"; content:"hello"; sid:103;)
""",
        [there, back],
        {101: 2, 102: 2, 103: 1},
    )
    yield Case(
        "header-ipv6-addresses",
        "IPv6 addresses and networks in a rule's header.",
        "As for IPv4.",
        f"""
alert udp 2001:db8:1::/48 any -> {SERVER6} any (msg:"network to host"; content:"hello"; sid:101;)
alert udp [2001:db8:1::/48,10.0.0.0/8] any -> any any (msg:"mixed list"; content:"hello"; sid:102;)
alert udp !2001:db8:1::/48 any -> any any (msg:"another network"; content:"hello"; sid:201;)
""",
        [udp(b"hello", path=V6, dport=9999)],
        {101: 1, 102: 1},
    )

"""Cases for what a rule does: alert, pass, drop, reject, which wins, and what a dropped flow still says."""

from collections.abc import Iterator

from tests.tools.cases import Case
from tests.tools.wire import Tcp, exchange, http, udp

TWO = exchange(http("GET", "/door"), http("GET", "/window"))
SSH_KEYS = bytes([0, 0, 0, 12, 10, 21]) + bytes(10)


def shell() -> Tcp:
    """Return an SSH connection that has agreed on keys, and then says what would be encrypted."""
    tcp = Tcp(dport=22).open()
    for to_server, said in ((True, b"SSH-2.0-one\r\n"), (False, b"SSH-2.0-two\r\n")):
        tcp.say(said, to_server=to_server)
    for to_server in (True, False):
        tcp.say(SSH_KEYS, to_server=to_server)
    return tcp.say(b"attack at dawn").say(b"attack at dusk", to_server=False)


def rule(action: str, sid: int, path: str) -> str:
    """Return an HTTP rule on a path with this action."""
    return (
        f'{action} http any any -> $HOME_NET any (msg:"{action} {path}"; flow:established,to_server;'
        f' http.uri; content:"{path}"; sid:{sid};)'
    )


def cases() -> Iterator[Case]:
    """Return every case of this family."""
    both = [rule("alert", 101, "/door"), rule("alert", 102, "/window")]
    yield Case(
        "action-alert",
        "Two alerts on one connection.",
        "Alerting changes nothing for what comes after.",
        "\n".join(both),
        TWO,
        {101: 1, 102: 1},
        ips=True,
    )
    yield Case(
        "action-drop-ends-the-flow",
        "A drop on the first of two requests, inline.",
        "The drop is an alert too; the flow is dropped from there on, the second request never seen.",
        "\n".join([rule("drop", 101, "/door"), rule("alert", 102, "/window")]),
        TWO,
        {101: 1},
        ips=True,
    )
    yield Case(
        "action-drop-beside-alert",
        "A drop and an alert on the same request, inline.",
        "Both are reported: the one that dropped and the one that only saw it.",
        "\n".join([rule("alert", 101, "/door"), rule("drop", 102, "/door")]),
        TWO,
        {101: 1, 102: 1},
        ips=True,
    )
    yield Case(
        "action-reject-ends-the-flow",
        "A reject on the first of two requests, inline.",
        "A reject drops, and resets where it can.",
        "\n".join([rule("reject", 101, "/door"), rule("alert", 102, "/window")]),
        TWO,
        {101: 1},
        ips=True,
    )
    yield Case(
        "action-pass-before-drop",
        "A pass and a drop on the same request, inline.",
        "pass is looked at first, and what it lets pass nothing else reports.",
        "\n".join([rule("drop", 101, "/door"), rule("pass", 102, "/door")]),
        TWO,
        {},
        ips=True,
    )
    yield Case(
        "action-pass-before-alert",
        "A pass and an alert on the same request, not inline.",
        "pass is looked at first, whatever order the rules stand in, and says nothing itself.",
        "\n".join([rule("alert", 101, "/door"), rule("pass", 102, "/door")]),
        exchange(http("GET", "/door")),
    )
    yield Case(
        "action-pass-only-what-it-matches",
        "A pass on a datagram's words, alerts on others of the same flow.",
        "The first datagram has no friend in it; the second has, and its foe goes unreported.",
        """
pass udp any any -> $HOME_NET 9999 (msg:"pass"; content:"friend"; sid:102;)
alert udp any any -> $HOME_NET 9999 (msg:"alert"; content:"foe"; sid:101;)
""",
        [udp(b"foe", dport=9999), udp(b"friend or foe", dport=9999)],
        {101: 1},
    )
    yield Case(
        "action-drop-datagram",
        "A drop on the first of two datagrams of a flow, inline.",
        "Offline a drop of a datagram is for that datagram; the next one is looked at.",
        """
drop udp any any -> $HOME_NET 9999 (msg:"drop"; content:"first"; sid:101;)
alert udp any any -> $HOME_NET 9999 (msg:"alert"; content:"second"; sid:102;)
""",
        [udp(b"first", dport=9999), udp(b"second", dport=9999)],
        {101: 1, 102: 1},
        ips=True,
    )
    yield Case(
        "action-drop-not-inline",
        "A drop where nothing can be dropped.",
        "Even then Suricata stops looking at a flow once a drop has matched in it.",
        "\n".join([rule("drop", 101, "/door"), rule("alert", 102, "/window")]),
        TWO,
        {101: 1},
    )
    yield Case(
        "action-pass-says-alert",
        "A pass with alert, and an alert on the same datagram.",
        "Such a pass is reported, and what it lets pass is still reported by nothing else.",
        """
pass udp any any -> $HOME_NET 9999 (msg:"pass"; content:"friend"; alert; sid:102;)
alert udp any any -> $HOME_NET 9999 (msg:"alert"; content:"foe"; sid:101;)
""",
        [udp(b"friend or foe", dport=9999)],
        {102: 1},
    )
    yield Case(
        "action-pass-on-addresses",
        "A pass on the server's address alone.",
        "It is asked about the first packet each way and lets the whole flow pass.",
        "\n".join([rule("drop", 101, "/door"), "pass ip any any -> $HOME_NET any (sid:102;)"]),
        TWO,
        {},
        ips=True,
    )
    yield Case(
        "action-reject-not-inline",
        "A reject where nothing can be dropped.",
        "To reject is to answer, which whoever only listens can do: it counts as blocked, and ends the flow.",
        "\n".join([rule("reject", 101, "/door"), rule("alert", 102, "/window")]),
        TWO,
        {101: 1},
    )
    yield Case(
        "action-ends-midstream-flow",
        "A connection whose beginning was not recorded, inline.",
        "It cannot be judged, so it is given up whatever the rules say.",
        "alert ip any any -> any any (sid:101;)\nalert ip any any -> any any (ttl:>0; sid:102;)",
        TWO[3:],
        {},
        ips=True,
    )
    yield Case(
        "flow-established-after-the-handshake",
        "A rule on what is established, on one that is not, and one request.",
        "A packet finds the flow as the one before it left it: a handshake's last one is not established.",
        """
alert tcp any any -> $HOME_NET any (flow:established,to_server; sid:101;)
alert tcp any any -> any any (flow:not_established; sid:102;)
""",
        Tcp().open().packets,
        {102: 3},
    )
    yield Case(
        "app-layer-protocol-alone",
        "Rules on nothing but the protocol, on two requests, inline.",
        "They see the packet that told it and the next one, in either direction.",
        """
alert tcp any any -> any any (app-layer-protocol:http; sid:101;)
alert tcp any any -> any any (app-layer-protocol:http; ttl:>0; flow:to_server; sid:102;)
""",
        TWO,
        {101: 4, 102: 6},
        ips=True,
    )
    yield Case(
        "encrypted-is-not-searched",
        "Words behind SSH's agreement on keys.",
        "Nothing can be told from what is encrypted but by accident; its headers are still looked at.",
        """
alert tcp any any -> any any (content:"attack"; sid:101;)
alert tcp any any -> any any (content:"attack"; dsize:>0; sid:102;)
alert tcp any any -> any 22 (flow:established; flags:PA; sid:103;)
""",
        shell().packets,
        {103: 3},
    )
    yield Case(
        "dsize-of-what-is-encrypted",
        "Lengths of packets behind SSH's agreement on keys.",
        "A payload that is not looked at still has its length, but fulfils none that asks for a payload.",
        """
alert tcp any any -> any 22 (dsize:0; sid:101;)
alert tcp any any -> any 22 (dsize:>0; sid:102;)
alert tcp any any -> any 22 (dsize:<1000; sid:103;)
""",
        shell().packets,
        {101: 5, 102: 2, 103: 8},
    )

"""Cases for what a rule does: alert, pass, drop, reject, which wins, and what a dropped flow still says."""

from collections.abc import Iterator

from tests.tools.cases import Case
from tests.tools.wire import exchange, http, udp

TWO = exchange(http("GET", "/door"), http("GET", "/window"))


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

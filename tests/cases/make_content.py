"""Cases for content, its modifiers, pcre, and the keywords that look at lengths: one small case a keyword."""

from collections.abc import Iterator

from tests.tools.cases import Case
from tests.tools.wire import exchange, http, udp

URL = http("GET", "/alpha/beta/gamma?x=1")


def signature(sid: int, options: str, protocol: str = "http") -> str:
    """Return one rule from outside to home; the message is its options, so that an alert explains itself."""
    quoted = options.replace("\\", "").replace('"', "'").replace(";", ",").strip(", ")
    return f'alert {protocol} any any -> $HOME_NET any (msg:"{quoted}"; {options} sid:{sid};)'


def uri_case(name: str, purpose: str, why: str, hits: tuple[str, ...], misses: tuple[str, ...]) -> Case:
    """A case on the URI /alpha/beta/gamma?x=1: every hit fires once, no miss fires."""
    options = [(101 + n, text) for n, text in enumerate(hits)] + [
        (201 + n, text) for n, text in enumerate(misses)
    ]
    return Case(
        name,
        purpose,
        why,
        "\n".join(signature(sid, f"flow:established,to_server; http.uri; {text}") for sid, text in options),
        exchange(URL),
        {101 + n: 1 for n in range(len(hits))},
    )


def datagram_case(
    name: str, purpose: str, why: str, data: bytes, hits: tuple[str, ...], misses: tuple[str, ...]
) -> Case:
    """A case on one UDP datagram."""
    options = [(101 + n, text) for n, text in enumerate(hits)] + [
        (201 + n, text) for n, text in enumerate(misses)
    ]
    return Case(
        name,
        purpose,
        why,
        "\n".join(signature(sid, text, "udp") for sid, text in options),
        [udp(data, dport=9999)],
        {101 + n: 1 for n in range(len(hits))},
    )


def cases() -> Iterator[Case]:
    """Return every case of this family."""
    yield uri_case(
        "content-plain-and-hex",
        "A content as text, as hexadecimal between bars, and mixed.",
        "The bytes are in the URI however they are written; 201 has the wrong case and no nocase.",
        ('content:"beta";', 'content:"|62 65 74 61|";', 'content:"/be|74|a|2f|g";', 'content:"|62657461|";'),
        ('content:"BETA";', 'content:"delta";'),
    )
    yield uri_case(
        "content-escapes",
        "Escaped quote, semicolon, colon and backslash inside a content parse, and do not match here.",
        "Only the rule without them is in the URI; the others must load all the same.",
        ('content:"x=1";',),
        (r'content:"\"";', r'content:"\;";', r'content:"\:";', r'content:"\\";'),
    )
    yield uri_case(
        "content-nocase",
        "nocase.",
        "Case is ignored where nocase stands, and only for the content it stands with.",
        ('content:"BETA"; nocase;', 'content:"BeTa"; nocase; content:"gamma";'),
        ('content:"BETA"; nocase; content:"GAMMA";',),
    )
    yield uri_case(
        "content-offset-depth",
        "offset and depth, alone and together, at their exact edges.",
        '"beta" occupies bytes 7 to 10 of the URI, counted from 0.',
        ('content:"beta"; offset:7;', 'content:"beta"; depth:11;', 'content:"beta"; offset:7; depth:4;'),
        ('content:"beta"; offset:8;', 'content:"beta"; depth:10;', 'content:"beta"; offset:4; depth:6;'),
    )
    yield uri_case(
        "content-distance-within",
        "distance and within, relative to the end of the match before, at their exact edges.",
        '"beta" begins one byte after "alpha" ends; within counts the whole of the second match.',
        (
            'content:"alpha"; content:"beta"; distance:1;',
            'content:"alpha"; content:"beta"; within:5;',
            'content:"alpha"; content:"beta"; distance:1; within:4;',
            'content:"beta"; content:"alpha"; distance:-10;',
            'content:"alpha"; content:"gamma"; distance:6; within:5;',
        ),
        (
            'content:"alpha"; content:"beta"; distance:2;',
            'content:"alpha"; content:"beta"; within:4;',
            'content:"beta"; content:"alpha"; distance:0;',
            'content:"alpha"; content:"gamma"; distance:7; within:5;',
        ),
    )
    yield Case(
        "content-retries-earlier-match",
        "A relative content that only fits the second occurrence of the one before.",
        'The first "ab" is followed by "x"; the search must go back and take the second one.',
        signature(101, 'http.uri; content:"ab"; content:"c"; distance:0; within:1;')
        + "\n"
        + signature(102, 'http.uri; content:"ab"; content:"c"; distance:0; within:1; content:"d"; within:1;')
        + "\n"
        + signature(201, 'http.uri; content:"ab"; content:"c"; distance:0; within:1; content:"e"; within:1;'),
        exchange(http("GET", "/abx/abc/abcd/abx")),
        {101: 1, 102: 1},
    )
    yield uri_case(
        "content-startswith-endswith",
        "startswith and endswith.",
        "The URI begins with /alpha and ends with x=1; being inside is not enough.",
        (
            'content:"/alpha"; startswith;',
            'content:"x=1"; endswith;',
            'content:"/ALPHA"; startswith; nocase;',
        ),
        ('content:"alpha"; startswith;', 'content:"gamma"; endswith;', 'content:"/alpha"; endswith;'),
    )
    yield uri_case(
        "content-negated",
        "A negated content, alone beside another, with offset and depth, and relative.",
        "It holds where the content is absent from the place that its modifiers leave.",
        (
            'content:"alpha"; content:!"delta";',
            'content:"alpha"; content:!"beta"; depth:6;',
            'content:"alpha"; content:!"beta"; distance:2;',
            'content:"beta"; content:!"alpha"; distance:0;',
            'content:"alpha"; content:!"gamma"; within:8;',
        ),
        (
            'content:"alpha"; content:!"beta";',
            'content:"alpha"; content:!"beta"; distance:1; within:4;',
            'content:"alpha"; content:!"GAMMA"; nocase;',
        ),
    )
    yield uri_case(
        "content-fast-pattern",
        "fast_pattern, fast_pattern:only and fast_pattern:offset,length change the search, never the result.",
        "All contents of a rule must hold, whichever of them finds the candidate.",
        (
            'content:"alpha"; fast_pattern; content:"beta";',
            'content:"a"; content:"beta"; fast_pattern;',
            'content:"alpha"; content:"beta/gamma"; fast_pattern:1,4;',
        ),
        ('content:"delta"; content:"alpha"; fast_pattern;',),
    )
    yield uri_case(
        "pcre-flags",
        "pcre with i, s, m, x, and with its text escaped.",
        "Flags change the expression as in PCRE; `x` ignores blanks in it.",
        (
            r'pcre:"/alpha.beta/";',
            r'pcre:"/ALPHA/i";',
            r'pcre:"/ al pha \/ /x";',
            r'pcre:"/^\/alpha\/[a-z]+\/gamma\?x=\d$/";',
            r'pcre:"/a(?!b)l(?=ph)/";',
        ),
        (r'pcre:"/ALPHA/";', r'pcre:"/^alpha/";', r'pcre:"/beta$/";', r'pcre:"/al pha/";'),
    )
    yield uri_case(
        "pcre-relative",
        "pcre with R starts where the content before ended; a content after a pcre is relative to its match.",
        '"beta" follows "alpha" after one slash.',
        (
            r'content:"alpha"; pcre:"/^\/beta/R";',
            r'content:"alpha"; pcre:"/gam+a/R";',
            r'pcre:"/al[a-z]+/"; content:"/beta"; within:5;',
            r'content:"alpha"; pcre:"/^.be/R"; content:"ta"; within:2;',
        ),
        (
            r'content:"alpha"; pcre:"/^beta/R";',
            r'content:"beta"; pcre:"/alpha/R";',
            r'pcre:"/be/"; content:"alpha"; distance:0;',
        ),
    )
    yield uri_case(
        "pcre-negated",
        "A negated pcre.",
        "It holds where the expression finds nothing.",
        (r'content:"alpha"; pcre:!"/delta/";', r'content:"alpha"; pcre:!"/^beta/R";'),
        (r'content:"alpha"; pcre:!"/beta/";',),
    )
    yield Case(
        "pcre-buffer-flags",
        "pcre with the flags that name a buffer: U, I, P, H, D, M, C, V, W.",
        "Each finds its text in its own buffer and not in another.",
        "\n".join(
            signature(sid, text)
            for sid, text in [
                (101, r'pcre:"/^\/a b$/U";'),
                (102, r'pcre:"/^\/a%20b$/I";'),
                (103, r'pcre:"/key=v+/P";'),
                (104, r'pcre:"/^X-Thing: one/Hm";'),
                (105, r'pcre:"/^POST$/M";'),
                (106, r'pcre:"/crumb=2/C";'),
                (107, r'pcre:"/^agent$/V";'),
                (108, r'pcre:"/^web$/W";'),
                (201, r'pcre:"/key=v+/U";'),
                (202, r'pcre:"/crumb=2/H";'),
                (203, r'pcre:"/a b/I";'),
            ]
        ),
        exchange(
            http(
                "POST",
                "/a%20b",
                ("X-Thing", "one"),
                ("User-Agent", "agent"),
                ("Cookie", "crumb=2"),
                body=b"key=vvv",
            )
        ),
        dict.fromkeys(range(101, 109), 1),
    )
    yield uri_case(
        "bsize",
        "bsize, exact and compared, in the buffer it stands in.",
        "The URI has 21 bytes.",
        ('content:"alpha"; bsize:21;', 'content:"alpha"; bsize:>20;', 'content:"alpha"; bsize:<22;',
         'content:"alpha"; bsize:20<>22;'),
        ('content:"alpha"; bsize:20;', 'content:"alpha"; bsize:>21;', 'content:"alpha"; bsize:<21;'),
    )  # fmt: skip
    yield Case(
        "urilen",
        "urilen, exact, compared and as a range.",
        "The URI has 21 bytes; a range leaves out its ends.",
        "\n".join(
            signature(sid, f"flow:established,to_server; urilen:{text};")
            for sid, text in [
                (101, "21"),
                (102, ">20"),
                (103, "<22"),
                (104, "20<>22"),
                (201, "20"),
                (202, ">21"),
                (203, "<21"),
                (204, "21<>23"),
            ]
        ),
        exchange(URL),
        dict.fromkeys(range(101, 105), 1),
    )
    yield Case(
        "urilen-raw-and-normalized",
        "urilen of a URI whose normalized form is shorter.",
        "/a%20b has 6 bytes raw and 4 normalized.",
        "\n".join(
            signature(sid, text)
            for sid, text in [
                (101, "urilen:6,raw;"),
                (102, "urilen:4,norm;"),
                (201, "urilen:4,raw;"),
                (202, "urilen:6,norm;"),
            ]
        ),
        exchange(http("GET", "/a%20b")),
        {101: 1, 102: 1},
    )
    yield uri_case(
        "isdataat",
        "isdataat from the start, relative to a match, and negated.",
        "The URI has 21 bytes: the last is number 20; nothing follows x=1.",
        (
            'content:"alpha"; isdataat:20;',
            'content:"alpha"; isdataat:15,relative;',
            'content:"x=1"; isdataat:!1,relative;',
            'content:"alpha"; isdataat:!100;',
        ),
        (
            'content:"alpha"; isdataat:22;',
            'content:"x=1"; isdataat:1,relative;',
            'content:"alpha"; isdataat:!5,relative;',
        ),
    )
    yield datagram_case(
        "dsize",
        "dsize, exact, compared and as a range, on a datagram of ten bytes.",
        "The payload has ten bytes; a range leaves out its ends.",
        b"0123456789",
        ("dsize:10;", "dsize:>9;", "dsize:<11;", "dsize:9<>11;", 'content:"345"; dsize:10;'),
        ("dsize:9;", "dsize:>10;", "dsize:<10;", "dsize:10<>12;"),
    )
    yield datagram_case(
        "content-in-datagram",
        "content and its modifiers on a UDP payload, with bytes that are no text.",
        "The payload begins with two zero bytes and ends with 0xff.",
        b"\x00\x00key=\xfe\xffvalue\xff",
        (
            'content:"|00 00|key"; startswith;',
            'content:"|ff|"; endswith;',
            'content:"key="; content:"value"; distance:2; within:5;',
            r'content:"key"; pcre:"/^=\xfe\xff/R";',
        ),
        ('content:"|00 00 00|";', 'content:"value"; endswith;'),
    )

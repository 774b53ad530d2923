"""Names inside our tables: nftables takes letters, digits, `.`, `_`, `-` and `/`, guests take more."""

import hashlib
import re

_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,40}")


def slug(name: str) -> str:
    """Return the name itself if nftables takes it, else what is left of it and a digest of the whole."""
    if _PLAIN.fullmatch(name):
        return name
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)[:40]}.{digest(name)}"


def digest(text: str) -> str:
    """Return eight hexadecimal digits that stand for the text."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]

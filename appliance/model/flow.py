"""Flows as people write them: `10.0.0.5:443 -> 10.0.0.7:51234`, an address, or a flow_id of EVE."""

import ipaddress
import re
from dataclasses import dataclass

from appliance.model.faults import PolicyError

ARROW = re.compile(r"\s*(?:<->|->|→)\s*|\s+to\s+")
HOW = "write 10.0.0.5:443 -> 10.0.0.7:51234, [fd00::5]:443 -> fd00::7, one address, or a flow_id"
MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class End:
    """One end of a flow. port: None for any."""

    address: str
    port: int | None = None

    def __str__(self) -> str:
        if self.port is None:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def fits(self, other: "End") -> bool:
        """Whether the other, which is a flow's own, is this one as far as this one says."""
        return self.address == other.address and self.port in (None, other.port)


@dataclass(frozen=True, slots=True)
class FlowFilter:
    """Which flows are meant: those of a flow_id, or those between these ends, in either direction."""

    ends: tuple[End, ...] = ()
    flow_id: int | None = None

    def fits(self, source: End, destination: End, flow_id: int | None = None) -> bool:
        """Whether a flow is meant."""
        if self.flow_id is not None:
            return flow_id == self.flow_id
        if len(self.ends) == 1:
            return self.ends[0].fits(source) or self.ends[0].fits(destination)
        one, other = self.ends
        straight = one.fits(source) and other.fits(destination)
        return straight or (one.fits(destination) and other.fits(source))

    def __str__(self) -> str:
        return f"flow_id {self.flow_id}" if self.flow_id is not None else " -> ".join(map(str, self.ends))


def parse_flow(text: str) -> FlowFilter:
    """Return what the text means. Raises PolicyError saying how to write it."""
    text = text.strip()
    if len(text) > MAX_TEXT:
        raise PolicyError(f"a flow of {len(text)} characters: {HOW}")
    if re.fullmatch(r"[0-9]{1,16}", text):
        return FlowFilter(flow_id=int(text))
    ends = tuple(_end(part, text) for part in ARROW.split(text))
    if len(ends) > 2:
        raise PolicyError(f"flow {text!r} has more than two ends: {HOW}")
    return FlowFilter(ends)


def _end(text: str, whole: str) -> End:
    if match := re.fullmatch(r"\[(?P<address>[^]]+)\](?::(?P<port>[0-9]{1,5}))?", text):
        address, port = match["address"], match["port"]
    elif match := re.fullmatch(r"([0-9.]+):([0-9]{1,5})", text):
        address, port = match[1], match[2]
    else:
        address, port = text, None
    try:
        found = End(str(ipaddress.ip_address(address)), None if port is None else int(port))
    except ValueError:
        raise PolicyError(f"flow {whole!r}: {text!r} is no address: {HOW}") from None
    if found.port is not None and found.port > 65_535:
        raise PolicyError(f"flow {whole!r}: there is no port {found.port}")
    return found

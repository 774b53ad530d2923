"""What may drop a packet, in an operator's words, with what can be done about it."""

from dataclasses import dataclass

BYPASS = "at once, for a while, without any inspection: sekisho bypass --guest {guest} --for 30m"


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that dropped packets, or may have.

    by: signature, rule or policy. detail: what more is known. remedy: what the operator can do. flow: whose
    packets, "" where that is not known. when_s: Unix time of the last one. is_sure: whether it is known that
    they were this flow's.
    """

    by: str
    detail: str
    remedy: tuple[str, ...]
    flow: str = ""
    when_s: float | None = None
    is_sure: bool = True


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was found. notes: what else is known of the flow. since_s: how far back the events go."""

    causes: tuple[Cause, ...] = ()
    notes: tuple[str, ...] = ()
    since_s: float | None = None

    @property
    def is_dropped(self) -> bool:
        """Whether Sekisho is known to have dropped packets of the flow."""
        return any(cause.is_sure for cause in self.causes)


def bypass_remedy(guest: str | None) -> tuple[str, ...]:
    """Return the remedy that an emergency bypass is; it needs a guest."""
    return () if guest is None else (BYPASS.format(guest=guest),)


def signature_remedy(sid: int, gid: int, guest: str | None, peer: str | None) -> tuple[str, ...]:
    """Return how a signature is overridden for a guest, and for one peer alone."""
    if guest is None:
        return ()
    which = f'"sid": {sid}' + (f', "gid": {gid}' if gid != 1 else "")
    only = f', "peer": "{peer}"' if peer else ""
    return (
        f"if it is wrong here, at the manager: POST /api/v1/guests/{guest}/overrides "
        f'{{{which}, "mode": "detect"{only}, "reason": "…"}}; then connect anew',
        *bypass_remedy(guest),
    )


@dataclass(frozen=True, slots=True)
class Reason:
    """What a `drop.reason` of EVE means. policy: the failure policy that decides, if one does."""

    means: str
    policy: str | None = None


REASONS = {
    "stream midstream": Reason("the connection was under way already when it was seen first", "midstream"),
    "stream memcap": Reason("it needed more memory than there is for connections", "memory"),
    "flow memcap": Reason("there were more connections than there is memory for", "memory"),
    "defrag memcap": Reason("there were more fragments than there is memory for", "memory"),
    "bad checksum": Reason("a checksum was wrong, so that its receiver would have read something else"),
    "stream error": Reason("it sent other bytes than before in the same place, or a segment that cannot be"),
    "applayer error": Reason("it was built so that the inspector could not follow what its receiver reads"),
    "flow drop": Reason("packets of a connection that was dropped before"),
}
"""Without a policy nothing passes them to a guest that blocks: they are how attacks are hidden."""


def engine_cause(reason: str, guest: str | None, segment: str | None) -> tuple[str, str, tuple[str, ...]]:
    """Return by, detail and remedy for a drop that no signature asked for."""
    known = REASONS.get(reason)
    if known is None:
        return f"the inspector ({reason})", "", bypass_remedy(guest)
    if known.policy is None:
        return f"the inspector ({reason})", known.means, bypass_remedy(guest)
    where = f"segment {segment}" if segment else "its segment"
    remedy = (
        f"to let such traffic pass uninspected: failure.{known.policy}: open for {where} in guests.yaml",
        *bypass_remedy(guest),
    )
    return f"the failure policy {known.policy}: closed ({where})", known.means, remedy

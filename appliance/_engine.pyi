"""The packet engine; built from engine/python by maturin."""

from collections.abc import Sequence

class SignatureInfo:
    """One loaded signature."""

    gid: int
    sid: int
    rev: int
    msg: str
    action: str
    protocol: str
    classtype: str
    priority: int
    cves: list[str]
    references: list[str]
    metadata: dict[str, list[str]]
    file: str
    line: int

class Remark:
    """Why a rule was not loaded, or what of one that was is not done."""

    file: str
    line: int
    sid: int | None
    reason: str

class PolicyError(ValueError):
    """An engine policy that cannot be loaded; the live one stays."""

class Signatures:
    """Loaded signatures, each made when it is asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> SignatureInfo: ...

def check_rules(
    files: Sequence[tuple[str, bytes]],
) -> tuple[Signatures, list[Remark], list[Remark]]:
    """Return what of a rule set's (name, text) files loads, what is refused, and what is not done.

    Rules are read from the files called *.rules, thresholds from threshold.config; the others are data that
    rules of the set may name. Never raises for a bad rule.
    """

class Rules:
    """Signatures read from rule files."""

    loaded: int
    blocking: int
    """How many of the loaded can block, as written or once a rate filter says so."""

    def __init__(
        self,
        paths: Sequence[str],
        *,
        variables: Sequence[tuple[str, str]] = (),
        thresholds: Sequence[str] = (),
    ) -> None:
        """Read rule files, compressed by gzip or not, and the files that they name.

        variables: names and the addresses or ports that they stand for; others as Suricata has them.
        thresholds: files that are read as `threshold.config`, as those of that name among `paths` are.
        Raises OSError for a file that cannot be opened, ValueError for what is neither addresses nor ports.
        """
    def refused(self) -> list[Remark]:
        """Return what was refused and why."""
    def warnings(self) -> list[Remark]:
        """Return what the loaded signatures say and is not done."""
    def keep(self) -> None:
        """Keep the compiled signatures until the program ends, which then ends sooner."""
    def compile(self) -> None:
        """Compile the signatures, which `replay` otherwise does before its first capture."""
    def replay(
        self, captures: Sequence[tuple[str, str]], *, ips: bool, payload: bool = False, packet: bool = False
    ) -> list[tuple[str, int]]:
        """Inspect each (capture path, eve.json path) with fresh state.

        Returns for each what went wrong, or "", and how many packets were inspected before.

        payload, packet: alerts show the bytes that matched, and their packet.
        """

class Inspector:
    """The live inspector: worker threads that hold no GIL, or `inspect` for a packet source of Python's."""

    def __init__(self, spool_dir: str, settings: str) -> None:
        """settings: JSON, `{"queues": 2, "spool_max_bytes": …, "memory_max_bytes": …}`."""
    def load(self, policy_path: str, *, try_first: bool = False) -> str:
        """Compile engine.json and swap it in whole; return a JSON report. Raises PolicyError.

        try_first: play the captures of the setting `canary` to its guests before; refused if that goes wrong.
        """
    def start_native(
        self, first_queue: int, *, fail_open: bool, run_as: tuple[int, int] | None = None
    ) -> None:
        """Bind the queues, become (uid, gid) and start one worker a queue. Raises OSError."""
    def start_external(self) -> None:
        """Make ready for `inspect`. Raises OSError."""
    def idle(self) -> None:
        """Run timeouts for `inspect`'s workers; to be called about every 100 ms."""
    def inspect(
        self, worker: int, packet: bytes, mark: int, in_dev: int, out_dev: int, src_mac: bytes
    ) -> tuple[bool, int]:
        """Inspect one packet from its IP header on; return (accept, new packet mark)."""
    def lose_sight(self) -> None:
        """Say that packets passed that no queue was given: streams go on behind them."""
    def stats(self) -> str:
        """Counters as JSON: per queue, per guest, uninspected bytes by reason, live policy version."""
    def stop(self) -> None:
        """Unbind the queues and join the workers."""

def steering(document: str, base: str) -> str:
    """Return, as JSON, what must be looked at for each guest of an engine policy (its JSON).

    `{guest: {"tcp": {"to_server": {"server": {"own": [[first, last], …], "peer": […]}, "client": {…}},
    "to_client": {…}}, "udp": {…}, "empty_segments": false}}`; paths in it are relative to base.
    Raises PolicyError.
    """

class Spool:
    """Appends events to one lane of the on-disk spool (for the control process's own events)."""

    def __init__(self, spool_dir: str, writer: str, max_bytes: int) -> None: ...
    def append(self, line: bytes, severity: int) -> None:
        """Append one JSON line; severity 1 (most severe) to 4. Raises OSError."""

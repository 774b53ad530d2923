"""Who makes the traffic: wrk, iperf3 and dnsperf from Debian, and our own `exchange` where latency counts."""

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.netns import run_in
from bench.inline.cores import Cores, pinned
from bench.inline.programs import ProgramFailed, output, running
from bench.inline.segment import Segment

NEEDED = {
    "wrk": "wrk", "iperf3": "iperf3", "nginx": "nginx-light", "dnsperf": "dnsperf", "nsd": "nsd",
    "taskset": "util-linux", "conntrack": "conntrack",
}  # fmt: skip
"""Programs and the Debian packages that have them."""

HTTP_PORT = 80
RAW_PORT = 7777
"""No protocol's."""
EXCHANGE_PORT = 8088
BULK_BYTES = 64 << 20
BODY_BYTES = 1 << 20
"""A body as long as is inspected of one: every byte of an upload is."""
SMALL_BYTES = 1024
DATAGRAM_BYTES = 64
STREAMS = 4
CONNECTIONS = 16
NAMES = 200
SLACK_S = 30.0
REQUESTS_A_CONNECTION = 500
"""Kept alive so long: Suricata's depth is per connection, and past it it looks at no request any more."""
HEAD_BYTES = 200
"""About what wrk sends beside the padding."""

LUA = """
function done(summary, latency, requests)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format('{"requests": %d, "bytes": %d, "us": %d, "failed": %d}\\n',
    summary.requests, summary.bytes, summary.duration, failed + summary.errors.status))
end
"""


def missing() -> str:
    """Say what is not installed; empty if nothing is."""
    packages = [package for program, package in NEEDED.items() if not _have(program)]
    return f"missing: {' '.join(packages)} (apt-get install)" if packages else ""


def _have(program: str) -> bool:
    return (
        shutil.which(program, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") is not None
    )


@dataclass(frozen=True, slots=True)
class Latency:
    """Of an open loop: microseconds, and how many requests were never answered."""

    p50_us: float
    p99_us: float
    p999_us: float
    lost: int
    late_p99_us: float


@dataclass(frozen=True, slots=True)
class Generator:
    """Makes one kind of traffic at a time from the client to the servers, which run. Each call raises
    ProgramFailed when traffic does not get through at all."""

    segment: Segment
    cores: Cores
    examples: Path
    work: Path

    def http_download(self, seconds: int) -> float:
        """Return Gbit/s of bodies of 64 MiB."""
        said = self._wrk("bulk", seconds, STREAMS)
        return said["bytes"] * 8 / said["us"] / 1e3

    def http_upload(self, seconds: int) -> float:
        """Return Gbit/s of bodies of 1 MiB, each on a connection of its own, four at a time.

        Suricata's depth is per connection: on one connection it would look at the first body alone.
        """
        said = self._exchange("tcp", seconds, STREAMS, "--body", str(BODY_BYTES), "--reconnect")
        return float(said["per_second"]) * BODY_BYTES * 8 / 1e9

    def raw_upload(self, seconds: int) -> float:
        """Return Gbit/s of random bytes to a port of no protocol."""
        return self._iperf(seconds)

    def raw_download(self, seconds: int) -> float:
        """Return Gbit/s of random bytes from it."""
        return self._iperf(seconds, "--reverse")

    def keep_alive(self, seconds: int) -> float:
        """Return requests per second: 1 KiB each, and 1 KiB of body in each answer."""
        padding = "Cookie: bench=" + "0123456789abcdef" * ((SMALL_BYTES - HEAD_BYTES) // 16)
        said = self._wrk("small", seconds, CONNECTIONS, "-H", padding)
        return said["requests"] * 1e6 / said["us"]

    def connections(self, seconds: int) -> float:
        """Return connections per second, one request each."""
        said = self._wrk("small", seconds, CONNECTIONS, "-H", "Connection: close")
        return said["requests"] * 1e6 / said["us"]

    def small_datagrams(self, seconds: int) -> float:
        """Return datagrams of 64 bytes per second that arrive of as many as can be sent."""
        said = self._iperf_said(
            seconds, "--udp", "--bitrate", "0", "--length", str(DATAGRAM_BYTES), "--parallel", "2"
        )
        total = said["end"]["sum"]
        return float(total["packets"] - total["lost_packets"]) / float(total["seconds"])

    def dns_queries(self, seconds: int) -> float:
        """Return queries per second that are answered."""
        command = ["dnsperf", "-s", self.segment.server.address, "-d", str(self.work / "queries"), "-c", "4"]
        said = self._in_client([*command, "-l", str(seconds), "-t", "1"], seconds)
        found = re.search(r"Queries per second:\s+([\d.]+)", said)
        if found is None:
            raise ProgramFailed(f"dnsperf said no rate:\n{said[-1000:]}")
        return float(found[1])

    def most_exchanges(self, kind: str, seconds: int) -> float:
        """Return requests and answers per second in a closed loop of 16. kind: tcp or udp."""
        return float(self._exchange(kind, seconds, CONNECTIONS)["per_second"])

    def latency(self, kind: str, rate: float, seconds: int) -> Latency:
        """Return what requests at a fixed rate (per second) wait for their answers, in an open loop."""
        said = self._exchange(kind, seconds, CONNECTIONS, "--rate", f"{rate:.1f}")
        lost = int(said["sent"] - said["answered"])
        return Latency(said["p50_us"], said["p99_us"], said["p999_us"], lost, said["late_p99_us"])

    def _in_client(self, command: list[str], seconds: float) -> str:
        return output(self.segment.client.netns, pinned(self.cores.generator, command), seconds + SLACK_S)

    def _wrk(self, path: str, seconds: int, connections: int, *more: str) -> dict[str, float]:
        url = f"http://{self.segment.server.address}:{HTTP_PORT}/{path}"
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "-s",
            str(self.work / "wrk.lua"),
            *more,
            url,
        ]
        said: dict[str, float] = json.loads(self._in_client(command, seconds).splitlines()[-1])
        if said["bytes"] == 0:
            raise ProgramFailed(f"wrk: nothing came from {url}: {said}")
        return said

    def _iperf(self, seconds: int, *more: str) -> float:
        said = self._iperf_said(seconds, "--parallel", str(STREAMS), *more)
        return float(said["end"]["sum_received"]["bits_per_second"]) / 1e9

    def _iperf_said(self, seconds: int, *more: str) -> dict[str, dict[str, dict[str, float]]]:
        address = self.segment.server.address
        command = ["iperf3", "--json", "-c", address, "-p", str(RAW_PORT), "-t", str(seconds), *more]
        said: dict[str, dict[str, dict[str, float]]] = json.loads(self._in_client(command, seconds))
        return said

    def _exchange(self, kind: str, seconds: int, connections: int, *more: str) -> dict[str, float]:
        command = [str(self.examples / "exchange"), kind, str(EXCHANGE_PORT)]
        command += [server.address for server in self.segment.servers]
        command += ["--connections", str(connections), "--seconds", str(seconds), *more]
        said: dict[str, float] = json.loads(self._in_client(command, seconds))
        if said["answered"] == 0:
            raise ProgramFailed(f"exchange: no answer came through: {said}")
        return said


@contextlib.contextmanager
def serving(segment: Segment, cores: Cores, examples: Path, work: Path) -> Iterator[Generator]:
    """Run the first server's services until the block ends. Raises ProgramFailed."""
    _write_files(segment, cores, work)
    programs: list[tuple[list[str], Callable[[str], bool]]] = [
        (["nginx", "-p", str(work), "-c", str(work / "nginx.conf")], lambda _: _listens(segment, HTTP_PORT)),
        (["nsd", "-d", "-c", str(work / "nsd.conf")], lambda _: _listens(segment, 53)),
        (["iperf3", "-s", "-p", str(RAW_PORT)], lambda _: _listens(segment, RAW_PORT)),
    ]
    with contextlib.ExitStack() as stack:
        for command, is_ready in programs:
            log = work / f"{command[0]}.log"
            stack.enter_context(
                running(segment.server.netns, pinned(cores.generator, command), log, is_ready)
            )
        yield stack.enter_context(exchanging(segment, cores, examples, work))


@contextlib.contextmanager
def exchanging(segment: Segment, cores: Cores, examples: Path, work: Path) -> Iterator[Generator]:
    """Run every server's `exchange` until the block ends, and nothing else. Raises ProgramFailed."""
    with contextlib.ExitStack() as stack:
        for server in segment.servers:
            command = pinned(cores.generator, [str(examples / "exchange"), "serve", str(EXCHANGE_PORT)])
            log = work / f"exchange-{server.number}.log"
            stack.enter_context(running(server.netns, command, log, lambda said: "ready" in said))
        yield Generator(segment, cores, examples, work)


def _listens(segment: Segment, port: int) -> bool:
    return f":{port} " in run_in(segment.server.netns, ["ss", "-Hltn"])


def _write_files(segment: Segment, cores: Cores, work: Path) -> None:
    (work / "www").mkdir()
    # Random, as what is worth downloading in bulk (compressed or encrypted) looks.
    with Path("/dev/urandom").open("rb") as chance:
        (work / "www" / "bulk").write_bytes(chance.read(BULK_BYTES))
        (work / "www" / "small").write_bytes(chance.read(SMALL_BYTES))
    (work / "nginx.conf").write_text(
        f"daemon off; user root; worker_processes {len(cores.generator)}; pid {work}/nginx.pid;\n"
        f"error_log {work}/nginx.error;\nevents {{ worker_connections 4096; }}\n"
        f"http {{ access_log off; sendfile on; keepalive_requests {REQUESTS_A_CONNECTION};\n"
        f"  client_body_temp_path {work}/body; proxy_temp_path {work}/proxy;\n"
        f"  fastcgi_temp_path {work}/fastcgi; uwsgi_temp_path {work}/uwsgi; scgi_temp_path {work}/scgi;\n"
        f"  server {{ listen {HTTP_PORT} backlog=4096; root {work}/www; }} }}\n"
    )
    (work / "wrk.lua").write_text(LUA)
    names = [f"host{number}.bench" for number in range(NAMES)]
    (work / "queries").write_text("".join(f"{name} A\n" for name in names))
    records = "".join(f"{name}. A 192.0.2.1\n" for name in names)
    (work / "bench.zone").write_text(
        "$TTL 3600\n@ SOA ns.bench. root.bench. 1 3600 600 86400 600\n"
        f"@ NS ns.bench.\nns A 192.0.2.1\n{records}"
    )
    (work / "nsd.conf").write_text(
        f'server:\n  ip-address: {segment.server.address}\n  username: ""\n  chroot: ""\n  database: ""\n'
        f'  zonesdir: "{work}"\n  pidfile: "{work}/nsd.pid"\n  xfrdfile: ""\n'
        f'  zonelistfile: "{work}/nsd.list"\n'
        f'  xfrdir: "{work}"\n  server-count: {len(cores.generator)}\n  rrl-ratelimit: 0\n'
        f'remote-control:\n  control-enable: no\nzone:\n  name: "bench"\n  zonefile: "bench.zone"\n'
    )

"""Real packets between two guests, through the kernel, a packet source, the engine and back; both sources."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from appliance import lab
from appliance.lab.wire import Exchange, Outcome, connect, exchange
from appliance.netns import entered, run_in
from tests.manager_fixture import RunningManager
from tests.netns import upload
from tests.netns.control_fixture import NAME, Appliance, appliance_in, wait_for

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

RULES = """\
alert http any any -> $HOME_NET any (msg:"evil"; flow:to_server; http.uri; content:"/evil"; sid:1;)
alert udp any any -> $HOME_NET 9999 (msg:"evil datagram"; content:"across-the-boundary"; sid:2;)
alert udp any any -> $HOME_NET 9997 (msg:"second datagram"; content:"second"; startswith; sid:4;)
reject udp any any -> $HOME_NET 9998 (msg:"refused datagram"; content:"knock"; sid:3;)
"""
EVIL = b"GET /evil HTTP/1.1\r\nHost: web\r\n\r\n"
FINE = b"GET /fine HTTP/1.1\r\nHost: web\r\n\r\n"
UDP_PORT = 9999
REFUSED_PORT = 9998
BUNDLE_PORT = 9997
UPLOAD_PORT = 9996
FRAGMENT_PAYLOAD = 1480
UDP_SEGMENT = 103
"""include/uapi/linux/udp.h; Python has no name for it."""


@pytest.fixture(scope="module", params=["native", "netfilterqueue"])
def appliance(
    request: pytest.FixtureRequest,
    manager: RunningManager,
    running_lab: lab.LabSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Appliance]:
    if request.param == "netfilterqueue":
        pytest.importorskip("netfilterqueue", reason="the NetfilterQueue package is not installed")
    directory = tmp_path_factory.mktemp(request.param)
    extra = {"inspector": {"source": request.param, "queues": 2}}
    with appliance_in(directory, running_lab, manager, **extra) as made:
        made.start()
        made.in_step()
        made.push(RULES)
        made.assign("prevent")
        yield made


def ask(appliance: Appliance, request: bytes, *, sizes: tuple[int, ...] = (), version: int = 4) -> Exchange:
    address = lab.WEB.ipv4 if version == 4 else lab.WEB.ipv6
    client = appliance.settings.guest_netns(lab.CLIENT)
    return exchange(client, address, lab.RAW_PORT, request, sizes, 5.0)


def recorded(appliance: Appliance, text: bytes) -> int:
    return sum(text in record.request for record in lab.records(appliance.settings))


SEGMENTATIONS = {
    "whole": (),
    "two segments": (8,),
    "ten of one byte": (1,) * 10,
    "every byte alone": (1,) * (len(EVIL) - 1),
}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("sizes", SEGMENTATIONS.values(), ids=SEGMENTATIONS.keys())
def test_request_is_stopped_however_it_is_cut(
    appliance: Appliance, sizes: tuple[int, ...], version: int
) -> None:
    before = recorded(appliance, b"/evil")
    assert ask(appliance, EVIL, sizes=sizes, version=version).outcome is Outcome.RESET
    assert ask(appliance, FINE, sizes=sizes, version=version).outcome is Outcome.ANSWERED
    assert recorded(appliance, b"/evil") == before, "the service saw the whole request"


def test_second_request_of_a_connection_is_stopped_like_the_first(appliance: Appliance) -> None:
    with contextlib.closing(open_connection(appliance)) as connection:
        connection.sendall(FINE)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        connection.sendall(EVIL)
        with pytest.raises(ConnectionError):
            while connection.recv(4096):
                pass


def open_connection(appliance: Appliance) -> socket.socket:
    return connect(appliance.settings.guest_netns(lab.CLIENT), lab.WEB.ipv4, lab.RAW_PORT, 5.0)


def test_both_ends_of_a_stopped_connection_are_told(appliance: Appliance) -> None:
    with contextlib.closing(open_connection(appliance)) as connection:
        port = connection.getsockname()[1]
        wait_for("the connection at the server", lambda: str(port) in server_sockets(appliance))
        connection.sendall(EVIL)
        with pytest.raises(ConnectionError):
            connection.recv(4096)
    wait_for("the server's socket to close", lambda: str(port) not in server_sockets(appliance), 10)


def server_sockets(appliance: Appliance) -> str:
    web = appliance.settings.guest_netns(lab.WEB)
    return run_in(web, ["ss", "-Htn", "state", "established"])


@contextlib.contextmanager
def receiver(appliance: Appliance, version: int, port: int) -> Iterator[socket.socket]:
    """A UDP socket of the guest `web`."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with entered(appliance.settings.guest_netns(lab.WEB)):
        listening = socket.socket(family, socket.SOCK_DGRAM)
    with contextlib.closing(listening):
        listening.bind(("0.0.0.0" if version == 4 else "::", port))
        listening.settimeout(20.0)
        yield listening


def sender(appliance: Appliance, version: int, port: int) -> socket.socket:
    family, address = (socket.AF_INET, lab.WEB.ipv4) if version == 4 else (socket.AF_INET6, lab.WEB.ipv6)
    with entered(appliance.settings.guest_netns(lab.CLIENT)):
        sending = socket.socket(family, socket.SOCK_DGRAM)
    sending.settimeout(2.0)
    sending.connect((address, port))
    return sending


LAST = b"the last one"


def received_until_last(receiving: socket.socket) -> list[bytes]:
    """Return the datagrams that came before LAST, which was sent behind them in the same flow."""
    received: list[bytes] = []
    while (datagram := receiving.recv(65536)) != LAST:
        received.append(datagram)
    return received


@pytest.mark.parametrize("version", [4, 6])
def test_datagram_whose_match_lies_across_two_fragments_is_stopped(
    appliance: Appliance, version: int
) -> None:
    """The kernel's conntrack puts the fragments together before the queue; replay tests the engine's own."""
    across = b"." * (FRAGMENT_PAYLOAD - 16) + b"across-the-boundary" + b"." * 500
    fine = b"." * len(across)
    with receiver(appliance, version, UDP_PORT) as web, sender(appliance, version, UDP_PORT) as client:
        client.send(fine)
        assert web.recv(65536) == fine
        client.send(across)
        # The flow's other datagrams pass: only a stream or a protocol is given up as a whole.
        client.send(LAST)
        assert across not in received_until_last(web)


@pytest.mark.parametrize("version", [4, 6])
def test_a_second_datagram_of_a_segmentation_offload_hides_nothing(
    appliance: Appliance, version: int
) -> None:
    """UDP_SEGMENT lets one send become many datagrams, which the kernel cuts up behind the queue."""
    bundle = b"first ".ljust(100, b".") + b"second".ljust(100, b".")
    with receiver(appliance, version, BUNDLE_PORT) as web, sender(appliance, version, BUNDLE_PORT) as client:
        client.send(b"alone")
        assert web.recv(65536) == b"alone"
        client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 100)
        client.send(bundle)
        client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
        client.send(LAST)
        assert not [text for text in received_until_last(web) if text.startswith(b"second")]


def test_a_long_upload_does_not_collapse(appliance: Appliance) -> None:
    """Without segmentation offload on the queue a bridge's upload does, while small requests pass."""
    client, web = (appliance.settings.guest_netns(guest) for guest in (lab.CLIENT, lab.WEB))
    assert upload.arrives_in_time(client, web, lab.WEB.ipv4, UPLOAD_PORT)


@pytest.mark.parametrize("version", [4, 6])
def test_rejected_datagram_is_answered_with_port_unreachable(appliance: Appliance, version: int) -> None:
    with receiver(appliance, version, REFUSED_PORT), sender(appliance, version, REFUSED_PORT) as client:
        client.send(b"knock knock")
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)


def test_dropped_flow_stays_dropped_in_the_kernel_without_the_inspector(appliance: Appliance) -> None:
    manager = appliance.manager
    assert manager is not None
    silent = manager.operator.put(f"/appliances/{NAME}/guests/web/on-drop", json={"on_drop": "silent"})
    silent.raise_for_status()
    appliance.in_step()
    try:
        with contextlib.closing(open_connection(appliance)) as connection:
            alerts = spool(appliance).count(b'"blocked"')
            connection.sendall(EVIL)
            wait_for("its alert in the spool", lambda: spool(appliance).count(b'"blocked"') > alerts)
            end_inspector(appliance)
            before = recorded(appliance, b"/evil")
            # Its retransmissions go on all the while; the segment is fail-open.
            connection.settimeout(1.5)
            with pytest.raises(TimeoutError):
                connection.recv(4096)
            assert recorded(appliance, b"/evil") == before
    finally:
        manager.operator.put(
            f"/appliances/{NAME}/guests/web/on-drop", json={"on_drop": "reset"}
        ).raise_for_status()
        wait_for("the inspector", appliance.is_up)
        appliance.in_step()


def spool(appliance: Appliance) -> bytes:
    return b"".join(path.read_bytes() for path in (appliance.state / "spool").glob("inspector-*/*.eve"))


def end_inspector(appliance: Appliance) -> None:
    os.kill(appliance.status()["inspector"]["pid"], signal.SIGKILL)

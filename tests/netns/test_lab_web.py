"""The web guest records what reaches it whole, and is shut in."""

from pathlib import Path

import pytest
from pyroute2 import NetNS

from appliance import lab
from appliance.lab.definitions import Attack, AttackFile, AttackRequest, load_attacks
from appliance.lab.wire import Outcome, connect, exchange
from appliance.netns import processes_in


def attack_file(*requests: AttackRequest) -> AttackFile:
    return AttackFile(
        "t", Attack(cve="CVE-0-0", name="t", product="t", signatures="t.rules", requests=requests)
    )


@pytest.mark.parametrize("ip_version", [4, 6])
@pytest.mark.parametrize("port", [lab.HTTP_PORT, lab.RAW_PORT])
@pytest.mark.parametrize("segments", [(), (1,) * 10, (5, 40)])
def test_a_request_is_recorded(
    running_lab: lab.LabSettings, ip_version: int, port: int, segments: tuple[int, ...]
) -> None:
    request = AttackRequest(name="r", kind="ordinary", port=port, target="/app/login?a=%2e%2e", body="x=1")
    (result,) = lab.attack(
        running_lab, files=[attack_file(request)], ip_version=ip_version, segments=segments
    )
    assert (result.outcome, result.status, result.recorded) == (Outcome.ANSWERED, 200, True)


def test_nginx_hands_encoded_paths_on_untouched(running_lab: lab.LabSettings) -> None:
    target = "/cgi-bin/x/y/z/%2e%2e//.%2e/a?b=${jndi:ldap://h/a}"
    request = AttackRequest(name="r", kind="ordinary", port=lab.HTTP_PORT, target=target)
    assert [result.recorded for result in lab.attack(running_lab, files=[attack_file(request)])] == [True]
    *_, record = lab.records(running_lab)
    assert record.request.startswith(f"GET {target} HTTP/1.1\r\n".encode())
    assert record.peer == lab.CLIENT.ipv4


def test_the_raw_port_records_byte_for_byte(running_lab: lab.LabSettings) -> None:
    raw = "POST /icons/.%2e/%2e%2e/x HTTP/1.1\r\nHost: a\r\nX: ${jndi}\r\nContent-Length: 3\r\n\r\nabc"
    request = AttackRequest(name="r", kind="ordinary", raw=raw)
    assert [result.recorded for result in lab.attack(running_lab, files=[attack_file(request)])] == [True]
    *_, record = lab.records(running_lab)
    assert record.request == raw.encode()


@pytest.mark.parametrize("port", [lab.HTTP_PORT, lab.RAW_PORT])
def test_an_incomplete_request_is_not_recorded(running_lab: lab.LabSettings, port: int) -> None:
    before = lab.status(running_lab).recorded
    whole = b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\n12345"
    for cut in (1, 20, len(whole) - 6, len(whole) - 1):
        client = running_lab.guest_netns(lab.CLIENT)
        sent = exchange(client, lab.WEB.ipv4, port, whole[:cut], (), timeout_s=0.2)
        assert sent.outcome is Outcome.TIMEOUT
    assert lab.status(running_lab).recorded == before


def test_a_connection_is_kept_alive_for_many_requests(running_lab: lab.LabSettings) -> None:
    request = b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n"
    with connect(running_lab.guest_netns(lab.CLIENT), lab.WEB.ipv4, lab.HTTP_PORT, 3.0) as connection:
        for _ in range(50):
            connection.sendall(request)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK")


def test_the_download_is_as_large_as_asked_for(running_lab: lab.LabSettings) -> None:
    request = b"GET /download/large.bin HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"
    with connect(running_lab.guest_netns(lab.CLIENT), lab.WEB.ipv4, lab.HTTP_PORT, 3.0) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(1 << 20), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (head.split()[1], len(body)) == (b"200", 8 * 1024 * 1024)


def test_services_hold_no_right(running_lab: lab.LabSettings) -> None:
    own = {Path(f"/proc/self/ns/{kind}").readlink() for kind in ("mnt", "pid", "net")}
    services = 0
    for pid in processes_in([running_lab.guest_netns(lab.WEB)]):
        status = Path(f"/proc/{pid}/status").read_text()
        if "Uid:\t0" in status:
            continue  # unshare and the guest's process 1, which open no socket
        services += 1
        assert "Uid:\t65534\t65534\t65534\t65534" in status
        assert "Gid:\t65534\t65534\t65534\t65534" in status
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        assert not own & {Path(f"/proc/{pid}/ns/{kind}").readlink() for kind in ("mnt", "pid", "net")}
    assert services >= 3  # the recorder, nginx and its worker


def test_the_recorder_sees_no_file_system(running_lab: lab.LabSettings) -> None:
    roots = [
        Path(f"/proc/{pid}/root/")
        for pid in processes_in([running_lab.guest_netns(lab.WEB)])
        if Path(f"/proc/{pid}/root").readlink() != Path("/")
    ]
    assert [list(root.iterdir()) for root in roots] == [[]]


def test_no_route_leads_off_the_bridge(running_lab: lab.LabSettings) -> None:
    for guest in lab.GUESTS:
        with NetNS(running_lab.guest_netns(guest), flags=0) as handle:
            assert [route for route in handle.get_routes() if route.get_attr("RTA_GATEWAY")] == []
            assert {link.get_attr("IFLA_IFNAME") for link in handle.get_links()} == {"lo", "eth0"}
    with NetNS(running_lab.bridge_netns, flags=0) as handle:
        assert [a.get_attr("IFA_ADDRESS") for a in handle.get_addr()] == []


def test_every_shipped_attack_arrives_where_nothing_protects(running_lab: lab.LabSettings) -> None:
    if not load_attacks():
        pytest.skip("no attack definitions in appliance/lab/attacks")
    missed = [result for result in lab.attack(running_lab) if not result.recorded]
    assert missed == []

"""Guests that come and go between hosts, with libvirt's own test driver for one."""

from pathlib import Path

import libvirt
import pytest

from host_helper import migration
from host_helper.config import HostConfig
from host_helper.inline import Host
from host_helper.libvirt_source import LibvirtSource
from host_helper.migration import Migration
from host_helper.model import Happened, HostGuest, Lifecycle, Mark
from host_helper.state import Protected, State

HOME = {"52:54:00:aa:00:01": "br0"}
COMING = HostGuest("u-1", "web", False, (), Mark(HOME, persistent=True))


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state.json")


@pytest.fixture
def source() -> LibvirtSource:
    source = LibvirtSource("test:///default")
    source.start(lambda _: None)
    return source


def made(source: LibvirtSource, state: State) -> Migration:
    return Migration(source, state, Host(HostConfig(guests_file="/nonexistent", segments=()), state))


def test_who_was_protected_elsewhere_is_protected_here_and_forgotten_if_it_never_comes(
    source: LibvirtSource, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    coming = made(source, state)
    assert coming.arriving(COMING) == COMING.marked
    assert state.protected["u-1"] == Protected(persistent=True, home=HOME)
    coming.look(())
    assert "u-1" in state.protected
    monkeypatch.setattr(migration, "AWAITED_S", 0.0)
    coming.look(())
    assert "u-1" not in state.protected


def test_who_was_not_protected_elsewhere_is_not_here(source: LibvirtSource, state: State) -> None:
    assert made(source, state).arriving(HostGuest("u-1", "web", False, ())) is None
    assert not state.protected


def test_who_left_and_is_defined_here_still_is_protected_when_it_comes_back(
    source: LibvirtSource, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "AWAITED_S", 0.0)
    state.protected["u-1"] = Protected(home=HOME)
    going = made(source, state)
    going.heard(Lifecycle(Happened.MIGRATED_OUT, "u-1", "web"))
    going.look((HostGuest("u-1", "web", False, ()),))
    going.look(())
    assert "u-1" in state.protected


def test_a_running_guest_is_marked_while_it_is_protected(source: LibvirtSource, state: State) -> None:
    moving = made(source, state)
    domain = libvirt.open("test:///default").lookupByName("test")
    if not domain.isActive():  # all tests of this process have this one
        domain.create()
    (guest,) = source.guests()
    assert guest.running and guest.marked is None
    state.protected[guest.uuid] = Protected(home=HOME)
    moving.look(source.guests())
    (guest,) = source.guests()
    assert guest.marked == Mark(HOME)
    del state.protected[guest.uuid]
    moving.look(source.guests())
    (guest,) = source.guests()
    assert guest.marked is None
    source.stop()

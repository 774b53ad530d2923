"""Who follows the list, and when a guest counts as taken up."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from appliance.model.faults import SystemFault
from host_helper.followers import Follower, Followers

WITHIN_S = 0.05
WEB: dict[str, Any] = {"uuid": "web", "protected": True, "vnics": [{"mac": "m1", "port": "p1", "vlan": None}]}


async def reading(followers: Followers) -> tuple[Follower, AsyncIterator[dict[str, Any]]]:
    """Give a follower that has read the first edition."""
    follower = Follower()
    lists = followers.follow(follower)
    await anext(lists)
    return follower, lists


def test_an_edition_is_taken_up_when_an_appliance_says_so() -> None:
    async def play() -> None:
        followers = Followers()
        await followers.publish({"guests": []})
        follower, lists = await reading(followers)
        await followers.took_up(follower, 1, ())
        edition = await followers.publish({"guests": [WEB]})
        assert (await anext(lists))["edition"] == edition == 2
        with pytest.raises(SystemFault, match="did not take the guest up"):
            await followers.taken_up("web", edition, WITHIN_S)
        waiting = asyncio.create_task(followers.taken_up("web", edition, 10))
        await asyncio.sleep(0)
        await followers.took_up(follower, edition, ())
        assert await waiting is True

    asyncio.run(play())


def test_a_guest_that_the_appliance_has_no_port_for_is_not_taken_up() -> None:
    async def play() -> None:
        followers = Followers()
        edition = await followers.publish({"guests": [WEB]})
        follower, _ = await reading(followers)
        await followers.took_up(follower, edition, ["web"])
        with pytest.raises(SystemFault):
            await followers.taken_up("web", edition, WITHIN_S)
        assert await followers.taken_up("db", edition, WITHIN_S)

    asyncio.run(play())


def test_an_edition_that_was_never_said_counts_for_no_later_one() -> None:
    async def play() -> None:
        followers = Followers()
        await followers.publish({"guests": []})
        follower, _ = await reading(followers)
        await followers.took_up(follower, 10**9, ())
        edition = await followers.publish({"guests": [WEB]})
        with pytest.raises(SystemFault):
            await followers.taken_up("web", edition, WITHIN_S)

    asyncio.run(play())


def test_who_only_reads_along_or_is_gone_takes_nothing_up() -> None:
    async def play() -> None:
        followers = Followers()
        edition = await followers.publish({"guests": []})
        follower, lists = await reading(followers)
        assert await followers.taken_up("web", edition, WITHIN_S) is False
        await followers.took_up(follower, edition, ())
        await lists.aclose()  # type: ignore[attr-defined]
        assert await followers.taken_up("web", edition, WITHIN_S) is False

    asyncio.run(play())


def test_a_vnic_is_known_where_an_edition_that_was_taken_up_has_it() -> None:
    second = {"mac": "m2", "port": "p2", "vlan": None}
    both = {**WEB, "vnics": [*WEB["vnics"], second]}

    async def play() -> None:
        followers = Followers()
        edition = await followers.publish({"guests": [WEB]})
        follower, _ = await reading(followers)
        assert not followers.know("web", "m1", "p1", None)
        await followers.took_up(follower, edition, ())
        assert followers.know("web", "m1", "p1", None)
        assert not followers.know("web", "m1", "p2", None)
        edition = await followers.publish({"guests": [both]})
        assert followers.know("web", "m1", "p1", None) and not followers.know("web", "m2", "p2", None)
        await followers.took_up(follower, edition, ("web",))
        assert not followers.know("web", "m2", "p2", None)
        await followers.took_up(follower, edition, ())
        assert followers.know("web", "m2", "p2", None)
        await followers.publish({"guests": [WEB]})
        await followers.publish({"guests": [both]})
        assert not followers.know("web", "m2", "p2", None), "it was gone meanwhile"

    asyncio.run(play())


def test_the_same_list_is_no_new_edition() -> None:
    async def play() -> None:
        followers = Followers()
        first = await followers.publish({"guests": [WEB]})
        assert await followers.publish({"guests": [WEB]}) == first
        await followers.trouble("libvirt is gone")
        assert await followers.publish({"guests": [WEB]}) == first + 2

    asyncio.run(play())

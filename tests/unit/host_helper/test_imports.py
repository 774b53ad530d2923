"""The helper is apart: it looks into no packet, and it alone speaks to libvirt."""

from tests.unit.test_imports import imported, modules

MAY_IMPORT = {
    "appliance.cli.faults",
    "appliance.cli.lazy",
    "appliance.config",
    "appliance.control.audit",
    "appliance.durable",
    "appliance.firewall.names",
    "appliance.hypervisor",
    "appliance.logs",
    "appliance.model",
    "appliance.netns",
    "appliance.ready",
}


def test_the_helper_imports_nothing_that_handles_packets() -> None:
    wrong = {
        (name, target)
        for name, path in modules("host_helper")
        for target in imported(path)
        if target.startswith(("appliance.", "manager_api"))
        and not any(target == each or target.startswith(f"{each}.") for each in MAY_IMPORT)
    }
    assert not wrong


def test_libvirt_is_spoken_to_in_one_place() -> None:
    users = {
        name
        for package in ("appliance", "manager_api", "host_helper")
        for name, path in modules(package)
        if any(target.split(".")[0] == "libvirt" for target in imported(path))
    }
    assert users == {"host_helper.libvirt_source"}


def test_neither_appliance_nor_manager_holds_the_helper() -> None:
    wrong = {
        (name, target)
        for package in ("appliance", "manager_api")
        for name, path in modules(package)
        for target in imported(path)
        if target.startswith("host_helper")
    }
    assert not wrong

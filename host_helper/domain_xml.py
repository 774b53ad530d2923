"""Libvirt's domain XML: the guest it describes, and an interface moved to another bridge or VLAN.

A running domain that is protected carries a mark in its metadata, which goes with it to another host:

    <sekisho:protected xmlns:sekisho="urn:sekisho:host" vlans="ours" persistent="yes">
      <vnic mac="…" bridge="br0"/>
    </sekisho:protected>
"""

from xml.etree import ElementTree

from appliance.hypervisor.static import INTERFACE_NAME, MAC
from appliance.model.faults import SystemFault
from host_helper.model import HostGuest, HostVnic, Mark

MAX_BYTES = 4 * 1024 * 1024
MARK = "urn:sekisho:host"
_PROTECTED = f"{{{MARK}}}protected"


def guest_in(text: str, *, running: bool, migrating: bool = False) -> HostGuest:
    """Return the guest that the XML describes. Raises SystemFault."""
    root = _parsed(text)
    interfaces = root.findall("./devices/interface")
    # A card handed over by <hostdev> has no <interface>, and nothing says whether it is one for a network.
    vnics = tuple(vnic for each in interfaces if (vnic := _vnic(each)) is not None)
    name, uuid = root.findtext("name"), root.findtext("uuid")
    if not name or not uuid:
        raise SystemFault("libvirt: a domain's XML has neither name nor UUID")
    return HostGuest(uuid, name, running, vnics, _marked(root), migrating)


def moved_interface(text: str, mac: str, bridge: str) -> str:
    """Return the XML of the domain's interface with this MAC, on another bridge. Raises SystemFault."""
    interface = _interface(text, mac)
    interface.set("type", "bridge")
    for source in interface.findall("source"):
        interface.remove(source)
    interface.insert(0, ElementTree.Element("source", {"bridge": bridge}))
    return ElementTree.tostring(interface, encoding="unicode")


def tagged_interface(text: str, mac: str, vlan: int, default: int) -> str | None:
    """Return the XML of the domain's interface with this MAC, in this VLAN; None where it would be.

    default: the VLAN of an interface that says none. Raises SystemFault.
    """
    interface = _interface(text, mac)
    now = _vlan(interface)
    if (default if now is None else now) == vlan:
        return None
    _untag(interface)
    if vlan != default:
        ElementTree.SubElement(ElementTree.SubElement(interface, "vlan"), "tag", {"id": str(vlan)})
    return ElementTree.tostring(interface, encoding="unicode")


def mark_of(mark: Mark) -> str:
    """Return the mark as the domain's metadata hold it."""
    element = ElementTree.Element("protected")
    if mark.owns_vlans:
        element.set("vlans", "ours")
    if mark.persistent:
        element.set("persistent", "yes")
    for mac, bridge in sorted(mark.home.items()):
        ElementTree.SubElement(element, "vnic", {"mac": mac, "bridge": bridge})
    return ElementTree.tostring(element, encoding="unicode")


def at_home(text: str, mark: Mark) -> str:
    """Return the domain's XML with its vNICs connected as the mark says that they are without us.

    Raises SystemFault.
    """
    root = _parsed(text)
    for each in root.findall("./devices/interface[@type='bridge']"):
        bridge, source = mark.home.get(_mac(each) or ""), each.find("source")
        if bridge is not None and source is not None:
            source.set("bridge", bridge)
            if mark.owns_vlans:
                _untag(each)
    return ElementTree.tostring(root, encoding="unicode")


def _marked(root: ElementTree.Element) -> Mark | None:
    protected = root.find(f"./metadata/{_PROTECTED}")
    if protected is None:
        return None
    # libvirt gives the children the namespace that it stands in
    found = [(each.get("mac", ""), each.get("bridge", "")) for each in protected]
    home = {mac: bridge for mac, bridge in found if MAC.fullmatch(mac) and INTERFACE_NAME.fullmatch(bridge)}
    return Mark(home, protected.get("persistent") == "yes", protected.get("vlans") == "ours")


def _parsed(text: str) -> ElementTree.Element:
    if len(text) > MAX_BYTES or "<!DOCTYPE" in text:
        raise SystemFault("libvirt: a domain's XML is too long, or has a document type")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise SystemFault(f"libvirt: a domain's XML cannot be read: {error}") from None


def _interface(text: str, mac: str) -> ElementTree.Element:
    for each in _parsed(text).findall("./devices/interface"):
        if _mac(each) == mac:
            return each
    raise SystemFault(f"libvirt: the domain has no interface {mac} any more")


def _vnic(interface: ElementTree.Element) -> HostVnic | None:
    mac = _mac(interface)
    if mac is None or not MAC.fullmatch(mac):
        return None
    source, target = interface.find("source"), interface.find("target")
    tap = target.get("dev") if target is not None else None
    return HostVnic(
        mac=mac,
        kind=interface.get("type", "unknown"),
        bridge=source.get("bridge") if source is not None else None,
        # what is no plain name must not get into a ruleset
        tap=tap if tap is not None and INTERFACE_NAME.fullmatch(tap) else None,
        vlan=_vlan(interface),
    )


def _vlan(interface: ElementTree.Element) -> int | None:
    """Return the VLAN that it is in without tags; None where it says none, 0 where it says anything else."""
    said, tags = interface.findall("vlan"), interface.findall("./vlan/tag")
    if not said:
        return None
    is_trunk = any(each.get("trunk") == "yes" for each in said)
    number = tags[0].get("id", "") if len(tags) == 1 and not is_trunk else ""
    return int(number) if len(number) <= 4 and number.isascii() and number.isdigit() else 0


def _untag(interface: ElementTree.Element) -> None:
    for each in interface.findall("vlan"):
        interface.remove(each)


def _mac(interface: ElementTree.Element) -> str | None:
    mac = interface.find("mac")
    address = mac.get("address") if mac is not None else None
    return address.lower() if address else None

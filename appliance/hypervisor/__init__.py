"""Where guests are learned from, and which of their ports the kernel has."""

from appliance.hypervisor.inventory import read_inventory
from appliance.hypervisor.links import existing, link_alarm, number_ports, places, read_links
from appliance.hypervisor.static import load_guests, parse_guests, render_guests

__all__ = [
    "existing",
    "link_alarm",
    "load_guests",
    "number_ports",
    "parse_guests",
    "places",
    "read_inventory",
    "read_links",
    "render_guests",
]

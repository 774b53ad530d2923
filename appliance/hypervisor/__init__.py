"""Where guests are learned from, and which of their ports the kernel has."""

from appliance.hypervisor.links import existing, link_alarm, number_ports, read_links
from appliance.hypervisor.static import load_guests, parse_guests

__all__ = ["existing", "link_alarm", "load_guests", "number_ports", "parse_guests", "read_links"]

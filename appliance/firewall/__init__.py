"""The guests' firewall and the L2 guard, as nftables values."""

from appliance.firewall.learned import promotable

__all__ = ["promotable"]

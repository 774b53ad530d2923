"""The appliance: control, policy, steering and reporting around the packet engine."""

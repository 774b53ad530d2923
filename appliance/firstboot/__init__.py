"""How a new appliance learns who it is: a seed disk as cloud-init's NoCloud has it."""

"""The KVM hosts: what their helpers say of guests, and what they are asked to do."""

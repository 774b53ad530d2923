"""Errors by whose fault they are. A peer's fault is the engine's `Malformed` and never reaches Python."""


class SystemFault(RuntimeError):
    """The kernel, a program or the disk did not do what was asked; the text says what and why."""


class PolicyError(ValueError):
    """What an operator wrote cannot be used; the text names the place, the reason and the way out."""

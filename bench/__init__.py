"""Sekisho beside its peers, measured in one run. See `python -m bench --help`."""

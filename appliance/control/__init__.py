"""The control process: what each of its duties consists of; `appliance.daemon` puts them together."""

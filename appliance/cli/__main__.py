"""`python -m appliance.cli`: the command without an installed entry point."""

from appliance.cli.main import main

main(prog_name="sekisho")

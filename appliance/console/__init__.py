"""What the machine's consoles show. Nobody logs in there."""

"""What the appliance tells the manager: events from the spool, its status, and how it became known."""

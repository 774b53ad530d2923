"""What the manager decides, as pure functions: no database, no clock, no network."""

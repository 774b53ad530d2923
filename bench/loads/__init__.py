"""One file a kind of load: each measures, and names its goals."""

"""Floor 3: what the service does; owns the transactions."""

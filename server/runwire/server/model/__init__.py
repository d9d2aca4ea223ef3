"""Floor 1: the values the server works with; nothing here knows a protocol or a database."""

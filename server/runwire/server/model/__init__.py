"""Floor 1: the values the server works with; nothing here knows a protocol, a database or LangGraph."""

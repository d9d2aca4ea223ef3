"""Floor 2: the only code that knows LangGraph."""

import os

# LangGraph reads this once, when it is imported, so it is set before anything here imports it:
# a checkpoint may then only name types that the graph's own schemas name, and reading a tampered
# database cannot import and call whatever it likes. Whoever sets it to false has decided so.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")

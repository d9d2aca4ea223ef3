"""The Python client of a Runwire server."""

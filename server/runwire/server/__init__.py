"""The Runwire server: runs LangGraph agents behind the services of `runwire.v1`."""

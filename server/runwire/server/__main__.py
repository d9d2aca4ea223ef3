"""`python -m runwire.server` is `runwire`."""

from runwire.server.cli import main

if __name__ == "__main__":
    main()

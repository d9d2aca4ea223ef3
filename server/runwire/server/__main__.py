"""`python -m runwire.server` is `runwire`."""

from runwire.commands.main import main

if __name__ == "__main__":
    main()

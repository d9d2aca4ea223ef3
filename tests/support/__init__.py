"""What tests of several floors share: graphs to run, and servers to run them on."""

"""The tests of Runwire; they mirror the code they test."""

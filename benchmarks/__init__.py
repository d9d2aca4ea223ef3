"""Measures a real server against what could be had at best; see README.md."""

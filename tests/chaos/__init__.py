"""Servers that are hurt in every way that is known, and proof that nobody notices."""

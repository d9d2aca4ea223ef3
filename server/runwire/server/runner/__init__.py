"""Floor 4: carries claimed runs to their end."""

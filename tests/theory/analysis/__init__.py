"""Theory of what analysis makes of results."""

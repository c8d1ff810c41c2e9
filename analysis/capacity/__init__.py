"""How much a system bears: the hardest setting at which it still does what is required of it."""

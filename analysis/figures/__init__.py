"""Pictures of what runs have left, and how each system looks in all of them."""

"""What runs say of each other: pairs, differences, frontiers, what parts are worth."""

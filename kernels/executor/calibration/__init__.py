"""What is measured before frames run: break-evens of layers, and the ε profile of `truncate`."""

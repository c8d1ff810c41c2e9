"""Certificates: at which positions the moved cache provably is the dense result."""

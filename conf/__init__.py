"""Hydra groups: every named choice and constant; where they lie, and the command that starts the others."""

"""What stands between a user and a run: choices composed, sweeps, messages, the run as a call."""

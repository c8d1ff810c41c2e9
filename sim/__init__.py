"""A discrete-event simulator of edge-cloud video analytics; ``run`` is a run as a call."""

from sim.command.call import run

__all__ = ["run"]

"""Edge and server that keep one image of the scene in step: both halves, and what passes between them."""

from __future__ import annotations

from sim.components.synchronisation.answer_time import AnswerTime
from sim.components.synchronisation.offload import Offload, Served
from sim.components.synchronisation.opportunistic_sender import OpportunisticSender
from sim.components.synchronisation.server_half import ServerHalf
from sim.components.synchronisation.synchronisation import Synchronisation

__all__ = ["AnswerTime", "Offload", "OpportunisticSender", "Served", "ServerHalf", "Synchronisation"]

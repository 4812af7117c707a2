"""The tables of the runtime: who speaks, where, what was said, and the work on it."""

from agents.models.agent import Agent
from agents.models.approval import Approval
from agents.models.audit import AuditEntry
from agents.models.character import Character, CharacterVersion
from agents.models.delivery import Delivery
from agents.models.forgetting import Forgetting
from agents.models.lane import Lane
from agents.models.message import Message
from agents.models.person import Account, Person
from agents.models.room import Participant, Room, World
from agents.models.turn import ModelCall, Step, Turn

__all__ = [
    "Account",
    "Agent",
    "Approval",
    "AuditEntry",
    "Character",
    "CharacterVersion",
    "Delivery",
    "Forgetting",
    "Lane",
    "Message",
    "ModelCall",
    "Participant",
    "Person",
    "Room",
    "Step",
    "Turn",
    "World",
]

"""Worlds and rooms: where things are said."""

from django.db import models
from uuid_utils.compat import uuid7


class World(models.Model):
    """What holds rooms together: a Discord server, a site."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    platform = models.CharField(max_length=30)
    external_id = models.CharField(max_length=200)
    name = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["platform", "external_id"], name="one_world_a_platform_id")
        ]

    def __str__(self) -> str:
        return self.name or self.external_id


class Room(models.Model):
    """A place of a network where messages follow one another: a channel, a thread, a direct chat."""

    class Type(models.TextChoices):
        DM = "DM"
        GROUP = "GROUP"
        THREAD = "THREAD"
        FEED = "FEED"
        VOICE_DM = "VOICE_DM"
        VOICE_GROUP = "VOICE_GROUP"
        API = "API"
        SELF = "SELF"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    world = models.ForeignKey(World, null=True, blank=True, on_delete=models.SET_NULL, related_name="rooms")
    platform = models.CharField(max_length=30)
    external_id = models.CharField(max_length=200)
    type = models.CharField(max_length=20, choices=Type, default=Type.DM)
    name = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["platform", "external_id"], name="one_room_a_platform_id")
        ]

    def __str__(self) -> str:
        return self.name or f"{self.platform}:{self.external_id}"


class Participant(models.Model):
    """A person in a room."""

    class State(models.TextChoices):
        NONE = ""
        FOLLOWED = "FOLLOWED"
        MUTED = "MUTED"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="participants")
    person = models.ForeignKey("agents.Person", on_delete=models.CASCADE, related_name="participations")
    state = models.CharField(max_length=10, choices=State, default=State.NONE, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["room", "person"], name="one_participant_a_room")]

    def __str__(self) -> str:
        return f"{self.person_id} in {self.room_id}"

"""People, and their accounts on the networks."""

from django.db import models
from uuid_utils.compat import uuid7


class Person(models.Model):
    """Someone an agent talks with. A merged person points to the one that stands for both.

    `forgotten_at` is when their forgetting began: the row stands until nothing points to it any more.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=200)
    is_bot = models.BooleanField(default=False)
    merged_into = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="merged"
    )
    forgotten_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "people"
        permissions = [
            ("merge_person", "Can merge two people"),
            ("forget_person", "Can forget a person"),
            ("export_person", "Can export all that is known of a person"),
        ]

    def __str__(self) -> str:
        return self.name


class Account(models.Model):
    """A person on one network."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="accounts")
    platform = models.CharField(max_length=30)
    external_id = models.CharField(max_length=200)
    username = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["platform", "external_id"], name="one_account_a_platform_id")
        ]

    def __str__(self) -> str:
        return f"{self.platform}:{self.username or self.external_id}"

"""The audit: what people decided, who they were, and why."""

from django.db import models
from django.db.models.functions import Now


class AuditEntry(models.Model):
    """One decision about one object. The database refuses to delete an entry, and every change but one.

    `actor` is a user's name, or `command`. `object_id` is no foreign key: entries outlive what they are about. Where
    that was a person who is forgotten, an entry can lose which it was and the words: it becomes `FORGOTTEN`, and
    still says who decided what, and when.
    """

    FORGOTTEN = {"object_id": "forgotten", "reason": "", "details": {}}

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_default=Now())
    actor = models.CharField(max_length=150)
    verb = models.CharField(max_length=40)
    object_kind = models.CharField(max_length=40)
    object_id = models.CharField(max_length=64)
    reason = models.TextField(blank=True)
    details = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        indexes = [models.Index(fields=["object_kind", "object_id"], name="audit_of_object")]

    def __str__(self) -> str:
        return f"{self.actor}: {self.verb} {self.object_kind} {self.object_id}"

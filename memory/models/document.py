"""The tables of documents: the files, what is in them, and the chunks that they were cut into."""

from django.db import models
from uuid_utils.compat import uuid7

NAME_MAX, TITLE_MAX = 500, 200


class Document(models.Model):
    """A file that an agent knows: everywhere, or in one room.

    `edition` names its content and the way it was cut; chunks of that edition are the current ones, and those of
    another are being made, or were left by an attempt that was cut off.
    """

    class Origin(models.TextChoices):
        FILE = "file", "a file of this machine"
        UPLOAD = "upload", "an upload"
        CHARACTER = "character", "the character's knowledge"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey("agents.Agent", on_delete=models.CASCADE, related_name="documents")
    room = models.ForeignKey(
        "agents.Room", null=True, blank=True, on_delete=models.CASCADE, related_name="documents"
    )
    origin = models.CharField(max_length=10, choices=Origin, default=Origin.FILE)
    name = models.CharField(
        max_length=NAME_MAX, help_text="Where it came from: the same name is the same document."
    )
    title = models.CharField(max_length=TITLE_MAX, blank=True)
    format = models.CharField(max_length=10, blank=True)
    content_hash = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the file.")
    byte_count = models.PositiveBigIntegerField(default=0)
    page_count = models.PositiveIntegerField("pages", null=True, blank=True)
    chunk_count = models.PositiveIntegerField("chunks", default=0)
    edition = models.CharField(max_length=32, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    indexed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["agent", "room", "origin", "name"], name="one_document_a_name", nulls_distinct=False
            )
        ]
        indexes = [models.Index(fields=["agent", "content_hash"], name="document_by_content")]

    def __str__(self) -> str:
        return self.title or self.name


class DocumentPart(models.Model):
    """A piece of a document's file, kept so that it can be indexed again wherever the software runs."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="parts")
    content_hash = models.CharField(max_length=64)
    position = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(
                fields=["document", "content_hash", "position"], name="one_part_a_position"
            )
        ]

    def __str__(self) -> str:
        return f"part {self.position} of {self.document_id}"


class Chunk(models.Model):
    """Where a memory stands in a document. Chunks with the same text share their memory.

    `headings` go from the outermost to the innermost.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="chunks")
    edition = models.CharField(max_length=32)
    position = models.PositiveIntegerField()
    memory = models.ForeignKey("memory.Memory", on_delete=models.CASCADE, related_name="chunks")
    headings = models.JSONField(default=list, blank=True)
    page = models.PositiveIntegerField(null=True, blank=True)
    last_page = models.PositiveIntegerField(null=True, blank=True)
    start = models.PositiveIntegerField()
    end = models.PositiveIntegerField()

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["document", "edition", "position"], name="one_chunk_a_position")
        ]

    def __str__(self) -> str:
        return f"chunk {self.position} of {self.document_id}"

"""Exports all that is known of one person, as one JSON document. The command `export_person` and the admin call it.

It is written while it is read, row by row, in one snapshot of the database; `agents.exports.schema` states its shape,
`docs/privacy.md` what is left out because it is other people's.
"""

from agents.exports.files import TooMuch, chunks_of, export_to_temporary_file
from agents.exports.writing import export_person

__all__ = ["TooMuch", "chunks_of", "export_person", "export_to_temporary_file"]

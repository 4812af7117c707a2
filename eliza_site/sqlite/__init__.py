"""The site on SQLite, for development: one worker process, no server.

A backend of Django's (`base.py`) that keeps values as PostgreSQL would show them, and runs the statements that the
site's modules write for PostgreSQL: `statements.py` knows them, `translating/` turns each once into SQLite's words.
"""

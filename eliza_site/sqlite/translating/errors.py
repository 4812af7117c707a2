"""What can't be said in SQLite's words."""


class Untranslatable(Exception):
    """A statement has something in it that SQLite has no word for, and nothing here stands for it."""

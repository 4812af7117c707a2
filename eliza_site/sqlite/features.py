"""What this backend can do beyond Django's own for SQLite."""

from django.db.backends.sqlite3.features import DatabaseFeatures as SQLiteFeatures


class DatabaseFeatures(SQLiteFeatures):
    """UUIDs are values of their own; a unique constraint may count NULLs as equal; threads have their connections."""

    has_native_uuid_field = True
    supports_json_field_contains = True
    supports_nulls_distinct_unique_constraints = True
    # The schema editor leaves the covered columns out; Django would warn of it at each command.
    supports_covering_indexes = True
    test_db_allows_multiple_connections = True

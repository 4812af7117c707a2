"""What this backend can do beyond Django's own for SQLite."""

from django.db.backends.sqlite3.features import DatabaseFeatures as SQLiteFeatures


class DatabaseFeatures(SQLiteFeatures):
    """UUIDs are values of their own; a unique constraint may count NULLs as equal; threads have their connections."""

    has_native_uuid_field = True
    supports_json_field_contains = True
    supports_nulls_distinct_unique_constraints = True
    # Django leaves the covered columns out of an index by itself; the warning would be all that it adds.
    supports_covering_indexes = False
    test_db_allows_multiple_connections = True

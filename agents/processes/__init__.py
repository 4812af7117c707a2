"""The processes that work turns: their leases, their ends, and what becomes of a turn whose process died."""

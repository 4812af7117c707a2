"""What keeps the fleet from starting; the text says what to do about it."""


class FleetError(Exception):
    """The fleet cannot start, or a step of its start failed."""

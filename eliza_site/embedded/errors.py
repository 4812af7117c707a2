"""What goes wrong with an embedded server; the text says what to do about it."""


class EmbeddedServerError(Exception):
    """An embedded server cannot be started."""

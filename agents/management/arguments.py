"""What several commands ask of an argument."""

from argparse import ArgumentTypeError


def positive_whole(text: str) -> int:
    """Return the whole number above 0 that the text is.

    Raises: ArgumentTypeError, naming the text.
    """
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)

"""What several commands ask of an argument."""

from argparse import ArgumentTypeError


def positive(text: str) -> float:
    """Return the number above 0 that the text is.

    Raises: ArgumentTypeError, naming the text.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ArgumentTypeError(f"{text!r} is no number above 0")
    return number

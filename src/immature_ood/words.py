"""Names and numbers as a reader of a figure, or of a line, wants them."""

__all__ = ["compact", "duration", "readable"]


def readable(name: str) -> str:
    """A name as words.

    >>> readable("gradient_norms")
    'gradient norms'
    """
    return name.replace("_", " ")


def compact(count: float) -> str:
    """A count in few characters.

    >>> [compact(count) for count in (0, 640, 2944, 47_104, 750_000, 1_200_000)]
    ['0', '640', '2.9k', '47k', '750k', '1.2M']
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{_two_digits(count / size)}{unit}"
    return _two_digits(count)


def duration(seconds: float) -> str:
    """A time in its natural unit.

    >>> [duration(seconds) for seconds in (0, 2.68, 14.2, 600, 9000, 20_000_000)]
    ['0', '2.7 s', '14 s', '10 min', '2.5 h', '231 d']
    """
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{_two_digits(seconds / size)} {unit}"
    return f"{_two_digits(seconds)} s" if seconds > 0 else "0"


def _two_digits(value: float) -> str:
    """At least two digits, and never an exponent for large values."""
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"

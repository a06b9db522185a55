"""The colours of the page, in light and in dark, and how far apart they are as WCAG 2.2 counts it."""

from collections.abc import Mapping

__all__ = ["DARK", "LIGHT", "SERIES", "contrast", "css_variables"]

LIGHT = {
    **{"paper": "#ffffff", "card": "#f4f5f7", "ink": "#1b1f24", "quiet": "#545c66", "line": "#868e98"},
    **{"link": "#0a58a8", "focus": "#0a58a8", "id": "#6c757f", "ood": "#c4501b"},
    **{
        "better": "#15683a",
        "worse": "#a32222",
        "equivalent": "#0a5a8a",
        "undecided": "#5a4a00",
        "saturated": "#5b4488",
    },
}
DARK = {
    **{"paper": "#14171b", "card": "#1e2329", "ink": "#e8eaed", "quiet": "#a9b1ba", "line": "#747d88"},
    **{"link": "#84bdf5", "focus": "#84bdf5", "id": "#98a1ab", "ood": "#ee7b45"},
    **{
        "better": "#7fd6a0",
        "worse": "#ff9d97",
        "equivalent": "#8accf5",
        "undecided": "#e6cf7a",
        "saturated": "#c9b3f2",
    },
}
# Of lines and points: each stands out on the paper of both.
SERIES = ("#d65d12", "#2585d6", "#189a74", "#c05ea2", "#a67c00", "#8478dc", "#cc5064", "#64889a")


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours "#rrggbb", 1 to 21 (WCAG 2.2, relative luminance).

    >>> round(contrast("#000000", "#ffffff"))
    21
    """
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def css_variables(colours: Mapping[str, str]) -> str:
    """The colours as variables of a style sheet.

    >>> css_variables({"ink": "#1b1f24"})
    '--ink: #1b1f24;'
    """
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())

"""Stroke forms of the 62 characters, 0-9, A-Z, a-z, in EMNIST's label order.

A form is strokes parted by a blank; a stroke is its knots, two characters each: x in 0..8 and y in
0..c (hexadecimal), y = 0 the top of capitals, 4 that of small letters, 8 the base line, c the end
of descenders. A stroke that starts with "~" is a smooth curve through its knots (Catmull-Rom), else
straight lines join them.

What the generator needs is linear in the knots: points of form f = SPLINES[f] @ KNOTS[f].
"""

import numpy as np

FORMS = (
    "~406174674827142140 6226",  # 0
    "224048",
    "~12205072643618 1878",
    "~11406244 ~44664817",
    "500575 5258",
    "701014 ~144465674817",
    "~603215274867654425",
    "107038 2454",
    "~442240624466482644",
    "~6240224462 6258",
    "184078 2565",  # A
    "1018 ~1050624414 ~1454664818",
    "~714012164877",
    "1018 ~105073755818",
    "70101878 1454",
    "701018 1454",
    "~71401216487675 7545",
    "1018 7078 1474",
    "4048 2060 2868",
    "2070 ~5055482816",
    "1018 7014 2378",
    "101878",
    "0800458088",
    "18107870",
    "~40727648161240",
    "1018 ~1050725414",
    "~40727648161240 5589",
    "1018 ~1050725414 4478",
    "~71401244764817",
    "0080 4048",
    "~1015487570",
    "104870",
    "0028446880",
    "1078 7018",
    "104470 4448",
    "10701878 2464",
    "~6444264866 6468",  # a
    "2028 ~2444664828",
    "~6544264867",
    "6068 ~6444264868",
    "2666 ~6644264867",
    "~61403238 1454",
    "~6444264866 646a ~6a4c2b",
    "2028 ~26446568",
    "4448 4142",
    "~54594c2b 5152",
    "2028 6426 3568",
    "~30374868",
    "0408 ~05243538 ~35546568",
    "2428 ~26446568",
    "~4466482644",
    "242c ~2444664828",
    "~6444264868 646c 4a8a",
    "2428 ~264464",
    "~64442546674828",
    "~41475868 2464",
    "~24274867 6468",
    "244864",
    "0428456884",
    "2468 6428",
    "2448 643c",
    "24642868 3656",
)
NUM_CLASSES = len(FORMS)
POINTS = 64
# Knots stand in a frame of about -1 .. 1; one unit of the forms' grid is this much of it.
_UNIT = 1 / 5.5


def _curve_weights(num_knots: int, times: np.ndarray) -> np.ndarray:
    """Catmull-Rom weights [len(times), num_knots] at times in [0, num_knots - 1]; the ends
    repeat.
    """
    weights = np.zeros((len(times), num_knots))
    start = np.minimum(times.astype(int), num_knots - 2)
    t = times - start
    for shift, share in (
        (-1, (-(t**3) + 2 * t**2 - t) / 2),
        (0, (3 * t**3 - 5 * t**2 + 2) / 2),
        (1, (-3 * t**3 + 4 * t**2 + t) / 2),
        (2, (t**3 - t**2) / 2),
    ):
        knot = np.clip(start + shift, 0, num_knots - 1)
        np.add.at(weights, (np.arange(len(times)), knot), share)
    return weights


def _line_weights(num_knots: int, times: np.ndarray) -> np.ndarray:
    """Weights of straight lines between the knots, [len(times), num_knots]."""
    return np.maximum(0, 1 - np.abs(times[:, None] - np.arange(num_knots)[None, :]))


def _compile(form: str, max_knots: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns a form's knots [max_knots, 2], weights [POINTS, max_knots] and lengths [POINTS]."""
    strokes = [
        (s[0] == "~", [p[0] + p[1] for p in zip(*[iter(s.lstrip("~"))] * 2, strict=True)])
        for s in form.split()
    ]
    names = list(dict.fromkeys(name for _, stroke in strokes for name in stroke))
    knots = np.zeros((max_knots, 2))
    knots[: len(names)] = [
        ((int(n[0], 16) - 4) * _UNIT, (int(n[1], 16) - 5) * _UNIT) for n in names
    ]
    sizes = []
    for _, stroke in strokes:
        path = knots[[names.index(name) for name in stroke]]
        sizes.append(np.hypot(*np.diff(path, axis=0).T).sum())
    ends = np.rint(np.cumsum(sizes) / sum(sizes) * (POINTS - 2 * len(sizes))).astype(int)
    counts = np.diff(ends, prepend=0) + 2
    weights, lengths = [], []
    for (curved, stroke), size, count in zip(strokes, sizes, counts, strict=True):
        times = np.linspace(0, len(stroke) - 1, count)
        local = (_curve_weights if curved else _line_weights)(len(stroke), times)
        spread = np.zeros((len(stroke), max_knots))
        spread[np.arange(len(stroke)), [names.index(name) for name in stroke]] = 1
        weights.append(local @ spread)
        lengths.append(np.full(count, size / count))
    return knots, np.concatenate(weights), np.concatenate(lengths)


_MAX_KNOTS = max(len(form) for form in FORMS) // 2
KNOTS, SPLINES, LENGTHS = (
    np.stack(part) for part in zip(*(_compile(f, _MAX_KNOTS) for f in FORMS), strict=True)
)

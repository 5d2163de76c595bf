"""Writer-styled glyphs in EMNIST's 62 classes: data to try things on where the real one can't be
had.

Each glyph is a few strokes (`glyphs.py`). A writer has a style: slant, rotation, width, height,
thickness and a distortion of each letter form; each example adds jitter. A pure function of the
seed. Paper is 255 and ink 0, as in EMNIST. SYNTHETIC: an accuracy on it says nothing of
handwriting.
"""

import dataclasses
import pathlib

import numpy as np

from tff_experiments.datasets import cache, federated_data, glyphs

NEEDS_DATA_DIR = False
DEFAULT_PARTITION = "natural"
SIDE = 28
# Standard deviations of what makes writers differ, and of what makes one writer's examples differ.
_WRITER = {"slant": 0.22, "rotation": 0.10, "log_width": 0.14, "log_height": 0.09, "warp": 0.05}
_EXAMPLE = {
    "slant": 0.07,
    "rotation": 0.05,
    "log_width": 0.06,
    "log_height": 0.05,
    "warp": 0.045,
    "shift": 1.2,
}


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the generator."""

    writers: int = 200
    """Number of clients."""
    examples: int = 100
    """Training examples per writer."""
    test_examples: int = 12
    """Test examples per writer."""
    seed: int = 0
    """Seed of the generator; the run's own --seed does not change the data."""

    def __post_init__(self):
        for name in ("writers", "examples", "test_examples"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"synthetic_emnist_{name} must be >= 1, got {getattr(self, name)}."
                )


def build(hparams: Hparams, *, data_dir: pathlib.Path | None, cache_dir: pathlib.Path):
    """Generates the data, or opens what was generated before."""
    del data_dir
    key = "synthetic-" + "-".join(str(value) for value in dataclasses.astuple(hparams))
    return cache.load_or_convert(cache_dir, key, lambda: generate(hparams))


def generate(hparams: Hparams) -> federated_data.FederatedData:
    """Draws every writer's examples."""
    per_writer = hparams.examples + hparams.test_examples
    pixels = np.empty((hparams.writers, per_writer, SIDE, SIDE), np.uint8)
    labels = np.empty((hparams.writers, per_writer), np.int32)
    for writer in range(hparams.writers):
        rng = np.random.default_rng(np.random.SeedSequence([hparams.seed, writer]))
        labels[writer] = rng.integers(0, glyphs.NUM_CLASSES, per_writer)
        pixels[writer] = _draw(labels[writer], rng)
    ids = tuple(f"writer_{writer:05d}" for writer in range(hparams.writers))

    def split(rows, num_rows):
        columns = {
            "images": pixels[:, rows].reshape(-1, SIDE, SIDE),
            "labels": labels[:, rows].reshape(-1),
        }
        return federated_data.ClientExamples(
            ids, columns, np.arange(hparams.writers + 1) * num_rows
        )

    return federated_data.FederatedData(
        name="synthetic_emnist",
        train=split(slice(0, hparams.examples), hparams.examples),
        test=split(slice(hparams.examples, None), hparams.test_examples),
        num_classes=glyphs.NUM_CLASSES,
        stand_in="generated glyphs, not handwriting",
    )


def _draw(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Renders one writer's examples, uint8 [n, SIDE, SIDE]."""
    knots = glyphs.KNOTS + rng.normal(0, _WRITER["warp"], glyphs.KNOTS.shape)
    knots = knots[labels]
    knots = knots + rng.normal(0, _EXAMPLE["warp"], knots.shape)
    points = np.einsum("npk,nkd->npd", glyphs.SPLINES[labels], knots)
    points = np.einsum("npd,nde->npe", points, _shapes(len(labels), rng))
    points = points * 11.0 + (SIDE - 1) / 2 + rng.normal(0, _EXAMPLE["shift"], (len(labels), 1, 2))
    thickness = np.exp(rng.normal(0, 0.25)) * 1.2
    ink = _blur(_splat(points, glyphs.LENGTHS[labels]), thickness)
    return np.rint(255 * np.exp(-7 * ink)).astype(np.uint8)


def _shapes(n: int, rng: np.random.Generator) -> np.ndarray:
    """One linear map per example, float64 [n, 2, 2]: width and height, then slant, then
    rotation.
    """
    drawn = {
        name: rng.normal(0, _WRITER[name]) + rng.normal(0, _EXAMPLE[name], n)
        for name in ("slant", "rotation", "log_width", "log_height")
    }
    cos, sin = np.cos(drawn["rotation"]), np.sin(drawn["rotation"])
    width, height = np.exp(drawn["log_width"]), np.exp(drawn["log_height"])
    zero = np.zeros(n)
    scale = np.stack([np.stack([width, zero], -1), np.stack([zero, height], -1)], -2)
    shear = np.stack(
        [np.stack([zero + 1, zero], -1), np.stack([-drawn["slant"], zero + 1], -1)], -2
    )
    turn = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    return scale @ shear @ turn


def _splat(points: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Spreads points (x, y), [n, p, 2], bilinearly on a grid [n, SIDE, SIDE]; a stroke weighs its
    length [n, p].
    """
    points = np.clip(points, 0, SIDE - 1.001)
    corner = points.astype(np.int64)
    right, down = np.moveaxis(points - corner, -1, 0)
    n = len(points)
    base = np.arange(n)[:, None] * SIDE * SIDE + corner[..., 1] * SIDE + corner[..., 0]
    grid = np.zeros(n * SIDE * SIDE)
    for offset, share in (
        (0, (1 - right) * (1 - down)),
        (1, right * (1 - down)),
        (SIDE, (1 - right) * down),
        (SIDE + 1, right * down),
    ):
        grid += np.bincount((base + offset).ravel(), (share * lengths).ravel(), minlength=grid.size)
    return grid.reshape(n, SIDE, SIDE)


def _blur(grid: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur along both axes; the peak of a straight stroke of density 1 stays near 1."""
    distance = np.arange(SIDE)[:, None] - np.arange(SIDE)[None, :]
    kernel = np.exp(-(distance**2) / (2 * sigma**2))
    return kernel @ grid @ kernel / (np.sqrt(2 * np.pi) * sigma)

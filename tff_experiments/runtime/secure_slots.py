"""The slots of a MapReduceForm whose values must be summed securely, as one integer vector.

TFF has three kinds: a sum of values of a bit width, a sum of values up to a maximum, and a sum
modulo a number. The first two get a modulus that no sum of the round's clients reaches, so that a
protocol only ever sees integers and moduli.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow_federated as tff

from tff_experiments.runtime import sessions, tensorflow_part
from tff_experiments.secure_sum import vectors

MAX_BITS = vectors.MAX_BITS  # As in TFF's test context: values and sums are int64.


class SecureSlots:
    """What is in the slots, and how it becomes a vector and comes back."""

    def __init__(self, form: tff.backends.mapreduce.MapReduceForm):
        """Reads the slots' types and bounds.

        Raises:
            ValueError: A bound is out of range.
        """
        slot_types = [
            kind for _, kind in tensorflow_part.elements(form.work.type_signature.result)
        ][1:]
        bounds = (
            form.secure_sum_bitwidth,
            form.secure_sum_max_input,
            form.secure_modular_sum_modulus,
        )
        self._leaves = [leaf for slot in slot_types for leaf in tensorflow_part.leaf_types(slot)]
        self._sizes = [int(np.prod(leaf.shape, dtype=np.int64)) for leaf in self._leaves]
        self.length = sum(self._sizes)
        widths, maxima, moduli = (
            _spread(_evaluate(bound), bound.type_signature.result, slot)
            for bound, slot in zip(bounds, slot_types, strict=True)
        )
        for width in widths:
            if not 1 <= np.max(width) <= MAX_BITS:
                raise ValueError(f"secure sums take 1 to {MAX_BITS} bits, got {width}.")
        # The largest value of each leaf, and its own modulus, 0 where it has none.
        self._largest = [2 ** int(np.max(width)) - 1 for width in widths]
        self._largest += [int(np.max(value)) for value in maxima]
        self._moduli = [0] * len(self._largest) + [int(np.max(value)) for value in moduli]
        self._largest += [int(np.max(value)) - 1 for value in moduli]

    def segments(self, num_clients: int) -> list[vectors.Segment]:
        """The vector's layout in a round with so many clients.

        A sum that has no modulus of its own gets the least power of two above it: it never wraps,
        and nothing beside it is revealed.

        Raises:
            ValueError: A sum does not fit MAX_BITS.
        """
        segments = []
        for size, largest, own in zip(self._sizes, self._largest, self._moduli, strict=True):
            bits = (largest * num_clients).bit_length()
            if not own and bits > MAX_BITS:
                raise ValueError(
                    f"a secure sum of {num_clients} values up to {largest} does not fit "
                    f"{MAX_BITS} bits; use fewer bits or fewer clients."
                )
            modulus = own or 2**bits
            segments.append(vectors.Segment(size, modulus, min(largest, modulus - 1)))
        return segments

    def vector(self, leaves: Sequence[np.ndarray]) -> np.ndarray:
        """A client's slots as a vector, int64 [length].

        Raises:
            ValueError: A value is out of the range that the process announced.
        """
        parts = [np.zeros(0, np.int64)]
        for leaf, largest, own in zip(leaves, self._largest, self._moduli, strict=True):
            part = np.ravel(leaf).astype(np.int64)
            if own:
                part %= own
            elif part.size and not 0 <= part.min() <= part.max() <= largest:
                raise ValueError(
                    f"a value to be summed securely is out of range: expected 0 to {largest}, got "
                    f"{part.min()} to {part.max()}."
                )
            parts.append(part)
        return np.concatenate(parts)

    def leaves(self, vector: np.ndarray) -> list[np.ndarray]:
        """The sums of the slots' leaves from the sum of the vectors.

        Raises:
            ValueError: A sum does not fit its type.
        """
        parts = np.split(vector, np.cumsum(self._sizes)[:-1]) if self._sizes else []
        for part, leaf in zip(parts, self._leaves, strict=True):
            if part.size and part.max() > np.iinfo(leaf.dtype).max:
                raise ValueError(
                    f"a secure sum is {part.max()}, more than its type {leaf.dtype} holds; use "
                    f"fewer bits or fewer clients."
                )
        pairs = zip(parts, self._leaves, strict=True)
        return [part.astype(leaf.dtype).reshape(leaf.shape) for part, leaf in pairs]


def _evaluate(bound) -> list[np.ndarray]:
    return sessions.Function(bound, "bound")([], seed=0, round_num=0)


def _spread(values: list[np.ndarray], bound_type, slot_type) -> list[np.ndarray]:
    """A bound for each leaf of a slot: a bound may hold for a whole structure."""
    return list(_visit(iter(values), bound_type, slot_type))


def _visit(values: Iterator[np.ndarray], bound, slot) -> Iterator[np.ndarray]:
    if isinstance(bound, tff.StructType):
        elements = tensorflow_part.elements
        for (_, inner_bound), (_, inner_slot) in zip(elements(bound), elements(slot), strict=True):
            yield from _visit(values, inner_bound, inner_slot)
    else:
        value = next(values)
        yield from (value for _ in tensorflow_part.leaf_types(slot))

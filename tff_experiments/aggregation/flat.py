"""A structure of float tensors as one vector, and back."""

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff


class Flat:
    """How updates of one type become vectors.

    Attributes:
        size: Coordinates of the vector.
        dtype: float64 where a tensor of the update is, else float32.
    """

    def __init__(self, value_type: tff.Type):
        """Takes the layout; raises TypeError unless all tensors are floats of known shapes."""
        self._specs = tff.types.type_to_tf_tensor_specs(value_type)
        leaves = tf.nest.flatten(self._specs)
        if not all(leaf.dtype.is_floating and leaf.shape.is_fully_defined() for leaf in leaves):
            raise TypeError(f"expected float tensors of known shapes, got {value_type}.")
        self._sizes = [leaf.shape.num_elements() for leaf in leaves]
        self.size = sum(self._sizes)
        is_double = any(leaf.dtype == tf.float64 for leaf in leaves)
        self.dtype = tf.float64 if is_double else tf.float32
        self.type = tff.TensorType(np.dtype(self.dtype.as_numpy_dtype), [self.size])

    def flatten(self, value) -> tf.Tensor:
        """The value as a vector, [size]."""
        leaves = [tf.reshape(tf.cast(x, self.dtype), [-1]) for x in tf.nest.flatten(value)]
        return tf.concat(leaves, 0)

    def unflatten(self, vector: tf.Tensor):
        """The value of a vector [size], each tensor in its own dtype."""
        parts = zip(tf.split(vector, self._sizes), tf.nest.flatten(self._specs), strict=True)
        leaves = [tf.cast(tf.reshape(part, spec.shape), spec.dtype) for part, spec in parts]
        return tf.nest.pack_sequence_as(self._specs, leaves)

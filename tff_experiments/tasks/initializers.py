"""How the weights of McMahan's models are drawn before training, which the paper does not say.

keras     Keras' defaults: Glorot uniform, biases 0.
tutorial  As in TensorFlow's MNIST tutorial of the paper's year, "Deep MNIST for Experts", whose CNN
          has the paper's layers but for their width: normal of standard deviation 0.1, cut off at
          two deviations, biases 0.1.
"""

import dataclasses
from typing import Any, Literal

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Hparams:
    """How McMahan's models begin."""

    initializer: Literal["keras", "tutorial"] = "keras"
    """How first weights are drawn: as Keras does, or as TensorFlow's MNIST tutorial of 2016 did."""

    def of_layer(self) -> dict[str, Any]:
        """Arguments of one layer with a kernel and biases; Keras' seed fixes what is drawn."""
        if self.initializer == "keras":
            return {}
        return {
            "kernel_initializer": tf.keras.initializers.TruncatedNormal(stddev=0.1),
            "bias_initializer": tf.keras.initializers.Constant(0.1),
        }

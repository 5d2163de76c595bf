"""How the weights of McMahan's models are drawn before training, which the paper does not say.

keras     Keras' defaults: Glorot uniform, biases 0.
tutorial  As in TensorFlow's MNIST tutorial of the paper's year, "Deep MNIST for Experts", whose CNN
          has the paper's layers but for their width: normal of standard deviation 0.1, cut off at
          two deviations, biases 0.1.
"""

from typing import Any, Literal

import tensorflow as tf

Kind = Literal["keras", "tutorial"]


def arguments(kind: Kind) -> dict[str, Any]:
    """Arguments of one layer with a kernel and biases; Keras' seed fixes what is drawn."""
    if kind == "keras":
        return {}
    return {
        "kernel_initializer": tf.keras.initializers.TruncatedNormal(stddev=0.1),
        "bias_initializer": tf.keras.initializers.Constant(0.1),
    }

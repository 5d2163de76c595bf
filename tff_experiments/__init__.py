"""A research framework on TensorFlow Federated."""

"""A research framework on TensorFlow Federated.

Importing it makes Python look for garbage in every 20,000 new objects, where it looks in every 700:
the imports of TensorFlow and TFF, and tracing, take a tenth less time. Nearly all that they make is
freed without a collection, by its count of references.
"""

import gc

_young, *_older = gc.get_threshold()
if 0 < _young < 20_000:  # 0 is: never.
    gc.set_threshold(20_000, *_older)

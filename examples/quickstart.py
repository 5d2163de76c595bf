"""Federated averaging in thirty lines of TFF: three EMNIST clients, a Keras model, ten rounds.

python examples/quickstart.py --dataset=synthetic_emnist     generated glyphs, no download
python examples/quickstart.py --dataset=emnist               federated EMNIST, downloaded once
python examples/quickstart.py --dataset=npz --data_dir=FOLDER
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from tff_experiments import quiet

quiet.start()

import tensorflow as tf
import tensorflow_federated as tff
from absl import app, flags, logging

from tff_experiments import datasets, runtime

FLAGS = flags.FLAGS


def client_dataset(examples):
    """One client's data set, shuffled, repeated 10 times, in batches of 20: (pixels, labels)."""
    pixels = examples["images"].reshape(-1, 784).astype("float32") / 255
    dataset = tf.data.Dataset.from_tensor_slices((pixels, examples["labels"]))
    return dataset.shuffle(len(pixels), seed=0).repeat(10).batch(20)


def main(argv):
    """Trains on three clients and prints the loss of each round."""
    del argv
    logging.set_verbosity(logging.WARNING)
    hparams = datasets.BY_NAME[FLAGS.dataset].Hparams()
    clients = datasets.load(FLAGS.dataset, hparams, data_dir=FLAGS.data_dir).train
    train_data = [client_dataset(clients.examples(client)) for client in clients.client_ids[:3]]

    def model_fn():
        model = tf.keras.Sequential(
            [tf.keras.layers.Dense(62, kernel_initializer="zeros", input_shape=(784,))]
        )
        return tff.learning.models.from_keras_model(
            model,
            input_spec=train_data[0].element_spec,
            loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[tf.keras.metrics.SparseCategoricalAccuracy("accuracy")],
        )

    with runtime.use():
        trainer = tff.learning.algorithms.build_weighted_fed_avg(
            model_fn, client_optimizer_fn=tff.learning.optimizers.build_sgdm(learning_rate=0.01)
        )
        state = trainer.initialize()
        for round_num in range(1, 11):
            state, metrics = trainer.next(state, train_data)
            train = metrics["client_work"]["train"]
            print(f"round {round_num}: loss {train['loss']:.4f}, accuracy {train['accuracy']:.4f}")


if __name__ == "__main__":
    flags.DEFINE_enum(
        "dataset", "synthetic_emnist", sorted(datasets.BY_NAME), "Source of the data."
    )
    flags.DEFINE_string("data_dir", "", "Folder with the source's files.")
    app.run(main)

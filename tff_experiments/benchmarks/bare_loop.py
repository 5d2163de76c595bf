"""The limit: training in plain TensorFlow with nothing federated about it, in processes of its own.

A process' thread count is TensorFlow's global one, so that each variant needs its own.
"""

import multiprocessing
import os
import time

import tensorflow as tf

from tff_experiments.benchmarks import cases
from tff_experiments.runtime import sessions


def _serve(pipe, case: cases.Case, num_clients: int, threads: int) -> None:
    os.environ.pop(sessions.OWN_THREADS, None)  # As a plain script has it.
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    task, columns = case.build_task()
    model, loss_fn = task.keras_model(), task.loss()
    start = [tf.constant(w) for w in model.get_weights()]
    x, y = task.preprocess({name: tf.constant(column) for name, column in columns.items()})
    size = cases.BATCH_SIZE
    batches = [(x[i : i + size], y[i : i + size]) for i in range(0, case.num_examples, size)]

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_fn(y, model(x, training=True))
        variables = model.trainable_variables
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(cases.LEARNING_RATE * gradient)

    step(*batches[0])
    pipe.send("ready")
    while pipe.recv() == "train":
        for _ in range(num_clients):
            for variable, value in zip(model.trainable_variables, start, strict=True):
                variable.assign(value)
            for batch in batches:
                step(*batch)
        pipe.send("done")


class BareLoops:
    """Some loops side by side, the clients divided among them."""

    def __init__(self, case: cases.Case, *, loops: int, threads: int):
        """Starts the processes and waits until each has traced its step."""
        context = multiprocessing.get_context("spawn")
        self._pipes, self._processes = [], []
        for i in range(loops):
            ours, theirs = context.Pipe()
            share = case.num_clients // loops + (i < case.num_clients % loops)
            process = context.Process(
                target=_serve, args=(theirs, case, share, threads), daemon=True
            )
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)
        self._wait()

    def _wait(self):
        for pipe in self._pipes:
            pipe.recv()

    def train(self) -> float:
        """Trains all clients once; returns seconds."""
        start = time.perf_counter()
        for pipe in self._pipes:
            pipe.send("train")
        self._wait()
        return time.perf_counter() - start

    def close(self) -> None:
        """Ends the processes."""
        for pipe in self._pipes:
            pipe.send("end")
        for process in self._processes:
            process.join()

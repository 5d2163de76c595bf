"""Clients and server of one session in one process, which exchange nothing but messages.

Simulated are: the network (an in-memory transport that counts), the clients' machines, who drops
out when (given), and for the active variant the directory of verification keys, which clients would
have from somebody other than the server. The cryptography is not.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from tff_experiments.secure_sum import (
    client,
    group_sum,
    keys,
    messages,
    server,
    session,
    stages,
    statements,
    transport,
    vectors,
)
from tff_experiments.secure_sum.stages import ADVERTISE, CONSISTENCY, SHARE, UNMASK, UPLOAD


class Round(session.Session):
    """One secure sum. Inputs may be added from several threads, in any order."""

    def __init__(
        self,
        config: statements.Config,
        segments: Sequence[vectors.Segment],
        drops: Mapping[str, str],
        *,
        randoms: Callable[[int], keys.RandomBytes],
        permutation: Sequence[int] = (),
        tamper: transport.Tamper | None = None,
        make_client: Callable[..., client.Client] = client.Client,
    ):
        """Lets the clients advertise and share their keys.

        Args:
            config: The session's.
            segments: Of vectors.
            drops: Client -> the stage at which it drops, "" if it stays.
            randoms: A client's number -> where its secrets come from.
            permutation: See `server.Server`.
            tamper: See `transport.Transport`.
            make_client: Called as the class is; a measurement may put others in.

        Raises:
            AbortedError: Too few clients are left.
        """
        super().__init__(drops, tamper=tamper)
        self._layout = vectors.Layout(segments)
        # One source a client: a repeatable one starts again with the same bytes.
        sources = {i: randoms(i) for i in self._numbers.values()}
        signing = {}
        if config.active:
            signing = {i: keys.signing_key(source) for i, source in sources.items()}
        directory = {i: key.public_key() for i, key in signing.items()}
        self._clients = {
            i: make_client(
                i, config, self._layout, random_bytes=sources[i],
                signing_key=signing.get(i), directory=directory,
            )
            for i in self._numbers.values()
        }  # fmt: skip
        self._active, self._session_number = config.active, config.session
        self.server = server.Server(config, self._layout, permutation)
        self._lock = threading.Lock()
        self._step(ADVERTISE, lambda party, _: party.advertise_keys())
        self._step(SHARE, lambda party, message: party.share_keys(message))

    def add(self, name: str, vector: np.ndarray) -> None:
        """Has a client upload its vector, int64 [length], unless it has dropped.

        Raises:
            ValueError: The vector does not fit.
        """
        self._layout.check(vector)
        number = self._numbers[name]
        if self._is_there(number, UPLOAD):
            self._ask(UPLOAD, number, lambda party, message: party.masked_input(message, vector))

    def group(self, names: Iterable[str]) -> group_sum.Group:
        """What these clients, whose time to upload it is, need to do it elsewhere."""
        signed_keys: dict[str, group_sum.SignedKeys] = {}
        for name in names:
            number = self._numbers[name]
            if self._is_there(number, UPLOAD):
                keep = lambda keys, name=name: signed_keys.update({name: keys})
                self._ask(UPLOAD, number, client.Client.hand_over_masks, deliver=keep)
        return group_sum.Group(self._layout, signed_keys)

    def add_group(self, uploaded: group_sum.Uploaded) -> None:
        """Has the server take what a group's clients sent.

        Raises:
            ProtocolError: It breaks the protocol.
        """
        numbers = [self._numbers[name] for name in uploaded.clients]
        self._serve(lambda: self.server.receive_group(numbers, uploaded.words))
        body = bytes(self._layout.num_bytes)
        size = len(messages.encode(UPLOAD, self._session_number, body)) if numbers else 0
        for number, name in zip(numbers, uploaded.clients, strict=True):
            self.transport.upload_bytes[number] += size
            self.seconds[number] += uploaded.seconds[name]

    def finish(self) -> np.ndarray:
        """Opens the sum of the vectors that were uploaded, int64 [length].

        Raises:
            AbortedError: Too few clients are left.
            ProtocolError: The shares that came do not open it.
        """
        self._close(UPLOAD)
        if self._active:
            self._step(CONSISTENCY, lambda party, message: party.sign_survivors(message))
        self._step(UNMASK, lambda party, message: party.unmask(message))
        with self._with_metrics():
            return self._serve(self.server.sum)

    def _step(self, step: int, act) -> None:
        for number in self._numbers.values():
            if self._is_there(number, step):
                self._ask(step, number, act)
        self._close(step)

    def _close(self, step: int) -> None:
        with self._with_metrics():
            self._serve(lambda: self.server.close(step))

    def _ask(self, step: int, number: int, act, *, deliver=None) -> None:
        """One client's step: a message to it, its answer, and what the server makes of that.
        `deliver` takes the answer in place of the server.
        """
        incoming: Sequence[bytes] = (b"",)
        if step != ADVERTISE:
            if not self._serve(lambda: self.server.knows(number)):
                return
            message = self._serve(lambda: self.server.message(number))
            incoming = self.transport.send(step, transport.SERVER, number, message)
        for message in incoming:
            try:
                answer = self._work(number, lambda m=message: act(self._clients[number], m))
            except (stages.ProtocolError, stages.AbortedError) as error:
                self.refusals[number] = str(error)
                return
            if deliver:
                deliver(answer)
                continue
            for arrived in self.transport.send(step, number, transport.SERVER, answer):
                self._deliver(step, number, arrived)

    def _deliver(self, step: int, number: int, message: bytes) -> None:
        try:
            self._serve(lambda: self.server.receive(step, number, message))
        except stages.ProtocolError as error:
            self.refusals[number] = f"refused by the server: {error}"

    def _serve(self, work):
        with self._lock:
            return self._work(transport.SERVER, work)

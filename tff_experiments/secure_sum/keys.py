"""Keys, from the `cryptography` library: X25519, HKDF-SHA256, AES-256-GCM, Ed25519.

Each derived key is bound to what it is for: purpose, session (one per round) and the two clients.
Randomness comes from the operating system, unless a simulation asks to be repeatable.
"""

import os
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tff_experiments.secure_sum import stages

SIZE = 32  # Bytes of a key, private or public, and of a seed.
SESSION_SIZE = 16
SIGNATURE_SIZE = 64
TAG_SIZE = 16

RandomBytes = Callable[[int], bytes]
system_random: RandomBytes = os.urandom


def seeded_random(seed: int, *context: int | str) -> RandomBytes:
    """A repeatable source, AES-256-CTR under HKDF(seed, context). SIMULATION ONLY: not secret."""
    info = repr(context).encode()
    key = HKDF(hashes.SHA256(), SIZE, None, b"simulation" + info).derive(b"%d" % seed)
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    return lambda size: encryptor.update(bytes(size))


def derive(secret: bytes, purpose: bytes, session: bytes, *clients: int) -> bytes:
    """A key for one purpose, 32 bytes: HKDF-SHA256 (RFC 5869), everything fixed in `info`."""
    info = b"tff-experiments/%b/%b" % (purpose, session)
    info += b"".join(client.to_bytes(4, "big") for client in clients)
    return HKDF(hashes.SHA256(), SIZE, None, info).derive(secret)


def private_key(random_bytes: RandomBytes) -> x25519.X25519PrivateKey:
    """A new X25519 key."""
    return x25519.X25519PrivateKey.from_private_bytes(random_bytes(SIZE))


def public_key(data: bytes) -> x25519.X25519PublicKey:
    """Reads a public key; ProtocolError where it is none."""
    if not isinstance(data, bytes) or len(data) != SIZE:
        raise stages.ProtocolError(f"a public key is {SIZE} bytes.")
    return x25519.X25519PublicKey.from_public_bytes(data)


def agree(private: x25519.X25519PrivateKey, public: x25519.X25519PublicKey) -> bytes:
    """The X25519 secret of two keys; ProtocolError for a key of small order."""
    try:
        return private.exchange(public)
    except ValueError as error:
        raise stages.ProtocolError("a public key has small order.") from error


def seal(key: bytes, text: bytes, context: bytes) -> bytes:
    """Encrypts and authenticates; `key` must not seal another text, as the nonce is fixed."""
    return AESGCM(key).encrypt(bytes(12), text, context)


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """Decrypts; ProtocolError where text or context are not what was sealed."""
    try:
        return AESGCM(key).decrypt(bytes(12), sealed, context)
    except InvalidTag as error:
        raise stages.ProtocolError("a sealed message was altered or is another's.") from error


def signing_key(random_bytes: RandomBytes) -> ed25519.Ed25519PrivateKey:
    """A new Ed25519 key."""
    return ed25519.Ed25519PrivateKey.from_private_bytes(random_bytes(SIZE))


def verify(public: ed25519.Ed25519PublicKey, signature: bytes, statement: bytes) -> None:
    """Raises ProtocolError where the signature is not of this statement by this key."""
    try:
        public.verify(signature, statement)
    except InvalidSignature as error:
        raise stages.ProtocolError("a signature does not hold.") from error

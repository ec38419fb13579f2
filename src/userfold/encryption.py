"""Encrypts what must be read again, with a key that is kept apart from the database: TOTP secrets.

There may be several keys: the first encrypts, all decrypt. So a key is replaced while the server runs on: put a new one
first, restart, encrypt everything anew, take the old one away (`userfold encryption`).

A text that was encrypted is Fernet's: AES-128-CBC, and an HMAC by which a wrong key and a changed text are noticed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from userfold.storage.port import StoreError, StoreUnavailable


class SecretUnreadable(StoreError):
    """What is stored was encrypted with a key that this server does not have."""

    code = "secret_unreadable"


class Encryption:
    """Encrypts and decrypts texts. Quick: a few µs each."""

    def __init__(self, keys: Sequence[str]) -> None:
        """`keys`: the first encrypts, all decrypt. Raises `ValueError` if one is no key."""
        assert keys, "something must encrypt"
        self._first = Fernet(keys[0])
        self._all = MultiFernet([Fernet(key) for key in keys])

    def encrypt(self, text: str) -> str:
        """`text`, encrypted with the first key: another text each time."""
        return self._all.encrypt(text.encode()).decode()

    def decrypt(self, encrypted: str) -> str:
        """What was encrypted with any of the keys. Raises `SecretUnreadable`."""
        return _decrypt(self._all, encrypted)

    def is_current(self, encrypted: str) -> bool:
        """Whether it was encrypted with the first key."""
        try:
            _decrypt(self._first, encrypted)
        except SecretUnreadable:
            return False
        return True


def encryption_in_memory() -> Encryption:
    """With a key that goes with the process."""
    return Encryption([new_key()])


def new_key() -> str:
    """A key: 32 random bytes in base 64, with the letters of URLs."""
    return Fernet.generate_key().decode()


def read_keys(file: Path) -> list[str]:
    """The keys of a file, one a line. Raises `StoreUnavailable` if it is missing or holds anything else."""
    try:
        keys = file.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise StoreUnavailable(f"the encryption keys cannot be read from {file}: {reason}") from error
    try:
        for key in keys:
            Fernet(key)
    except ValueError:
        keys = []
    if not keys:
        raise StoreUnavailable(f"{file} must hold encryption keys, one a line, and nothing else")
    return keys


def make_key_file(file: Path) -> bool:
    """Make a file with one new key, unless it is there; whether it was made. Raises `StoreUnavailable`."""
    return not os.path.lexists(file) and _write(file, [new_key()], replace=False)


def put_key_first(file: Path, key: str) -> None:
    """Let `key` encrypt from now on, and those of the file go on decrypting. Raises `StoreUnavailable`."""
    _write(file, [key, *read_keys(file)], replace=True)


def _decrypt(fernet: Fernet | MultiFernet, encrypted: str) -> str:
    try:
        return fernet.decrypt(encrypted).decode()
    except (InvalidToken, ValueError):
        raise SecretUnreadable("a secret was encrypted with a key that is not among those given") from None


def _write(file: Path, keys: Sequence[str], *, replace: bool) -> bool:
    """Write a file that only its owner can read, whole and durably. False if it is there and may not be replaced."""
    partial = file.with_name(f"{file.name}.{secrets.token_hex(4)}.partial")
    try:
        with open(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as target:
            target.write("".join(key + "\n" for key in keys))
            target.flush()
            os.fsync(target.fileno())
        if replace:
            partial.replace(file)
        else:
            os.link(partial, file)  # refused if somebody else was faster
        _sync(file.parent)
    except FileExistsError:
        return False
    except OSError as error:
        raise StoreUnavailable(f"the encryption key cannot be written to {file}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return True


def _sync(folder: Path) -> None:
    """Once it returns, the name of a new file is not lost in a power cut: what was encrypted would be."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Encryption with several keys, and the file in which they are."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from userfold.encryption import (
    Encryption,
    SecretUnreadable,
    encryption_in_memory,
    make_key_file,
    new_key,
    put_key_first,
    read_keys,
)
from userfold.storage.port import StoreUnavailable


def test_a_text_comes_back_and_cannot_be_told_from_what_is_stored() -> None:
    encryption = encryption_in_memory()
    encrypted = encryption.encrypt("JBSWY3DPEHPK3PXP")
    assert encryption.decrypt(encrypted) == "JBSWY3DPEHPK3PXP"
    assert "JBSWY3DPEHPK3PXP" not in encrypted
    assert encryption.encrypt("JBSWY3DPEHPK3PXP") != encrypted


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    old, new = new_key(), new_key()
    by_old = Encryption([old]).encrypt("a")
    both = Encryption([new, old])
    assert both.decrypt(by_old) == "a"
    assert not both.is_current(by_old)
    by_both = both.encrypt("b")
    assert both.is_current(by_both)
    assert Encryption([new]).decrypt(by_both) == "b"
    with pytest.raises(SecretUnreadable):
        Encryption([old]).decrypt(by_both)


def test_a_text_that_was_changed_is_noticed() -> None:
    encryption = encryption_in_memory()
    encrypted = encryption.encrypt("a")
    other = "A" if encrypted[20] != "A" else "B"
    for changed in (encrypted[:-5] + "AAAA=", encrypted[:20] + other + encrypted[21:], "", "no such text", "é"):
        with pytest.raises(SecretUnreadable) as refused:
            encryption.decrypt(changed)
        assert not changed or changed not in str(refused.value)


def test_a_file_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "secret.key"
    before = os.umask(0)
    try:
        assert make_key_file(file)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    keys = read_keys(file)
    assert len(keys) == 1
    assert not make_key_file(file)
    assert read_keys(file) == keys
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


def test_a_key_that_is_put_first_leaves_the_others(tmp_path: Path) -> None:
    file = tmp_path / "secret.key"
    make_key_file(file)
    (old,) = read_keys(file)
    new = new_key()
    put_key_first(file, new)
    assert read_keys(file) == [new, old]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"a key", b"\xff", new_key().encode() + b"\nanother"],
    ids=["nothing", "a blank line", "a text", "no text", "a key and a text"],
)
def test_a_file_with_anything_else_is_refused_without_being_repeated(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secret.key"
    file.write_bytes(content)
    with pytest.raises(StoreUnavailable) as refused:
        read_keys(file)
    assert str(file) in str(refused.value)
    assert "another" not in str(refused.value)
    with pytest.raises(StoreUnavailable):
        put_key_first(file, new_key())
    assert file.read_bytes() == content


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="missing"):
        make_key_file(tmp_path / "missing" / "secret.key")
    with pytest.raises(StoreUnavailable, match="missing"):
        read_keys(tmp_path / "missing" / "secret.key")

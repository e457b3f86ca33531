import pytest

from bot.embedded.job import Vault, WrongKey

KEY = "a long random text"


def test_a_text_is_decrypted_with_the_same_key() -> None:
    for text in ["", "hunter2", "päß wörd\n\0", "x" * 5000]:
        sealed = Vault(KEY).seal(text)
        assert Vault(KEY).open(sealed) == text


def test_an_encrypted_text_reveals_nothing_and_differs_each_time() -> None:
    vault = Vault(KEY)
    first, second = vault.seal("hunter2"), vault.seal("hunter2")
    assert first != second
    assert "hunter2" not in first


def test_another_key_decrypts_nothing() -> None:
    sealed = Vault(KEY).seal("hunter2")
    for key, text in ((KEY + "x", sealed), (KEY, sealed[:-4] + "AAAA"), (KEY, "nonsense é")):
        with pytest.raises(WrongKey, match="SECRET_KEY has changed"):
            Vault(key).open(text)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="SECRET_KEY is too short"):
        Vault("x" * 15)

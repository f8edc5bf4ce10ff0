"""Secret keys: what they protect, and how a wrong one refuses."""

import stat
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from service.kernel.crypto import Keys, KeysError, Vault, load_keys, normalised, write_keys
from service.kernel.ids import new_id
from service.kernel.settings import Settings

KEYS = Keys.generate()
VAULT = Vault(KEYS)
COLUMN = "patient_files.phone"
texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts, st.uuids())
def test_what_is_encrypted_is_read_again_and_nowhere_to_be_seen(text: str, row: UUID) -> None:
    stored = VAULT.encrypt(text, column=COLUMN, row=row)
    assert stored is not None
    assert VAULT.decrypt(stored, column=COLUMN, row=row) == text
    assert len(text) < 4 or text.encode() not in stored
    assert stored != VAULT.encrypt(text, column=COLUMN, row=row)  # a new nonce each time


def test_nothing_stays_nothing() -> None:
    assert VAULT.encrypt(None, column=COLUMN, row=new_id()) is None
    assert VAULT.decrypt(None, column=COLUMN, row=new_id()) is None


def test_a_value_in_another_row_or_column_does_not_decrypt() -> None:
    row = new_id()
    stored = VAULT.encrypt("+33600000000", column=COLUMN, row=row)
    for column, other in ((COLUMN, new_id()), ("patient_files.email", row)):
        with pytest.raises(KeysError, match="does not decrypt"):
            VAULT.decrypt(stored, column=column, row=other)


def test_a_value_of_other_keys_does_not_decrypt() -> None:
    row = new_id()
    stored = VAULT.encrypt("+33600000000", column=COLUMN, row=row)
    with pytest.raises(KeysError, match="does not decrypt"):
        Vault(Keys.generate()).decrypt(stored, column=COLUMN, row=row)


@given(st.data())
def test_a_value_changed_or_cut_anywhere_is_refused_with_a_sentence(data: st.DataObject) -> None:
    row = new_id()
    stored = VAULT.encrypt("Dupont", column=COLUMN, row=row)
    assert stored is not None
    at = data.draw(st.integers(0, len(stored) - 1))
    flipped = data.draw(st.integers(1, 255))
    changed = stored[:at] + bytes([stored[at] ^ flipped]) + stored[at + 1 :]
    for wrong in (changed, stored[:at]):
        with pytest.raises(KeysError) as refusal:
            VAULT.decrypt(wrong, column=COLUMN, row=row)
        assert "Dupont" not in str(refusal.value)


def test_after_a_rotation_old_values_are_read_and_new_ones_use_the_new_key() -> None:
    row = new_id()
    old = VAULT.encrypt("before", column=COLUMN, row=row)
    assert old is not None
    both = KEYS.model_copy(
        update={"encryption": {**KEYS.encryption, 2: Keys.generate().encryption[1]}}
    )
    rotated = Vault(both)
    assert rotated.decrypt(old, column=COLUMN, row=row) == "before"
    new = rotated.encrypt("after", column=COLUMN, row=row)
    assert new is not None
    assert (old[1], new[1]) == (1, 2)
    assert rotated.decrypt(new, column=COLUMN, row=row) == "after"
    with pytest.raises(KeysError, match="not loaded"):
        VAULT.decrypt(new, column=COLUMN, row=row)


# --- blind indexes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Lefèvre-Noël", "LEFEVRE NOEL"),
        ("d'Arc", "D’ARC"),
        ("Straße", "STRASSE"),
        ("e\u0301", "é"),
        ("ﬁacre", "Fiacre"),
        (" Nguyễn ", "nguyen"),
    ],
)
def test_spellings_of_one_name_have_one_index(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)
    index = VAULT.blind_index(one, purpose="name")
    assert index == VAULT.blind_index(other, purpose="name")


@given(texts)
def test_a_normalised_value_stays_as_it_is(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


@given(st.text(st.sampled_from("abcçdéèêëiïîoöôœuùüÿæñß'’- ABCÉÈÇŒ")))
def test_capitals_make_no_other_name(text: str) -> None:
    assert normalised(text.upper()) == normalised(text) == normalised(text.lower())


def test_other_values_purposes_keys_and_cuts_have_other_indexes() -> None:
    indexes = [
        VAULT.blind_index("Martin", "Lea", purpose="name"),
        VAULT.blind_index("Martin", "Leo", purpose="name"),
        VAULT.blind_index("Lea", "Martin", purpose="name"),
        VAULT.blind_index("MartinLea", purpose="name"),
        VAULT.blind_index("MartinL", "ea", purpose="name"),
        VAULT.blind_index("Martin", "Lea", purpose="phone"),
        Vault(Keys.generate()).blind_index("Martin", "Lea", purpose="name"),
    ]
    assert len(set(indexes)) == len(indexes)
    assert {len(index) for index in indexes} == {32}


def test_digests_of_different_uses_never_compare_equal() -> None:
    assert VAULT.fingerprint(b"x") != VAULT.secret_digests("x")[0]
    assert VAULT.fingerprint(b"x") != Vault(Keys.generate()).fingerprint(b"x")


# --- several encryption keys ----------------------------------------------------------------------


def test_a_new_key_reads_before_it_writes() -> None:
    """Handed from server to server: none of them meets what it cannot read."""
    row = new_id()
    two = KEYS.with_another()
    old, handed_round = Vault(KEYS), Vault(two)
    new = Vault(two.model_copy(update={"writes_with": None}))
    for writer, reader in ((handed_round, old), (old, handed_round), (new, handed_round)):
        written = writer.encrypt("Martin", column=COLUMN, row=row)
        assert reader.decrypt(written, column=COLUMN, row=row) == "Martin"
    assert (old.current, handed_round.current, new.current) == (1, 1, 2)
    with pytest.raises(KeysError, match="a key that is not loaded"):
        old.decrypt(new.encrypt("Martin", column=COLUMN, row=row), column=COLUMN, row=row)


def test_what_is_encrypted_anew_is_under_the_key_that_writes() -> None:
    row = new_id()
    new = Vault(KEYS.with_another().model_copy(update={"writes_with": None}))
    before = Vault(KEYS).encrypt("Martin", column=COLUMN, row=row)
    after = new.encrypt_anew(before, column=COLUMN, row=row)
    assert after is not None
    assert (after[1], new.decrypt(after, column=COLUMN, row=row)) == (2, "Martin")
    assert new.encrypt_anew(after, column=COLUMN, row=row) is after
    assert new.encrypt_anew(None, column=COLUMN, row=row) is None
    with pytest.raises(KeysError):
        new.encrypt_anew(before, column=COLUMN, row=new_id())


def test_the_numbers_of_keys_end() -> None:
    keys = KEYS.model_copy(update={"encryption": {255: KEYS.encryption[1]}})
    with pytest.raises(KeysError):
        keys.with_another()


# --- keys files ---------------------------------------------------------------------------------


def test_a_keys_file_is_read_again_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_keys(path, KEYS)
    assert load_keys(Settings(keys_file=path, keys=None)) == KEYS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_keys_file_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_keys(path, KEYS)
    with pytest.raises(FileExistsError):
        write_keys(path, Keys.generate())
    assert load_keys(Settings(keys_file=path)) == KEYS


SECRET = KEYS.token
WRONG = [
    "",
    "{",
    "[]",
    "{}",
    KEYS.model_dump_json().replace('"1"', '"0"'),
    KEYS.model_dump_json().replace('"1"', '"256"'),
    KEYS.model_dump_json().replace(SECRET, SECRET[:-1]),
    KEYS.model_dump_json().replace('"token"', '"tokens"'),
    KEYS.model_copy(update={"encryption": {}}).model_dump_json(),
    KEYS.model_copy(update={"writes_with": 2}).model_dump_json(),
]


@pytest.mark.parametrize("content", WRONG, ids=map(str, range(len(WRONG))))
def test_unusable_keys_are_refused_with_one_sentence_without_the_keys(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    for settings in (Settings(keys_file=path), Settings(keys=SecretStr(content))):
        with pytest.raises(KeysError) as refusal:
            load_keys(settings)
        _one_sentence(str(refusal.value))
        assert SECRET[:-1] not in str(refusal.value)


def test_a_keys_file_that_cannot_be_read_is_told_with_one_sentence(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for settings in (
        Settings(),
        Settings(keys_file=tmp_path / "missing.json"),
        Settings(keys_file=tmp_path),
        Settings(keys_file=binary),
    ):
        with pytest.raises(KeysError) as refusal:
            load_keys(settings)
        _one_sentence(str(refusal.value))


def _one_sentence(text: str) -> None:
    assert text.endswith((".", ")."))
    assert "\n" not in text
    assert len(text) < 300

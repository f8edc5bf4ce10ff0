"""Secret keys and what is made with them: encrypted columns, blind indexes, fingerprints.

A value is stored as `0x01 | key id | nonce (12) | AES-256-GCM(ciphertext + tag)`. The column and
the row are authenticated with it, so a value copied into another row or column does not decrypt.
A blind index is an HMAC-SHA256 of the normalised value: equal values are found, nothing is read.
"""

import base64
import hashlib
import hmac
import os
import re
import unicodedata
from pathlib import Path
from typing import Annotated, Literal, Self
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.kernel.settings import Settings

_FORMAT = 1
_KEY_BYTES = 32
_HIGHEST = 255  # its number is one byte of each value
_NONCE_BYTES = 12
_BLOCK_BYTES = 64  # of SHA-256
_SHORTEST = 2 + _NONCE_BYTES + 16  # an empty text, with its authentication tag

Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}=?$")]
Renewable = Literal["token", "server", "audit"]


class KeysError(Exception):
    """The keys are missing or unusable; the message says what to do."""


class Keys(BaseModel):
    """The secret keys of an installation: 32 random bytes each, base64url.

    Without `audit` the traces are chained all the same, and whoever has the database can chain them
    anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encryption: dict[Annotated[int, Field(ge=1, le=_HIGHEST)], Key] = Field(
        min_length=1, repr=False
    )
    # Which of them writes; by default the highest. While a new one is handed to one server after
    # the other, the old one goes on writing: each server reads what the others write.
    writes_with: int | None = None
    index: Key = Field(repr=False)
    token: Key = Field(repr=False)
    server: Key = Field(repr=False)
    audit: Key | None = Field(None, repr=False)
    # Keys that are known beside those above, and that make nothing: the next one while it is handed
    # to one server after the other, then the one before.
    also: dict[Renewable, Key] = Field(default_factory=dict, repr=False)

    @model_validator(mode="after")
    def _writes_with_one_of_them(self) -> Self:
        if self.writes_with is not None and self.writes_with not in self.encryption:
            raise ValueError("writes_with is none of the encryption keys")
        return self

    @classmethod
    def generate(cls) -> Self:
        """Make a new set of keys. Whoever loses it loses every patient's identity."""
        return cls(
            encryption={1: _random()},
            index=_random(),
            token=_random(),
            server=_random(),
            audit=_random(),
        )

    def with_next(self, kind: Renewable) -> Self:
        """Add another key of a kind, which is known and makes nothing yet."""
        if kind in self.also or getattr(self, kind) is None:
            why = "has another one already" if kind in self.also else "is not in it"
            raise KeysError(f"The key {kind} of this file {why}.")
        also: dict[Renewable, Key] = {**self.also, kind: _random()}
        return self.model_copy(update={"also": also})

    def turned(self, kind: Renewable) -> Self:
        """Let the other key of a kind make what this one made, which is known further on."""
        if kind not in self.also:
            raise KeysError(f"The key {kind} of this file has no other one: snp keys add.")
        also: dict[Renewable, Key] = {**self.also, kind: getattr(self, kind)}
        return self.model_copy(update={kind: self.also[kind], "also": also})

    def with_another(self) -> Self:
        """Add an encryption key of the next number, with which nobody writes yet."""
        highest = max(self.encryption)
        if highest == _HIGHEST:
            raise KeysError(f"There is no encryption key above {_HIGHEST}.")
        return self.model_copy(
            update={
                "encryption": {**self.encryption, highest + 1: _random()},
                "writes_with": self.writes_with or highest,
            }
        )


def _random() -> str:
    return base64.urlsafe_b64encode(os.urandom(_KEY_BYTES)).decode().rstrip("=")


def _decode(key: str) -> bytes:
    return base64.urlsafe_b64decode(key.rstrip("=") + "=")


def load_keys(settings: Settings) -> Keys:
    """Read the keys from `SNP_KEYS` or `SNP_KEYS_FILE`. Refuses with one sentence."""
    if settings.keys is not None:
        text, source = settings.keys.get_secret_value(), "SNP_KEYS"
    elif settings.keys_file is not None:
        source = f"the keys file {settings.keys_file}"
        text = _read(settings.keys_file)
    else:
        raise KeysError(
            "No secret keys: set SNP_KEYS_FILE to a file made by `snp keys generate FILE`."
        )
    try:
        return Keys.model_validate_json(text)
    except ValidationError as error:
        raise KeysError(
            f"{source} is not a set of keys as made by `snp keys generate` "
            f"({error.error_count()} members wrong)."
        ) from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise KeysError(f"The keys file {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise KeysError(f"The keys file {path} is not a text file.") from None


def write_keys(path: Path, keys: Keys) -> None:
    """Write the keys to a new file that only its owner may read. An existing file is kept."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(keys.model_dump_json(indent=2, exclude_defaults=True) + "\n")


class Prover:
    """Proves to the database that the service says something (kernel/wall.py)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def prove(self, said: str) -> str:
        """Return a text behind its HMAC-SHA256, in hexadecimal."""
        return f"{hmac.digest(self._key, said.encode(), hashlib.sha256).hex()} {said}"

    @property
    def pads(self) -> tuple[bytes, bytes]:
        """Return what checks it: the key XORed with the inner and the outer pad of HMAC."""
        key = self._key.ljust(_BLOCK_BYTES, b"\0")
        return bytes(b ^ 0x36 for b in key), bytes(b ^ 0x5C for b in key)


class Vault:
    """What the process does with its keys. Derived keys are separated by use.

    Where a key has another one beside it (`Keys.also`), the first of a list makes, all are known.
    """

    def __init__(self, keys: Keys) -> None:
        self._aead = {
            number: AESGCM(_derive(_decode(key), b"snp/column/v1"))
            for number, key in keys.encryption.items()
        }
        self.current = keys.writes_with or max(self._aead)
        self.numbers = frozenset(self._aead)
        self._index = _derive(_decode(keys.index), b"snp/blind-index/v1")
        # Not with the key `server`, which may change while a request is sent again.
        self._fingerprint = _derive(_decode(keys.index), b"snp/fingerprint/v1")

        def each(kind: Renewable, purpose: bytes) -> list[bytes]:
            known = (getattr(keys, kind), keys.also.get(kind))
            return [_derive(_decode(key), purpose) for key in known if key is not None]

        self._secrets = each("server", b"snp/client-secret/v1")
        self.provers = [Prover(key) for key in each("server", b"snp/wall/v1")]
        self.token_keys = each("token", b"snp/token/v1")
        self.link_keys = each("server", b"snp/report-link/v1")
        self._audits = each("audit", b"snp/audit-seal/v1")
        named = {f"encryption {number}": key for number, key in keys.encryption.items()}
        named |= {name: getattr(keys, name) for name in ("index", "server", "token")}
        if keys.audit is not None:
            named["audit"] = keys.audit
        # Which keys these are; from it no key can be found, and nothing is protected by it.
        self.fingerprints = {name: _told(key) for name, key in named.items()}
        self.also_fingerprints = {str(kind): _told(key) for kind, key in keys.also.items()}

    def encrypt(self, value: str | None, *, column: str, row: UUID) -> bytes | None:
        """Encrypt a value for one column (`table.column`) of one row."""
        if value is None:
            return None
        nonce = os.urandom(_NONCE_BYTES)
        head = bytes((_FORMAT, self.current))
        body = self._aead[self.current].encrypt(nonce, value.encode(), _place(column, row))
        return head + nonce + body

    def decrypt(self, stored: bytes | None, *, column: str, row: UUID) -> str | None:
        """Decrypt a stored value; a wrong key, row or column is an error, never garbage."""
        if stored is None:
            return None
        if len(stored) < _SHORTEST or stored[0] != _FORMAT:
            raise KeysError(f"A value of {column} is not what this service encrypts.")
        if stored[1] not in self._aead:
            raise KeysError(f"A value of {column} is encrypted with a key that is not loaded.")
        nonce, body = stored[2 : 2 + _NONCE_BYTES], stored[2 + _NONCE_BYTES :]
        try:
            return self._aead[stored[1]].decrypt(nonce, body, _place(column, row)).decode()
        except InvalidTag:
            raise KeysError(f"A value of {column} does not decrypt with the loaded key.") from None

    def encrypt_anew(self, stored: bytes | None, *, column: str, row: UUID) -> bytes | None:
        """Return a stored value under the key that writes, if it is not already."""
        if stored is None or stored[1] == self.current:
            return stored
        return self.encrypt(self.decrypt(stored, column=column, row=row), column=column, row=row)

    def blind_index(self, *values: str, purpose: str) -> bytes:
        """Index normalised values under a purpose, so that two purposes never compare equal."""
        text = "\x1f".join((purpose, *(normalised(value) for value in values)))
        return hmac.digest(self._index, text.encode(), hashlib.sha256)

    def fingerprint(self, content: bytes) -> bytes:
        """Keyed digest of a request, so that a stored one cannot be guessed back."""
        return hmac.digest(self._fingerprint, content, hashlib.sha256)

    def mac(self, content: bytes, *, like: bytes | None = None) -> bytes | None:
        """Authenticate a seal over the traces; None without the key `audit`.

        With the key that made `like` of it, if one of them did.
        """
        made = [hmac.digest(key, content, hashlib.sha256) for key in self._audits]
        return like if like in made else made[0] if made else None

    def secret_digests(self, secret: str) -> list[bytes]:
        """Digest a 256-bit random secret; a slow hash would protect nothing more."""
        return [hmac.digest(key, secret.encode(), hashlib.sha256) for key in self._secrets]


def _derive(master: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=None, info=purpose).derive(
        master
    )


def _told(key: str) -> str:
    return _derive(_decode(key), b"snp/key-fingerprint/v1")[:16].hex()


def _place(column: str, row: UUID) -> bytes:
    return column.encode() + b"\x00" + row.bytes


# Of all characters, exactly those that are not `str.isalnum`.
_NEITHER_LETTER_NOR_DIGIT = re.compile(r"[\W_]+")


def normalised(value: str) -> str:
    """Keep letters and digits, casefolded, without accents: `Lefèvre-Noël` = `LEFEVRE NOEL`."""
    # Decomposing may yield capitals, and folding composed letters: so it is done before and after.
    folded = unicodedata.normalize("NFKD", value).casefold()
    decomposed = unicodedata.normalize("NFKD", folded)
    return _NEITHER_LETTER_NOR_DIGIT.sub("", decomposed)

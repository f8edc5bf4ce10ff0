"""A certificate authority of one test run."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Authority:
    """Signs certificates, and keeps them with their keys in a folder."""

    folder: Path
    name: str = "authority"
    _signing: ec.EllipticCurvePrivateKey = field(default_factory=_key)

    def __post_init__(self) -> None:
        self._subject = x509.Name.from_rfc4514_string(f"CN={self.name}")
        root = self._built(self._subject, self._signing, timedelta(days=1), is_root=True)
        (self.folder / f"{self.name}.pem").write_bytes(root.public_bytes(Encoding.PEM))

    def certificate(self, name: str, subject: str, *, lasts: timedelta = timedelta(days=1)) -> Path:
        """Sign a certificate; returns the file of it and its key."""
        key = _key()
        made = self._built(x509.Name.from_rfc4514_string(subject), key, lasts)
        path = self.folder / f"{name}.pem"
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + made.public_bytes(Encoding.PEM)
        )
        return path

    def _built(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        lasts: timedelta,
        *,
        is_root: bool = False,
    ) -> x509.Certificate:
        ends = datetime.now(UTC) + lasts
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(ends - timedelta(days=30))
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]),
                critical=False,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._signing.public_key()),
                critical=False,
            )
            .sign(self._signing, hashes.SHA256())
        )

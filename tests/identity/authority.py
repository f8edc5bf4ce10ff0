"""A certificate authority of one test run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_DAY = timedelta(days=1)


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Authority:
    """Signs certificates, and keeps them with their keys in a folder. `above` signs its own."""

    folder: Path
    name: str = "authority"
    above: "Authority | None" = None
    _signing: ec.EllipticCurvePrivateKey = field(default_factory=_key)

    def __post_init__(self) -> None:
        self._subject = x509.Name.from_rfc4514_string(f"CN={self.name}")
        signer = self.above or self
        own = signer._built(self._subject, self._signing, _DAY, is_root=True)
        (self.folder / f"{self.name}.pem").write_bytes(own.public_bytes(Encoding.PEM))

    def revoked(self, certificates: Sequence[Path] = (), *, lasts: timedelta = _DAY) -> bytes:
        """Return its list of revoked certificates, PEM."""
        now = datetime.now(UTC)
        made = x509.CertificateRevocationListBuilder(
            issuer_name=self._subject,
            last_update=now - timedelta(days=2),
            next_update=now + lasts,
        )
        for path in certificates:
            serial = x509.load_pem_x509_certificate(path.read_bytes()).serial_number
            made = made.add_revoked_certificate(
                x509.RevokedCertificateBuilder(serial, now - timedelta(days=1)).build()
            )
        return made.sign(self._signing, hashes.SHA256()).public_bytes(Encoding.PEM)

    def certificate(
        self, name: str, subject: str, *, lasts: timedelta = _DAY, hosts: Sequence[str] = ()
    ) -> Path:
        """Sign a certificate; returns the file of it and its key."""
        key = _key()
        made = self._built(x509.Name.from_rfc4514_string(subject), key, lasts, hosts=hosts)
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
        hosts: Sequence[str] = (),
    ) -> x509.Certificate:
        ends = datetime.now(UTC) + lasts
        here = x509.IPAddress(ip_address("127.0.0.1"))
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
                x509.SubjectAlternativeName([here, *map(x509.DNSName, hosts)]), critical=False
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

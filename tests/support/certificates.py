"""A certificate authority of a test's own, and what it vouches for."""

from __future__ import annotations

import datetime
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@frozen(kw_only=True)
class Authority:
    """A certificate authority; what it signs is valid from yesterday to tomorrow, as it is itself."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls, name: str = "Authority of a test") -> Authority:
        """Make one."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _certificate(_named(name), _named(name), key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        return cls(key=key, certificate=builder.sign(key, hashes.SHA256()))

    @property
    def pem(self) -> str:
        """Its certificate, for those who are to trust it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def vouch_for(self, host: str, folder: Path) -> tuple[Path, Path]:
        """Make a certificate for a host; return the files with the certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _certificate(_named(host), self.certificate.subject, key).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False
        )
        signed, secret = folder / f"{host}.pem", folder / f"{host}.key"
        signed.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return signed, secret


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
    )

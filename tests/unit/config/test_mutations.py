"""Whatever stands in the file, the answer is a manifest or a list of problems."""

from __future__ import annotations

import string
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.config import ConfigError, compile_settings, examine, load
from penstock.config.tree import plain, read_tree

Write = Callable[[str], Path]

FRAGMENTS = st.sampled_from(
    [
        *"{}[]:,#&*!|>'\"%@`-? \n\t\\~<\0\ufeff\x85",
        *("\n  ", "- ", ": ", "null", "true", "1e999", "0x10", "<<", "&a ", "*a", "!!int ", "---\n", "...\n", "name"),
        *("rules", "*:*.*.*", "unix:", "[[[[", "%YAML 1.1\n", "\\U00110000", "9" * 400, "pst_", "é", "😀", "\ud7ff"),
    ]
)
RELAXED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def _survives(path: Path, environ: dict[str, str]) -> None:
    loaded, problems = examine(path, environ=environ)
    for problem in problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.text()
    if loaded is None:
        assert any(problem.level == "error" for problem in problems)
        with pytest.raises(ConfigError):
            load(path, environ=environ)
    else:
        compile_settings(loaded.manifest, 1)


@given(
    cuts=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 12), FRAGMENTS), min_size=1, max_size=6),
)
@RELAXED
def test_a_mutated_manifest(write: Write, good: str, environ: dict[str, str], cuts: list[tuple[int, int, str]]) -> None:
    path = write(good)
    text = path.read_text()
    for at, length, fragment in cuts:
        place = at % len(text)
        text = text[:place] + fragment + text[place + length :]
    path.write_text(text)
    _survives(path, environ)


@given(lines=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=8))
@RELAXED
def test_lines_moved_about(write: Write, good: str, environ: dict[str, str], lines: list[tuple[int, int]]) -> None:
    path = write(good)
    text = path.read_text().splitlines(keepends=True)
    for source, goal in lines:
        text.insert(goal % len(text), text[source % len(text)])
        del text[source % len(text)]
    path.write_text("".join(text))
    _survives(path, environ)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(string.printable, max_size=12)
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["name", "env", "mode", "id", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)


@given(data=st.data())
@RELAXED
def test_any_value_anywhere(write: Write, good: str, environ: dict[str, str], data: st.DataObject) -> None:
    """Every value of the good manifest in turn becomes something else."""
    import json

    tree = read_tree(write(good).read_text(), "x", [])
    assert tree is not None
    whole = plain(tree)
    node, key = whole, data.draw(st.sampled_from(sorted(whole)))
    while isinstance(node[key], (dict, list)) and node[key] and data.draw(st.booleans()):
        node = node[key]
        key = data.draw(st.sampled_from(sorted(node)) if isinstance(node, dict) else st.integers(0, len(node) - 1))
    node[key] = data.draw(ANYTHING)
    path = write(good)
    path.write_text(json.dumps(whole))
    _survives(path, environ)


@given(content=st.binary(max_size=300))
@RELAXED
def test_any_bytes(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.yaml"
        path.write_bytes(content)
        _survives(path, {})


@pytest.mark.parametrize("depth", [10, 1000, 100_000])
@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_ends_quickly(tmp_path: Path, opening: str, depth: int) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(opening * depth)
    _, problems = examine(path)
    assert problems

"""Reloading: all or nothing, and the last good manifest stays."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import orjson
import pytest

from penstock.config import load
from penstock.config.loading import Loaded
from penstock.config.watch import Reloaded, Watcher, stamp
from penstock.errors import SeamError

Write = Callable[[str], Path]


class Gateway:
    """Takes settings over, unless told not to."""

    def __init__(self) -> None:
        self.settings: list[dict[str, Any]] = []
        self.refuse: Exception | None = None
        self.reports: asyncio.Queue[Reloaded] = asyncio.Queue()

    async def apply(self, loaded: Loaded, settings: bytes, generation: int) -> None:
        if self.refuse is not None:
            raise self.refuse
        document = orjson.loads(settings)
        assert document["generation"] == generation
        assert len(loaded.manifest.rules) == len(document["rules"])
        self.settings.append(document)


Scene = Callable[[Watcher, Gateway, Path], Awaitable[None]]


@pytest.fixture
def play(write: Write, good: str, environ: dict[str, str]) -> Callable[[Scene], None]:
    """Runs a scene beside a watcher of the good manifest."""

    def player(scene: Scene) -> None:
        async def main() -> None:
            path = write(good)
            gateway = Gateway()
            watcher = Watcher(
                path,
                load(path, environ=environ),
                load=lambda: load(path, environ=environ),
                apply=gateway.apply,
                report=gateway.reports.put_nowait,
                interval=0.03,
            )
            running = asyncio.create_task(watcher.run())
            try:
                async with asyncio.timeout(20):
                    await scene(watcher, gateway, path)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

        asyncio.run(main())

    return player


async def quiet(gateway: Gateway) -> bool:
    """Whether nothing is reported for a while."""
    await asyncio.sleep(0.25)
    return gateway.reports.empty()


def text_of(path: Path) -> str:
    return path.read_text()


def remove(path: Path) -> None:
    path.unlink()


def put(path: Path, text: str) -> None:
    path.write_text(text)


def replace(path: Path, text: str) -> None:
    """Like editors and mounted secrets do: a new file under the old name."""
    other = path.with_suffix(".new")
    other.write_text(text)
    other.rename(path)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_nothing_changes_nothing_happens(play: Callable[[Scene], None]) -> None:
    async def scene(watcher: Watcher, gateway: Gateway, path: Path) -> None:
        assert await quiet(gateway)
        os.utime(path)
        assert (await gateway.reports.get()).loaded is not None

    play(scene)


def test_a_change_is_taken_over(play: Callable[[Scene], None]) -> None:
    async def scene(watcher: Watcher, gateway: Gateway, path: Path) -> None:
        edit(path, "allow: [read]", "allow: [write]")
        report = await gateway.reports.get()
        assert (report.generation, report.why, report.restart) == (2, None, ())
        assert gateway.settings[-1]["rules"][0]["allow"] == ["write"]
        assert watcher.current is report.loaded
        assert await quiet(gateway)

    play(scene)


def test_a_replaced_file_and_a_changed_secret_are_changes(play: Callable[[Scene], None]) -> None:
    async def scene(watcher: Watcher, gateway: Gateway, path: Path) -> None:
        replace(path, text_of(path).replace("./trail", "./elsewhere"))
        assert (await gateway.reports.get()).restart == ("trail",)
        put(path.parent / "shop.secret", "rotated")
        assert (await gateway.reports.get()).loaded is not None
        assert gateway.settings[-1]["targets"][0]["credentials"]["migrator"]["password"] == "rotated"
        assert await quiet(gateway)

    play(scene)


def test_a_wrong_manifest_changes_nothing(play: Callable[[Scene], None]) -> None:
    async def scene(watcher: Watcher, gateway: Gateway, path: Path) -> None:
        first = watcher.current
        edit(path, "allow: [read]", "allow: [reed]")
        report = await gateway.reports.get()
        assert report.loaded is None
        assert [each.line for each in report.problems] == [35]
        assert watcher.current is first
        assert watcher.failed is report
        assert gateway.settings == []
        assert await quiet(gateway)
        edit(path, "allow: [reed]", "allow: [write]")
        report = await gateway.reports.get()
        assert report.generation == 2
        assert watcher.failed is None

    play(scene)


def test_a_manifest_taken_away_changes_nothing(play: Callable[[Scene], None]) -> None:
    async def scene(watcher: Watcher, gateway: Gateway, path: Path) -> None:
        text = text_of(path)
        remove(path)
        assert (await gateway.reports.get()).loaded is None
        assert await quiet(gateway)
        put(path, text)
        assert (await gateway.reports.get()).generation == 2

    play(scene)


@pytest.mark.parametrize("error", [SeamError("the gateway says no"), RuntimeError("a defect")])
def test_a_gateway_that_refuses_keeps_the_last_good_one(play: Callable[[Scene], None], error: Exception) -> None:
    async def scene(watcher: Watcher, gateway: Gateway, path: Path) -> None:
        first = watcher.current
        gateway.refuse = error
        watcher.poke()
        report = await gateway.reports.get()
        assert report.loaded is None
        assert str(error) in str(report.why)
        assert watcher.current is first
        gateway.refuse = None
        watcher.poke()
        assert (await gateway.reports.get()).generation == 2

    play(scene)


def test_a_poke_reloads_an_unchanged_manifest(play: Callable[[Scene], None]) -> None:
    async def scene(watcher: Watcher, gateway: Gateway, path: Path) -> None:
        watcher.poke()
        assert (await gateway.reports.get()).generation == 2
        watcher.poke()
        assert (await gateway.reports.get()).generation == 3
        assert await quiet(gateway)

    play(scene)


def test_a_file_still_being_written_is_waited_for(play: Callable[[Scene], None]) -> None:
    async def scene(watcher: Watcher, gateway: Gateway, path: Path) -> None:
        text = text_of(path).replace("max: 8h", "max: 1h")
        for end in range(0, len(text), len(text) // 40):
            put(path, text[:end])
            await asyncio.sleep(0.005)
        put(path, text)
        reports = [await gateway.reports.get()]
        while not await quiet(gateway):
            reports.append(gateway.reports.get_nowait())
        assert reports[-1].loaded is not None
        assert reports[-1].loaded.manifest.session.max == 3600

    play(scene)


def test_the_loop_is_free_while_a_manifest_is_read(write: Write, good: str, environ: dict[str, str]) -> None:
    path = write(good)
    first = load(path, environ=environ)

    def slow() -> Loaded:
        import time

        time.sleep(0.3)
        return first

    async def main() -> int:
        gateway = Gateway()
        watcher = Watcher(path, first, load=slow, apply=gateway.apply, report=gateway.reports.put_nowait)
        reloading: asyncio.Task[Reloaded] = asyncio.create_task(_run(watcher.reload()))
        turns = 0
        while not reloading.done():
            await asyncio.sleep(0.01)
            turns += 1
        assert reloading.result().loaded is first
        return turns

    assert asyncio.run(main()) > 10


async def _run(awaited: Coroutine[Any, Any, Reloaded]) -> Reloaded:
    return await awaited


def test_a_folder_gaining_a_file_is_a_change(folder: Path) -> None:
    (folder / "a.yaml").write_text("version: 1\n")
    before = stamp(folder, [])
    (folder / "b.yaml").write_text("rules: []\n")
    assert stamp(folder, []) != before
    assert stamp(folder / "gone", [folder / "also-gone"])

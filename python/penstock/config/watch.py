"""Keeps the running gateway on the manifest as it stands on disk: on SIGHUP, and when a file changes.

Files are looked at, not subscribed to: their times, sizes and inodes twice a second, which works on every file system
and with every way an editor or a mounted secret replaces a file. A change counts once it has stood still for one look.
Reading and checking happen off the loop's thread. A manifest that is wrong changes nothing: the last good one stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from penstock.config.loading import Loaded, manifest_files
from penstock.config.settings import compile_settings, needs_restart
from penstock.errors import ConfigError, PenstockError, Problem

INTERVAL = 0.5
"""Seconds between two looks."""

Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What came of one reload. `loaded` is None if the last good manifest stays, and `why` says why."""

    generation: int
    loaded: Loaded | None
    why: PenstockError | None = None
    restart: tuple[str, ...] = ()
    """Parts that changed and that only a restart can take over."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The manifest's problems: errors if it was refused, warnings if it was taken."""
        if isinstance(self.why, ConfigError):
            return self.why.problems
        return self.loaded.warnings if self.loaded is not None else ()


Load = Callable[[], Loaded]
Apply = Callable[[Loaded, bytes, int], Awaitable[None]]
Report = Callable[[Reloaded], None]


class Watcher:
    """Watches one manifest. `load` may block; `apply` gets the manifest, its settings and their generation.

    An error raised by `apply` means that nothing changed, and is reported like one of the manifest itself.
    """

    def __init__(
        self, path: Path, first: Loaded, *, load: Load, apply: Apply, report: Report, interval: float = INTERVAL
    ) -> None:
        self.current = first
        self.generation = 1
        self.failed: Reloaded | None = None
        """The last reload, if it failed: for health checks."""
        self._path = path
        self._load = load
        self._apply = apply
        self._report = report
        self._interval = interval
        self._poked = asyncio.Event()
        self._stamp = stamp(path, first.files)

    def poke(self) -> None:
        """Reloads now, whether or not a file has changed. For SIGHUP; call it on the loop's thread."""
        self._poked.set()

    async def run(self) -> None:
        """Watches until cancelled. Never ends by itself, whatever the manifest says."""
        pending: Stamp | None = None
        while True:
            if await self._waited():
                pending = None
                await self.reload()
                continue
            now = await asyncio.to_thread(stamp, self._path, self.current.files)
            if now == self._stamp:
                pending = None
            elif now == pending:
                pending = None
                await self.reload()
            else:
                pending = now

    async def _waited(self) -> bool:
        """Waits for the next look; true if somebody asked for a reload instead."""
        try:
            async with asyncio.timeout(self._interval):
                await self._poked.wait()
        except TimeoutError:
            return False
        self._poked.clear()
        return True

    async def reload(self) -> Reloaded:
        """Reads, checks, compiles and applies the manifest: all of it, or nothing."""
        # Stamped before reading, so that a change while reading is seen by the next look.
        self._stamp = await asyncio.to_thread(stamp, self._path, self.current.files)
        done = await self._reload()
        self.failed = done if done.loaded is None else None
        self._report(done)
        return done

    async def _reload(self) -> Reloaded:
        generation = self.generation + 1
        try:
            loaded, settings = await asyncio.to_thread(self._prepare, generation)
            await self._apply(loaded, settings, generation)
        except PenstockError as error:
            return Reloaded(self.generation, None, error)
        except Exception as error:  # noqa: BLE001  (a defect here must not end the watch, nor take the gateway down)
            why = PenstockError(f"the manifest could not be taken over: {type(error).__name__}: {error}")
            return Reloaded(self.generation, None, why)
        restart = tuple(needs_restart(self.current.manifest, loaded.manifest))
        self.current, self.generation = loaded, generation
        self._stamp = await asyncio.to_thread(self._restamped, loaded)
        return Reloaded(generation, loaded, None, restart)

    def _prepare(self, generation: int) -> tuple[Loaded, bytes]:
        loaded = self._load()
        return loaded, compile_settings(loaded.manifest, generation)

    def _restamped(self, loaded: Loaded) -> Stamp:
        """The stamp with the files the new manifest added; those it had already keep the look before reading."""
        known = {entry[0]: entry for entry in self._stamp}
        return tuple(sorted(known.get(entry[0], entry) for entry in stamp(self._path, loaded.files)))


def stamp(path: Path, files: Iterable[Path]) -> Stamp:
    """Time, size and inode of every file the manifest consists of or points to. A file that is gone is a state too."""
    try:
        own = manifest_files(path)
    except OSError:
        own = [path]
    return tuple(sorted(_look(file) for file in {*(each.absolute() for each in own), *files}))


def _look(file: Path) -> tuple[str, int, int, int]:
    try:
        facts = file.stat()
    except (OSError, ValueError):
        return (str(file), -1, -1, -1)
    return (str(file), facts.st_mtime_ns, facts.st_size, facts.st_ino)

"""The running gateway's Python side: everything wired together on one loop, from start to the last drained session."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import structlog

from penstock import __version__, seam
from penstock.admin.api import build
from penstock.admin.server import AdminServer
from penstock.admin.service import Health, Service, Stores
from penstock.approvals.desk import Desk
from penstock.approvals.manifest import reviewers_of
from penstock.approvals.webhook import Webhooks
from penstock.config import GuardedChecker, Loaded, Manifest, compile_settings, load, manifest_hash
from penstock.config.watch import Reloaded, Watcher
from penstock.errors import ConfigError, PenstockError, SeamError, StartError, StateUnavailable
from penstock.identity.authenticator import Admitted, Authenticator, Login, log_refusal
from penstock.identity.exchange import Exchange
from penstock.identity.live import LiveSessions
from penstock.identity.manifest import book_of
from penstock.identity.oidc import Verifier
from penstock.recordings import index as trail_index
from penstock.sessions.writer import IndexWriter
from penstock.state.approvals import ApprovalStore
from penstock.state.database import Database
from penstock.state.nodes import NodeStore, OperatorActs
from penstock.state.revocations import RevocationStore, RevocationWatch
from penstock.state.sessions import SessionIndex
from penstock.state.tokens import TokenStore

#: Seconds that sessions get to finish what they are doing when the gateway is asked to end.
DRAIN_SECONDS = 10.0
_HEARTBEAT_SECONDS = 15.0
_LOG = structlog.get_logger("penstock.app")

#: What strangers cause every day; everything else that the native side alerts to is an operator's business at once.
_EXPECTED_ALERTS = frozenset({"login_failed", "session_refused"})

OpenGateway = Callable[[bytes], seam.NativeGateway]


@dataclass(frozen=True, slots=True)
class Started:
    """Where a gateway listens: protocols by name, and the admin interface."""

    listeners: Mapping[str, str]
    admin: str


def _observed(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """The kind and name of every target and identity that is only observed."""
    yield from (("target", each.name) for each in manifest.targets if each.mode == "observe")
    yield from (("identity", each.name) for each in manifest.identities if each.mode == "observe")


class Gateway:
    """One gateway: made of a manifest, started, told of new manifests, drained and stopped."""

    def __init__(self, manifest: Manifest, *, open_gateway: OpenGateway = seam.open_gateway) -> None:
        settings = compile_settings(manifest, 1)
        trail = orjson.loads(settings)["trail"]
        self.node = str(trail["node"])
        self._store = str(trail["store"])
        self._manifest = manifest
        self._database = Database(manifest.state.url())
        self._stores = _stores(self._database)
        self._native = seam.Seam(open_gateway(settings), self._happened)
        self._revoked = RevocationWatch(self._stores.revocations)
        self._authenticator = Authenticator(
            verifier=Verifier(),
            evaluate=seam.evaluate_claims,
            exchanged=self._stores.tokens,
            revoked=self._revoked,
        )
        self._exchange = Exchange(self._authenticator, self._stores.tokens)
        self._live = LiveSessions(self._native)
        self._webhooks = Webhooks()
        self._desk = Desk(gate=self._native, store=self._stores.approvals, webhooks=self._webhooks, node=self.node)
        self._writer = IndexWriter(self._stores.sessions, self.node)
        self._admin: AdminServer | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._chains: dict[str, asyncio.Task[None]] = {}
        self._draining = False
        self._notes: dict[str, str] = {}
        self._take(manifest)

    # Start and end

    async def start(self) -> Started:
        """Opens the state, takes over what the last run left, and listens; :class:`StartError` says what is wrong."""
        try:
            await self._database.open()
            await self._stores.nodes.started(self.node, __version__)
            await self._revoked.poll()
            await self._rebuild_index()
            await self._desk.start()
        except StateUnavailable as error:
            raise StartError(str(error), hint="state.database in the manifest says where it is") from error
        admin = self._manifest.listeners.admin.bind
        self._admin = AdminServer(build(self._service()), path=admin.path, host=admin.host, port=admin.port)
        try:
            listeners = self._native.start()
        except SeamError as error:
            raise StartError(str(error), hint=error.hint) from error
        await self._admin.start()
        self._run(self._revoked.run(self._live.revoked))
        self._run(self._desk.run())
        self._run(self._writer.run())
        self._run(self._heartbeat())
        _LOG.info("started", listeners=listeners, admin=self._admin.address, node=self.node, version=__version__)
        self._say_observing(self._manifest)
        return Started(listeners, self._admin.address)

    async def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Takes nobody new, and waits for the open sessions, but not for ever."""
        self._draining = True
        _LOG.info("draining", seconds=seconds, sessions=len(self._live))
        with contextlib.suppress(StateUnavailable):
            await self._desk.drain("the gateway is shutting down")
        self._native.drain(seconds)
        until = time.monotonic() + seconds
        while self._native.sessions() and time.monotonic() < until:  # noqa: ASYNC110  (the native side has no event)
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Ends everything that was started; safe whatever of it was."""
        with contextlib.suppress(SeamError):
            await asyncio.to_thread(self._native.stop)
        await self._writer.settle(2.0)
        await self._webhooks.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._admin is not None:
            await self._admin.stop()
        await self._database.close()
        _LOG.info("stopped")

    async def _rebuild_index(self) -> None:
        """What the trail knows and the index does not: the sessions at the end of a run that was killed."""
        since = await self._stores.sessions.behind(self.node)
        raw = seam.read_trail(self._store, trail_index.query_since(since))
        rows = await asyncio.to_thread(lambda: list(trail_index.rows(raw, self.node, self._trail_damaged)))
        count = await self._stores.sessions.rebuild(self.node, rows)
        if count:
            _LOG.info("session_index_rebuilt", sessions=count)

    def _trail_damaged(self, error: SeamError) -> None:
        # What is damaged stays as it is, as evidence; new records go to segments of their own.
        self._notes["trail"] = f"the trail cannot be read in part: {error}"
        _LOG.error("trail_damaged", error=str(error))

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            with contextlib.suppress(StateUnavailable):
                await self._stores.nodes.seen(self.node)

    # Manifests

    def _take(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._authenticator.load(book_of(manifest))
        self._sets = reviewers_of(manifest)
        self._desk.load(self._sets)
        self._exchange.limit(manifest.session.exchange)

    async def apply(self, loaded: Loaded, settings: bytes, generation: int) -> None:
        """Takes over a new manifest; when the native side refuses it, nothing has changed."""
        self._native.load(settings)
        self._take(loaded.manifest)
        ended, regrouped = self._live.revise(self._authenticator.again)
        self._native.record("reload", {"generation": generation, "manifest": manifest_hash(loaded.manifest)})
        _LOG.info("manifest_loaded", generation=generation, sessions_ended=ended, sessions_regrouped=regrouped)
        self._say_observing(loaded.manifest)

    def report(self, done: Reloaded) -> None:
        """Says how a reload went: a wrong manifest is loud and changes nothing."""
        if done.loaded is None:
            self._notes["manifest"] = "the manifest on disk is wrong; the last good one is in force"
            problems = [problem.text() for problem in done.problems] or [str(done.why)]
            _LOG.error("manifest_refused", problems=problems, in_force=done.generation)
            return
        self._notes.pop("manifest", None)
        for problem in done.problems:
            _LOG.warning("manifest_doubtful", problem=problem.text())
        if done.restart:
            self._notes["restart"] = "changed, and taken over at the next start: " + ", ".join(done.restart)
            _LOG.warning("manifest_needs_restart", parts=list(done.restart))

    def _say_observing(self, manifest: Manifest) -> None:
        for kind, name in _observed(manifest):
            _LOG.warning("observing", kind=kind, name=name, effect="nothing is refused, masked or held")

    # Events of the native side

    def _happened(self, event: seam.Event) -> None:
        kind = event.get("type")
        if kind == "login":
            self._run(self._login(event))
        elif kind in {"opened", "closed"}:
            self._session(event, opened=kind == "opened")
        elif kind in {"hold", "hold_update", "hold_withdrawn"}:
            handlers = {
                "hold": self._desk.hold,
                "hold_update": self._desk.update,
                "hold_withdrawn": self._desk.withdrawn,
            }
            self._after(str(event["session"]), handlers[kind](event))
        elif kind == "alert":
            say = _LOG.warning if event.get("what") in _EXPECTED_ALERTS else _LOG.error
            say("alert", what=event.get("what"), detail=event.get("detail"))

    def _session(self, event: seam.Event, *, opened: bool) -> None:
        session = str(event["session"])
        self._writer.note(event)
        if opened:
            self._live.opened(session)
            return
        self._live.closed(session)
        self._after(session, self._desk.session_closed(session))

    async def _login(self, event: seam.Event) -> None:
        login = Login.of(event)
        outcome = await self._authenticator.authenticate(login)
        if isinstance(outcome, Admitted):
            self._live.admitted(str(event["session"]), outcome.proof)
            answer = {"ok": True, "principal": outcome.proof.principal.as_json(), "until": None}
        else:
            log_refusal(login, outcome, client=str(event.get("client", "")))
            answer = {"ok": False, "reason": outcome.reason}
        if not self._native.answer(int(event["id"]), answer) and isinstance(outcome, Admitted):
            self._live.closed(str(event["session"]))

    def _after(self, session: str, work: Coroutine[Any, Any, None]) -> None:
        """Runs ``work`` after what came before it in the same session: holds keep their order, sessions do not wait."""
        before = self._chains.get(session)

        async def ordered() -> None:
            if before is not None:
                await asyncio.wait([before])
            try:
                await work
            except PenstockError as error:
                _LOG.error("event_failed", session=session, error=str(error))

        task = self._run(ordered())
        self._chains[session] = task
        task.add_done_callback(
            lambda done: self._chains.pop(session, None) if self._chains.get(session) is done else None
        )

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("task_failed", error=f"{type(error).__name__}: {error}")

    # The admin interface

    def _service(self) -> Service:
        return Service(
            gateway=self._native,
            authenticator=self._authenticator,
            exchange=self._exchange,
            live=self._live,
            desk=self._desk,
            stores=self._stores,
            reviewer_sets=lambda: self._sets,
            read_trail=lambda query: seam.read_trail(self._store, query),
            health=self._health,
            observing=lambda: sum(1 for _ in _observed(self._manifest)),
            poll=self._poll,
        )

    def _health(self) -> Health:
        wrong = {}
        if self._draining:
            wrong["gateway"] = "it is shutting down"
        if not self._revoked.fresh:
            wrong["state"] = "the state database is away: new sessions are refused"
        return Health(wrong, dict(self._notes))

    async def _poll(self) -> None:
        await self._live.revoked(await self._revoked.poll())


def _stores(database: Database) -> Stores:
    return Stores(
        sessions=SessionIndex(database),
        approvals=ApprovalStore(database),
        tokens=TokenStore(database),
        revocations=RevocationStore(database),
        nodes=NodeStore(database),
        acts=OperatorActs(database),
    )


async def run(gateway: Gateway, watcher: Watcher | None, *, ready: Callable[[Started], None] | None = None) -> None:
    """Runs a gateway until SIGTERM or SIGINT; a second one ends it without waiting for sessions."""
    loop = asyncio.get_running_loop()
    ending, hurry = asyncio.Event(), asyncio.Event()

    def asked() -> None:
        (hurry if ending.is_set() else ending).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    loop.add_signal_handler(signal.SIGHUP, watcher.poke if watcher is not None else lambda: None)
    watching: asyncio.Task[None] | None = None
    try:
        started = await gateway.start()
        watching = asyncio.create_task(watcher.run()) if watcher is not None else None
        if ready is not None:
            ready(started)
        await ending.wait()
        draining = asyncio.create_task(gateway.drain())
        hurrying = asyncio.create_task(hurry.wait())
        await asyncio.wait([draining, hurrying], return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        hurrying.cancel()
    finally:
        if watching is not None:
            watching.cancel()
        await gateway.stop()


async def serve(path: Path) -> None:
    """Serves the manifest at ``path`` until told to end; :class:`ConfigError` and :class:`StartError` say why not."""

    def fresh() -> Loaded:
        return load(path, checker=GuardedChecker())

    loaded = await asyncio.to_thread(fresh)
    for problem in loaded.warnings:
        _LOG.warning("manifest_doubtful", problem=problem.text())
    try:
        gateway = Gateway(loaded.manifest)
    except (SeamError, StateUnavailable) as error:
        raise StartError(str(error), hint=error.hint) from error
    watcher = Watcher(path, loaded, load=fresh, apply=gateway.apply, report=gateway.report)
    await run(gateway, watcher)


__all__ = ["ConfigError", "Gateway", "Started", "run", "serve"]

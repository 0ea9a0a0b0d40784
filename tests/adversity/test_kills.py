"""Killed at many points: nothing was delivered that is not in the trail, nothing committed that was refused."""

import json
import random
import signal
import threading
import time
from collections.abc import Callable

import psycopg
import pytest

from penstock.demo.cluster import Cluster
from penstock.demo.gateway import Gateway, command
from penstock.demo.processes import wait_until
from penstock.demo.shop import Shop
from support.clients import psql, run
from support.manifests import House, allow_all
from support.wire import Closed, Raw, query


def _read_until_dead(own: Gateway, standard: House, shop: Shop, received: bytearray) -> None:
    """Reads results, noting every byte that arrived, until the gateway is gone."""
    with Raw(own.host, own.port) as raw:
        try:
            raw.log_in("reader", shop.database, standard.token("reader"))
            while True:
                raw.send(query("select id, total, ordered_at from orders order by id"))
                while True:
                    seen = raw.receive()
                    if seen.tag == "D":
                        received += b"".join(cell or b"" for cell in seen.cells()) + b"\n"
                    if seen.tag == "Z":
                        break
        except (Closed, OSError):
            return


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.3, 0.7])
def test_what_was_delivered_is_a_prefix_of_the_trail(
    gateway: Callable[..., Gateway], standard: House, shop: Shop, delay: float
) -> None:
    own = gateway(standard)
    received = bytearray()
    reader = threading.Thread(target=_read_until_dead, args=(own, standard, shop, received), daemon=True)
    reader.start()
    time.sleep(delay + random.Random(delay).random() / 10)
    own.process.send(signal.SIGKILL)
    own.process.stop()
    reader.join(10)
    own.start()
    recorded = _recorded_rows(own, standard)
    delivered = bytes(received).splitlines()
    assert recorded[: len(delivered)] == delivered


def _recorded_rows(own: Gateway, standard: House) -> list[bytes]:
    """The rows of the one session of the reader, as the trail has them."""
    token = standard.token("reviewer")
    _, body = own.request("GET", "/v1/sessions?identity=reader", token=token)
    if not body["sessions"]:
        return []
    identifier = body["sessions"][0]["session"]
    outcome = run(*command(), "replay", identifier, "--json", environment=own.environment(token), seconds=120)
    assert outcome.code == 0, outcome
    lines = [json.loads(line) for line in outcome.lines]
    return ["".join(cell or "" for cell in line["row"]).encode() for line in lines if "row" in line]


def test_a_killed_gateway_commits_nothing_that_was_refused(
    gateway: Callable[..., Gateway], standard: House, shop: Shop, postgres15: Cluster
) -> None:
    own = gateway(standard)
    admin = postgres15.dsn(shop.database)
    assert (
        psql(
            admin,
            "drop table if exists killed",
            "create table killed (x int)",
            "alter table killed owner to shop_owner",
        ).code
        == 0
    )
    with Raw(own.host, own.port) as raw:
        raw.log_in("writer", shop.database, standard.token("writer"))
        raw.ask(query("begin"))
        raw.ask(query("insert into killed values (1)"))
        raw.ask(query("drop table orders"))
        raw.send(query("commit"))
        own.process.send(signal.SIGKILL)
    own.process.stop()
    wait_until(
        lambda: (
            psql(admin, "select count(*) from pg_stat_activity where application_name like 'writer/%'").out == "0\n"
        ),
        seconds=10,
        what="the target noticed",
    )
    assert psql(admin, "select count(*) from killed").out == "0\n"
    psql(admin, "drop table killed")


def test_a_killed_client_leaves_nothing_running_at_the_target(
    gateway: Callable[..., Gateway], standard: House, shop: Shop, postgres15: Cluster
) -> None:
    own = gateway(standard)
    with Raw(own.host, own.port) as raw:
        raw.log_in("everything", shop.database, standard.token("everything"))
        raw.send(query("select pg_sleep(60)"))
        time.sleep(0.3)
        raw.reset()
    running = "select count(*) from pg_stat_activity where application_name like 'everything/%' and state = 'active'"
    wait_until(lambda: psql(postgres15.dsn(), running).out == "0\n", seconds=10, what="the target's work is cancelled")


def test_a_restarted_target_ends_sessions_and_serves_new_ones(
    gateway: Callable[..., Gateway], demo_postgres: Cluster
) -> None:
    rights = allow_all(demo_postgres, databases=["postgres"], identity="all")
    own = gateway(rights)
    address = own.dsn("postgres", user="all", password=rights.token("all"), sslmode="disable")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("select 1")
        demo_postgres.stop()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
        refused = psql(address, "select 1")
        assert refused.code != 0
        assert "all" in refused.err or "target" in refused.err
        demo_postgres.process.start()
        demo_postgres.process.wait_until(demo_postgres.answers, seconds=30, what="PostgreSQL started again")
    assert psql(address, "select 1").out == "1\n"

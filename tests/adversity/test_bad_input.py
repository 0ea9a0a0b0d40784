"""Bad input gets a clear error that names what and where; nothing is lost, and the next request is served."""

import contextlib
import resource
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.demo.gateway import Gateway
from penstock.demo.processes import Failed, free_port, wait_until
from penstock.demo.shop import Shop
from support.clients import psql
from support.manifests import House
from support.metrics import metrics
from support.wire import Raw, cstr, errors, message, query, rows, startup


def served(gateway: Gateway, shop: Shop, standard: House) -> bool:
    """Whether another client is served as if nothing had happened."""
    address = gateway.dsn(shop.database, user="reader", password=standard.token("reader"), sslmode="disable")
    return psql(address, "select 1").out == "1\n"


HOSTILE_STARTUPS = [
    b"",
    b"\0",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\xff\xff\xff\xff\0\x03\0\0",
    struct.pack("!II", 0x7FFFFFFF, 196608),
    struct.pack("!II", 8, 196608),
    struct.pack("!II", 4, 196608),
    struct.pack("!II", 9, 196608) + b"x",
    struct.pack("!II", 16, 80877102) + b"\0" * 8,
    struct.pack("!II", 20000, 196608) + b"user\0" + b"a" * 19987,
    startup({"user": "reader"}, 2 << 16),
    startup({"user": "", "database": "shop"}),
    startup({"user": "a\u0001b", "database": "x" * 5000}),
    b"\x16\x03\x01\0\x05hello",
]


@pytest.mark.parametrize("data", HOSTILE_STARTUPS, ids=range(len(HOSTILE_STARTUPS)))
def test_hostile_start_ups(shop_gateway: Gateway, shop: Shop, standard: House, data: bytes) -> None:
    with Raw(shop_gateway.host, shop_gateway.port, timeout=20) as raw:
        with contextlib.suppress(OSError):  # it may have closed before it heard all of it
            raw.send(data)
            raw.socket.shutdown(socket.SHUT_WR)
        raw.until_closed()
    assert served(shop_gateway, shop, standard)


HOSTILE_MESSAGES = [
    b"\0\0\0\0\0",
    b"Q\xff\xff\xff\xff",
    b"Q\0\0\0\x03",
    b"Q\x7f\xff\xff\xff",
    b"Q\0\0\0\x06ab",
    message("Q", b"\xff\xfe\0"),
    message("Q", b"select 1"),
    message("P", b"\0select 1\0\x7f\xff"),
    message("B", cstr("") + cstr("") + b"\0\0\x7f\xff"),
    message("B", cstr("") + cstr("") + b"\0\0\0\x01\x7f\xff\xff\xff"),
    message("E", b"no end"),
    message("D", b"X\0"),
    message("C", b""),
    message("?", b"what"),
    message("d", b"not in copy"),
    message("p", b"not at login"),
    b"Q\0\0\0",
]


@pytest.mark.parametrize("data", HOSTILE_MESSAGES, ids=range(len(HOSTILE_MESSAGES)))
def test_hostile_messages_end_one_session_at_most(
    shop_gateway: Gateway, shop: Shop, standard: House, data: bytes
) -> None:
    with Raw(shop_gateway.host, shop_gateway.port, timeout=20) as raw:
        raw.log_in("reader", shop.database, standard.token("reader"))
        raw.send(data)
        raw.socket.shutdown(socket.SHUT_WR)
        for seen in raw.until_closed():
            assert seen.tag in "EZNS"
    assert served(shop_gateway, shop, standard)


def test_an_oversized_message_is_named(gateway: Callable[..., Gateway], shop: Shop, standard: House) -> None:
    own = gateway({**standard.manifest, "limits": {"statement": "1MiB"}}, environment=standard.environment)
    with Raw(own.host, own.port) as raw:
        raw.log_in("reader", shop.database, standard.token("reader"))
        for size in (1040 << 10, 2 << 20):
            refused = errors(raw.ask(query("select '" + "x" * size + "'")))
            assert [error["C"] for error in refused] == ["54000"]
            assert "limits.statement" in refused[0]["H"]
        assert rows(raw.ask(query("select 1"))) == [[b"1"]]
    assert metrics(own)['penstock_limit_hits_total{limit="message"}'] == 2
    assert served(own, shop, standard)


def test_the_limit_of_connections_is_said_before_it_fails(
    gateway: Callable[..., Gateway], shop: Shop, standard: House
) -> None:
    limits = {"connections": 20, "connections_per_identity": 2}
    own = gateway({**standard.manifest, "limits": limits}, environment=standard.environment)
    with Raw(own.host, own.port) as one, Raw(own.host, own.port) as two:
        for raw in (one, two):
            raw.log_in("reader", shop.database, standard.token("reader"))
        address = own.dsn(shop.database, user="reader", password=standard.token("reader"), sslmode="disable")
        refused = psql(address, "select 1", options=("-v", "VERBOSITY=verbose"))
        assert "53300" in refused.err or "limit" in refused.err, refused
        other = own.dsn(shop.database, user="writer", password=standard.token("writer"), sslmode="disable")
        assert psql(other, "select 1").out == "1\n"
        assert rows(one.ask(query("select 1"))) == [[b"1"]]


def test_a_target_that_is_down_is_named(gateway: Callable[..., Gateway], shop: Shop, standard: House) -> None:
    target = {**standard.manifest["targets"][0], "address": f"127.0.0.1:{free_port()}"}
    own = gateway({**standard.manifest, "targets": [target]}, environment=standard.environment)
    address = own.dsn(shop.database, user="reader", password=standard.token("reader"), sslmode="disable")
    refused = psql(address, "select 1")
    assert "shop" in refused.err
    assert "127.0.0.1" not in refused.err.replace(f'at "127.0.0.1", port {own.port}', "")


def test_a_target_that_never_answers_is_given_up(gateway: Callable[..., Gateway], shop: Shop, standard: House) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        target = {**standard.manifest["targets"][0], "address": f"127.0.0.1:{silent.getsockname()[1]}", "connect": "2s"}
        own = gateway({**standard.manifest, "targets": [target]}, environment=standard.environment)
        address = own.dsn(shop.database, user="reader", password=standard.token("reader"), sslmode="disable")
        refused = psql(address, "select 1", seconds=20)
        assert refused.code != 0
        assert "shop" in refused.err


def _broken(standard: House, **changes: Any) -> dict[str, Any]:
    return {**standard.manifest, **changes}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"budget": {"rows": 1}}, "budget"),
        ({"listners": {}}, "listeners"),
        ({"rules": [{"name": "x", "deny": "sql.knd == 1"}]}, "sql.kind"),
        ({"rules": [{"name": "x", "deny": "result.rows > 'many'"}]}, "two numbers"),
        ({"rules": [{"name": "x", "allow": ["reed"]}]}, "read"),
        (
            {
                "classes": [{"name": "x", "detect": ["us_sn"], "mask": {"full": True}}],
                "rules": [{"name": "x", "allow": ["read"]}],
            },
            "us_sn",
        ),
        ({"version": 2}, "expected 1"),
    ],
    ids=str,
)
def test_a_wrong_manifest_does_not_start_and_says_where(
    gateway: Callable[..., Gateway], standard: House, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(Failed) as raised:
        gateway(_broken(standard, **changes), environment=standard.environment)
    assert told in str(raised.value)
    assert "penstock.yaml:" in str(raised.value)
    assert "Traceback" not in str(raised.value)


def test_a_port_in_use_is_named(gateway: Callable[..., Gateway], standard: House) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with pytest.raises(Failed) as raised:
            gateway(
                _broken(standard, listeners={"postgres": {"bind": f"127.0.0.1:{port}"}}),
                environment=standard.environment,
            )
    assert str(port) in str(raised.value)
    assert "Traceback" not in str(raised.value)


def test_an_unreadable_key_is_named(gateway: Callable[..., Gateway], standard: House, tmp_path: Path) -> None:
    tls = {"cert": str(tmp_path / "none.pem"), "key": str(tmp_path / "none.key")}
    listeners = {"postgres": {"bind": f"127.0.0.1:{free_port()}", "tls": tls}}
    with pytest.raises(Failed) as raised:
        gateway(_broken(standard, listeners=listeners), environment=standard.environment)
    assert "none.pem" in str(raised.value)


def test_a_full_disk_ends_sessions_before_the_next_byte(
    gateway: Callable[..., Gateway], shop: Shop, standard: House
) -> None:
    own = gateway(standard)
    address = own.dsn(shop.database, user="reader", password=standard.token("reader"), sslmode="disable")
    with Raw(own.host, own.port) as raw:
        raw.log_in("reader", shop.database, standard.token("reader"))
        assert rows(raw.ask(query("select 1"))) == [[b"1"]]
        before = resource.prlimit(own.process.pid, resource.RLIMIT_FSIZE)
        # To the process it looks as if no file could grow any more, wherever it writes.
        resource.prlimit(own.process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            # What fits into the room already set aside is still recorded; this does not.
            raw.send(query("select repeat('needle', 100000)"))
            answer = raw.until_closed()
            assert not rows(answer)
            assert errors(answer)[0]["C"] == "58030"
            assert psql(address, "select repeat('needle', 100000)").code != 0
        finally:
            resource.prlimit(own.process.pid, resource.RLIMIT_FSIZE, before)
    wait_until(lambda: psql(address, "select 1").out == "1\n", seconds=10, what="it serves again once there is space")

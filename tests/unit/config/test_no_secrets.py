"""Whoever writes a secret into the manifest is told so, and the secret is not told on: problems go to logs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.config import examine

Write = Callable[[str], Path]

HIDDEN = "hunter2Correct0HorseBattery9Staple"
TOKEN = f"pst_abcdefghij_{HIDDEN}"
JWT = f"eyJhbGciOiJIUzI1NiJ9.{HIDDEN}.{HIDDEN}"
PEM = f"-----BEGIN PRIVATE KEY-----\\n{HIDDEN}\\n-----END PRIVATE KEY-----\\n"
PASSWORD = "{env: SHOP_RO}"
VERIFIER = 'tokens: ["@agent-7@"]'
AGENT = f"{{name: agent-7, {VERIFIER}, groups: [agents]}}"
KEY = "{env: MASK_KEY}"

MISTAKES = {
    "password inline": (PASSWORD, HIDDEN),
    "password quoted": (PASSWORD, f'"{HIDDEN}"'),
    "password as a set": (PASSWORD, f"{{{HIDDEN}}}"),
    "password as a key": (PASSWORD, f"{{{HIDDEN}: yes}}"),
    "password as a value": (PASSWORD, f"{{value: {HIDDEN}}}"),
    "password in a list": (PASSWORD, f"[{HIDDEN}]"),
    "password where a variable is named": (PASSWORD, f"{{env: {HIDDEN}$}}"),
    "password as a misspelt env": (PASSWORD, f"{{enb: {HIDDEN}}}"),
    "password as a block": (PASSWORD, f"\n        {HIDDEN}: {HIDDEN}"),
    "token inline": (VERIFIER, f"tokens: [{TOKEN}]"),
    "token without a list": (VERIFIER, f"tokens: {TOKEN}"),
    "token as an id": (VERIFIER, f"tokens: [{{id: {TOKEN}, verifier: x}}]"),
    "token as a verifier": (VERIFIER, f"tokens: [{{id: abcdefghij, verifier: {TOKEN}}}]"),
    "token under a key of its own": (VERIFIER, f"tokens: [{{id: abcdefghij, token: {TOKEN}}}]"),
    "token as a group": ("groups: [agents]", f"groups: {TOKEN}"),
    "token as a name": (AGENT, f"{{name: {TOKEN}, {VERIFIER}}}"),
    "token as the identity": (AGENT, TOKEN),
    "token with a date": (VERIFIER, f"tokens: [{{id: abcdefghij, verifier: x, expires: {TOKEN}}}]"),
    "signed token as a mode": ("mode: enforce", f"mode: {JWT}"),
    "hmac key inline": (KEY, HIDDEN),
    "hmac inline": (f"{{hmac: {{key: {KEY}, id: k1}}}}", f"{{hmac: {HIDDEN}}}"),
    "mask key short": (KEY, '"short"'),
    "credential as text": ("{user: penstock_ro, password: {env: SHOP_RO}}", f'"ro:{HIDDEN}"'),
    "address as a DSN": ("10.0.0.5:5432", f"postgresql://ro:{HIDDEN}@10.0.0.5:5432/shop"),
    "address with a password": ("10.0.0.5:5432", f"ro:{HIDDEN}@10.0.0.5:5432"),
    "bind as a URL": ('"127.0.0.1:6432"', f'"http://me:{HIDDEN}@127.0.0.1:6432"'),
    "admin as a URL": ('"unix:./penstock.sock"', f'"http://me:{HIDDEN}@127.0.0.1:6432"'),
    "state with a password": ('"sqlite:///penstock.db"', f'"postgresql://me:{HIDDEN}@db/x"'),
    "state of another kind": ('"sqlite:///penstock.db"', f'"mysql://me:{HIDDEN}@db/x"'),
    "state password inline": ('"sqlite:///penstock.db"}', f'"postgresql://me@db/x", password: {HIDDEN}}}'),
    "issuer with a password": ("https://token.actions", f"https://me:{HIDDEN}@token.actions"),
    "issuer of another kind": ("https://token.actions", f"ftp://me:{HIDDEN}@token.actions"),
    "webhook with a password": ("https://hooks.example/p", f"https://me:{HIDDEN}@hooks.example/p"),
    "webhook over http": ("https://hooks.example/p", f"http://me:{HIDDEN}@hooks.example/p"),
    "webhook secret inline": ("{env: HOOK}", HIDDEN),
    "private key inline": ("key: gw.key", f'key: "{PEM}"'),
    "certificate and key inline": ("cert: gw.pem", f'cert: "{PEM}"'),
    "authority inline": ("ca: ca.pem", f'ca: "{PEM}"'),
    "text that is not YAML": (PASSWORD, f"{{env: {HIDDEN}"),
    "a tab": ("session: {max: 8h}", f"session:\n\tmax: {HIDDEN}"),
    "an anchor": (PASSWORD, f"*{HIDDEN}"),
    "a tag": (PASSWORD, f"!!python/object:{HIDDEN} {{}}"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_secret_in_the_manifest_is_not_told_on(
    write: Write, good: str, environ: dict[str, str], mistake: tuple[str, str]
) -> None:
    right, wrong = mistake
    assert right in good
    loaded, problems = examine(write(good.replace(right, wrong, 1)), environ=environ)
    assert loaded is None
    assert problems
    for problem in problems:
        assert HIDDEN[:9] not in f"{problem.text()} {problem!r}"

"""``penstock login`` and ``penstock token``."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated

from cyclopts import App, Parameter

from penstock.cli.client import Access
from penstock.cli.output import moment, say, say_json, seconds_of, table
from penstock.errors import UsageError
from penstock.identity import tokens

token = App(name="token", help="Static and exchanged tokens.")
Flag = Annotated[bool, Parameter(negative=())]


def login(identity: str, *, ttl: str | None = None, access: Access = Access()) -> int:  # noqa: B008  (frozen)
    """Exchange an issuer's token (PENSTOCK_TOKEN or --token-file) for a Penstock token, and print it.

    Args:
        identity: The identity to be.
        ttl: How long it shall live, such as 2h; at most what the manifest allows.
    """
    secret = access.token()
    if secret is None:
        raise UsageError("there is no token to exchange", hint="set PENSTOCK_TOKEN, or use --token-file")
    got = access.post("/v1/login", {"identity": identity, "token": secret, "ttl_seconds": seconds_of(ttl, "--ttl")})
    if access.json:
        say_json(got)
    else:
        say(str(got["token"]))
    return 0


@token.command
def new(identity: str, *, expires: str | None = None, json: Flag = False) -> int:
    """Mint a static token. It is shown once; the manifest gets its verifier. Needs no running gateway.

    Args:
        identity: The identity it is for.
        expires: The date from which it is refused, such as 2027-01-31.
        json: Print JSON.
    """
    if not re.fullmatch(r"\S{1,63}", identity):
        raise UsageError(f"{identity!r} is no identity's name")
    until = _date(expires)
    minted = tokens.mint(identity)
    if json:
        say_json(
            {"identity": identity, "id": minted.id, "token": minted.text, "verifier": minted.verifier, "expires": until}
        )
        return 0
    ending = f", expires: {until}" if until else ""
    say(f"token (shown once):\n    {minted.text}\n")
    say(f"in the manifest, under the tokens of {identity}:")
    say(f'    - {{id: {minted.id}, verifier: "{minted.verifier}"{ending}}}')
    return 0


def _date(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        parsed = dt.datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--expires {text!r} is no date", hint="write 2027-01-31 or 2027-01-31T12:00:00Z") from None
    if parsed.replace(tzinfo=parsed.tzinfo or dt.UTC) <= dt.datetime.now(dt.UTC):
        raise UsageError(f"--expires {text} has passed")
    return text


@token.command(name="list")
def list_(*, access: Access = Access()) -> int:  # noqa: B008  (frozen)
    """List static and exchanged tokens, never their secrets."""
    found = access.get("/v1/tokens")
    if access.json:
        say_json(found)
        return 0
    rows = (
        (
            each["id"],
            each["identity"],
            each["kind"],
            each["status"],
            moment((each.get("expires") or 0) * 1_000_000 or None),
        )
        for each in found["tokens"]
    )
    table(("id", "identity", "kind", "status", "expires"), rows, empty="there are no tokens")
    return 0


@token.command
def revoke(
    id: str | None = None,  # noqa: A002  (the word people type)
    *,
    identity: str | None = None,
    lift: Flag = False,
    reason: str = "revoked by an operator",
    access: Access = Access(),  # noqa: B008  (frozen)
) -> int:
    """Revoke one token, or everything of an identity; open sessions end within a second.

    Args:
        id: The token's id: the part between pst_ and the next underline.
        identity: Revoke this identity instead: all of its tokens and sessions, until lifted.
        lift: Take the identity's revocation back.
        reason: Why; it stands in the trail.
    """
    if (id is None) == (identity is None):
        raise UsageError("name one token, or one identity", hint="penstock token revoke ID, or --identity NAME")
    if lift and identity is None:
        raise UsageError("only an identity's revocation can be lifted", hint="mint a new token instead")
    if lift:
        done = access.delete(f"/v1/identities/{identity}/revoke")
    elif identity is not None:
        done = access.post(f"/v1/identities/{identity}/revoke", {"reason": reason})
    else:
        done = access.post(f"/v1/tokens/{id}/revoke", {"reason": reason})
    if access.json:
        say_json(done)
    else:
        say(f"{done['kind']} {done['value']} is {'revoked' if done['revoked'] else 'no longer revoked'}")
    return 0

"""The five acts of the demo, each one a thing that a person can see happen."""

import os
import subprocess
import threading
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.rule import Rule

from penstock.demo.cluster import Cluster
from penstock.demo.gateway import Gateway, command, ensure_started
from penstock.demo.issuer import Issuer
from penstock.demo.manifest import JOB, REPOSITORY, REVIEWER
from penstock.demo.processes import Failed, wait_until
from penstock.demo.shop import Shop
from penstock.demo.terminal import Terminal, psql_arguments

__all__ = ["ACTS", "Stage"]

_BULK = "SELECT order_id, line, product_id, quantity, price FROM order_items ORDER BY order_id, line;"
_WAIT_SECONDS = 30.0


@dataclass
class Stage:
    """What the acts play with."""

    console: Console
    cluster: Cluster
    shop: Shop
    issuer: Issuer
    gateway: Gateway
    session: str | None = None
    expected_rows: int = 0
    surprises: list[str] = field(default_factory=list)

    def heading(self, number: int, title: str) -> None:
        """Opens an act."""
        self.console.print()
        self.console.print(Rule(f"[bold]{number} of 5[/] · {escape(title)}", align="left", style="cyan"))

    def tell(self, text: str) -> None:
        """One line of ours."""
        self.console.print(f"[cyan]›[/] {escape(text)}", highlight=False)

    def show(self, line: str) -> None:
        """One line of a program's."""
        self.console.print(f"  [dim]│[/] {escape(line)}", highlight=False, soft_wrap=True)

    def expect(self, *, holds: bool, what: str) -> None:
        """Notes when something did not happen as told: the demo then ends with an error."""
        if not holds:
            self.surprises.append(what)
            self.console.print(f"  [bold red]not as expected:[/] {escape(what)}")

    def job_token(self, **claims: Any) -> str:
        """The token that the CI system would hand to the job."""
        standard = {"repository": REPOSITORY, "ref": "refs/heads/main"}
        return self.issuer.mint(f"repo:{REPOSITORY}:ref:refs/heads/main", **(standard | claims))

    def reviewer_token(self) -> str:
        """The reviewer's own token."""
        return self.issuer.mint("person-17", groups=["data-owners"])

    def psql(self, token: str) -> Terminal:
        """A psql logged in as the job through the gateway."""
        arguments = psql_arguments(
            self.cluster.program("psql"), port=self.gateway.port, user=JOB, database=self.shop.database
        )
        environment = {"PGPASSWORD": token, "PGCONNECT_TIMEOUT": "10", "PGCLIENTENCODING": "UTF8"}
        return Terminal(arguments, environment, self.show)

    def penstock(self, *arguments: str, token: str | None = None) -> str:
        """Runs a `penstock` command as a person would, and shows what it prints."""
        self.show(f"$ penstock {' '.join(arguments)}")
        done = subprocess.run(
            [*command(), *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, **self.gateway.environment(token), "NO_COLOR": "1", "COLUMNS": "110"},
            timeout=_WAIT_SECONDS,
            check=False,
        )
        for line in (done.stdout + done.stderr).splitlines():
            self.show(line)
        if done.returncode not in {0, 1}:
            raise Failed(f"penstock {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout


def log_in(stage: Stage) -> None:
    """Act 1: a signed token opens the door, a wrong one does not."""
    stage.heading(1, "Login with a signed token")
    stage.tell("A token signed by the right issuer, for another repository:")
    refused = stage.psql(stage.job_token(repository="someone/else"))
    lines = refused.wait_for_prompt(seconds=_WAIT_SECONDS)
    refused.close()
    stage.expect(holds=any("FATAL" in line for line in lines), what="the wrong token is refused")
    stage.tell("The job's own token, in psql, as its password:")
    admitted = stage.psql(stage.job_token())
    admitted.wait_for_prompt(seconds=_WAIT_SECONDS)
    lines = admitted.run("SELECT current_user AS credential, current_setting('application_name') AS application;")
    stage.expect(holds=any(stage.shop.reader in line for line in lines), what="the job is logged in")
    stage.tell(f"The database sees its own role {stage.shop.reader}; the job never saw that password.")
    admitted.close()


def read_masked(stage: Stage) -> None:
    """Act 2: protected columns stay masked, whatever they are called."""
    stage.heading(2, "A read, masked")
    psql = stage.psql(stage.job_token())
    psql.wait_for_prompt(seconds=_WAIT_SECONDS)
    seen = psql.run("SELECT id, name, ssn, card_number, email FROM customers ORDER BY id LIMIT 3;")
    stage.tell("Other names for the same columns change nothing, nor does a view, nor free text:")
    seen += psql.run(
        "SELECT c.ssn AS x, k.mail AS y FROM customers c JOIN customer_contacts k USING (id) ORDER BY id LIMIT 2;"
    )
    seen += psql.run("SELECT id, body FROM tickets WHERE body LIKE '%card is%' ORDER BY id LIMIT 2;")
    psql.close()
    text = "\n".join(seen)
    for what, values in (("ssn", stage.shop.ssns), ("card", stage.shop.cards), ("email", stage.shop.emails)):
        leaked = next((value for value in values if value in text), None)
        stage.expect(holds=leaked is None, what=f"no {what} is on the screen, but {leaked} is")
    stage.expect(holds=stage.shop.ssns[0][-4:] in text, what="the last four digits stay")


def refuse(stage: Stage) -> None:
    """Act 3: what must not happen does not, and says which rule forbids it."""
    stage.heading(3, "Refused, with the rule's name")
    psql = stage.psql(stage.job_token())
    psql.wait_for_prompt(seconds=_WAIT_SECONDS)
    for statement, rule in (
        ("DROP TABLE orders;", "nothing is dropped"),
        ("COPY orders TO PROGRAM 'cat > /tmp/orders';", "nothing touches the server's files"),
        ("COPY customers TO STDOUT;", ""),
    ):
        lines = psql.run(statement)
        stage.expect(holds=any("ERROR" in line for line in lines), what=f"{statement} is refused")
        stage.expect(holds=rule in "\n".join(lines), what=f"the refusal names the rule “{rule}”")
    lines = psql.run("SELECT count(*) AS orders_still_there FROM orders;")
    stage.expect(holds=any(line.strip().isdigit() for line in lines), what="the session goes on after refusals")
    psql.close()


def hold(stage: Stage) -> None:
    """Act 4: a result that grows large waits for a person."""
    stage.heading(4, "Held for a person")
    psql = stage.psql(stage.job_token())
    psql.wait_for_prompt(seconds=_WAIT_SECONDS)
    stage.tell("Nobody can tell beforehand how many rows this has; past 10,000 they wait at the gateway:")
    lines = _held(stage, psql, "approve", "year-end report, agreed with finance")
    released = sum(1 for line in lines if line.count("|") == 4) - 1
    stage.expect(
        holds=released == stage.expected_rows, what=f"all {stage.expected_rows:,} rows came ({released:,} did)"
    )
    stage.tell("The same request once more; this time the reviewer says no:")
    lines = _held(stage, psql, "deny", "once was enough")
    stage.expect(holds=any("ERROR" in line for line in lines), what="the denied request ends with an error")
    stage.expect(holds=not any(line.count("|") == 4 for line in lines), what="no row of a denied result is shown")
    psql.close()


def _held(stage: Stage, psql: Terminal, verb: str, reason: str) -> list[str]:
    """Runs the large query, lets the reviewer act on its hold, and returns what psql printed."""
    lines: list[str] = []

    def read() -> None:
        lines.extend(psql.wait_for_prompt(seconds=_WAIT_SECONDS, elide_after=6))

    psql.type(_BULK)
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    token = stage.reviewer_token()
    approval = _pending(stage, token)
    stage.tell(f"The reviewer {REVIEWER} looks at it, with a token of their own:")
    stage.penstock("approvals", "show", approval, token=token)
    stage.penstock("approvals", verb, approval, "--reason", reason, token=token)
    reader.join(_WAIT_SECONDS)
    return lines


def _pending(stage: Stage, token: str) -> str:
    """The name of the one request that waits, once all its rows have been counted."""
    found: list[str] = []

    def listed() -> bool:
        ensure_started(stage.gateway)
        status, body = stage.gateway.request("GET", "/v1/approvals?status=pending", token=token)
        if status != 200:
            raise Failed(f"the gateway's list of approvals answered {status}: {body}")
        found[:] = [str(request["id"]) for request in body["approvals"]]
        return bool(found)

    wait_until(listed, seconds=_WAIT_SECONDS, what="the large result is held", interval=0.1)
    return found[0]


def replay(stage: Stage) -> None:
    """Act 5: what was asked and what was answered, from the trail."""
    stage.heading(5, "Replayed from the trail")
    operator = stage.reviewer_token()
    status, body = stage.gateway.request("GET", "/v1/sessions", token=operator)
    sessions = body["sessions"] if status == 200 else []
    mine = [entry for entry in sessions if entry["identity"] == JOB]
    stage.expect(holds=bool(mine), what="the trail knows the job's sessions")
    if not mine:
        return
    # The one in which things were masked: the second that opened.
    chosen = sorted(mine, key=lambda entry: entry["opened"])[min(1, len(mine) - 1)]
    text = stage.penstock("replay", str(chosen["session"]), token=operator)
    stage.expect(holds="SELECT id, name, ssn" in text, what="the replay shows what was asked")
    leaked = next((value for value in stage.shop.ssns if value in text), None)
    stage.expect(holds=leaked is None, what="the trail has what was delivered, masked")


ACTS = (log_in, read_masked, refuse, hold, replay)

"""A manifest to begin with: every line in it is one that a first gateway needs."""

from __future__ import annotations

_STARTER = """\
# Checked with: penstock check penstock.yaml
version: 1
listeners:
  {protocol}: {{bind: "127.0.0.1:6432"}}
  admin: {{bind: "unix:./penstock.sock"}}
identities:
  - {{name: {identity}, groups: [agents], tokens: [{token}]}}
targets:
  - name: {target}
    protocol: {protocol}
    address: {address}
    databases: [{target}]
    credentials:
      default: {{user: penstock_ro, password: {{env: {variable}}}}}
classes:
  - {{name: email, columns: ["{target}:*.*.email"], detect: [email], mask: {{full: true}}}}
  - {{name: card, detect: [payment_card], mask: {{keep_last: 4}}}}
rules:
  - {{name: agents read {target}, who: ["group:agents"], to: [{target}], allow: [read]}}
  - {{name: nothing touches the server's files, deny: sql.server_io}}
"""


def starter_manifest(
    verifier: str,
    *,
    identity: str = "agent-1",
    target: str = "shop",
    address: str = "127.0.0.1:5432",
    protocol: str = "postgres",
) -> str:
    """The text of a small manifest: one identity with one token (its SCRAM verifier), one target, reading only."""
    variable = "".join(each if each.isalnum() else "_" for each in target.upper()) + "_PASSWORD"
    return _STARTER.format(
        protocol=protocol,
        identity=identity,
        token=f'"{verifier}"',
        target=target,
        address=address,
        variable=variable,
    )

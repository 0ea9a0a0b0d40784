"""Who may decide a request: members of its reviewer sets, and never whoever asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from penstock.state.approvals import Requester


@dataclass(frozen=True, slots=True)
class ReviewerSet:
    """One named set of the manifest. ``secret`` signs its webhooks."""

    name: str
    members: tuple[str, ...]
    notify: tuple[str, ...] = ()
    secret: str | None = None

    def __repr__(self) -> str:
        return f"ReviewerSet(name={self.name!r}, members={self.members!r})"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls the admin interface, as far as proven.

    ``identities`` are all that the proof satisfies, ``identity`` the one it is bound to (a static or exchanged token).
    ``operator`` is the gateway's own user on the machine: it may operate, and never reviews.
    """

    name: str
    issuer: str | None = None
    subject: str | None = None
    identity: str | None = None
    identities: frozenset[str] = frozenset()
    claim_groups: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    operator: bool = False

    @property
    def proven(self) -> bool:
        """Whether a token says who this is."""
        return self.subject is not None or self.identity is not None

    def belongs(self, reviewers: ReviewerSet) -> bool:
        """Whether this caller is a member of the set."""
        return self.proven and any(self._is(member) for member in reviewers.members)

    def _is(self, member: str) -> bool:
        head, _, rest = member.partition(":")
        if head == "identity":
            return rest in self.identities
        if head == "group":
            return rest in self.groups
        kind, _, value = rest.partition(":")
        if self.issuer is None or head != self.issuer:
            return False
        return (kind == "sub" and value == self.subject) or (kind == "group" and value in self.claim_groups)

    def asked(self, identity: str, requesters: Iterable[Requester]) -> bool:
        """Whether this caller is one of those who asked as ``identity``.

        Issuer and subject are compared where the requester has them. A static token has neither: then whoever proves
        the same identity counts as the requester.
        """
        if self.identity == identity:
            return True
        for issuer, subject in requesters:
            if subject is None and identity in self.identities:
                return True
            if subject is not None and (issuer, subject) == (self.issuer, self.subject):
                return True
        return False


def sets_of(caller: Caller, sets: Mapping[str, ReviewerSet]) -> frozenset[str]:
    """The names of the sets ``caller`` is a member of."""
    return frozenset(name for name, reviewers in sets.items() if caller.belongs(reviewers))

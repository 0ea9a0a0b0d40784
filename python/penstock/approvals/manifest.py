"""Takes the reviewer sets out of a manifest."""

from __future__ import annotations

from penstock.approvals.reviewers import ReviewerSet
from penstock.config import Manifest


def reviewers_of(manifest: Manifest) -> dict[str, ReviewerSet]:
    """The reviewer sets of ``manifest`` by name."""
    return {
        each.name: ReviewerSet(
            each.name, each.members, each.notify, each.secret.reveal() if each.secret is not None else None
        )
        for each in manifest.reviewers
    }

"""The classes of the masked lanes."""

from collections.abc import Mapping
from typing import Any, Final

SSN_COLUMN: Final[Mapping[str, Any]] = {"name": "ssn", "columns": ["bench:public.bulk.ssn"], "mask": {"keep_last": 4}}
DETECTORS: Final[Mapping[str, Any]] = {
    "name": "found",
    "columns": [],
    "detect": ["us_ssn", "payment_card", "email", "phone", "iban"],
    "mask": {"full": True},
}

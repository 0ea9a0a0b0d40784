"""Reads `/metrics` strictly: every sample belongs to a family that was announced just before it."""

import re

from penstock.demo.gateway import Gateway

_SAMPLE = re.compile(r'([a-z_]+)(\{[a-z]+="[^"\\\n]*"\})? (-?[0-9.e+]+)')


def scraped(text: str) -> dict[str, float]:
    """The samples of an exposition, by name and label as written.

    Raises:
        AssertionError: it does not follow the format.
    """
    assert text.endswith("\n")
    seen: dict[str, float] = {}
    family, kind, known = "", "", set[str]()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family, help_text = line.removeprefix("# HELP ").split(" ", 1)
            assert help_text, line
            assert family not in known, f"{family} is announced twice"
            known.add(family)
            kind = ""
        elif line.startswith("# TYPE "):
            name, kind = line.removeprefix("# TYPE ").split(" ")
            assert name == family, line
            assert kind in {"counter", "gauge"}, line
            assert (kind == "counter") == name.endswith("_total"), line
        else:
            sample = _SAMPLE.fullmatch(line)
            assert sample is not None, line
            assert sample[1] == family, line
            assert kind, line
            key = sample[1] + (sample[2] or "")
            assert key not in seen, line
            seen[key] = float(sample[3])
    return seen


def metrics(gateway: Gateway) -> dict[str, float]:
    """What a running gateway tells now."""
    status, text = gateway.request("GET", "/metrics")
    assert status == 200
    assert isinstance(text, str)
    return scraped(text)

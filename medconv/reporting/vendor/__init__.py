"""Other people's files that pages carry inside them, as published, with their licences; see ``renew_niivue``."""

from __future__ import annotations

from importlib.resources import files


def niivue_packed() -> bytes:
    """NiiVue's script, packed by gzip; run in a page, it defines ``window.niivue``."""
    return (files(__package__) / "niivue.umd.js.gz").read_bytes()


def niivue_licences() -> str:
    """The licences of NiiVue and of what is built into it."""
    return (files(__package__) / "niivue.licences.txt").read_text(encoding="utf-8")


__all__ = ["niivue_licences", "niivue_packed"]

"""Which format a caller wants, and whether it takes gzip (RFC 9110, section 12)."""

from __future__ import annotations

from collections.abc import Sequence

from wendelin.extensions.server.problems import ProblemError

JSON = "application/json"


def chosen(accept: str | None, offered: Sequence[str]) -> str:
    """The offered media type that the caller likes best; of equal ones the first. Raises 406."""
    wanted = _weights(accept or "*/*")
    best = max(offered, key=lambda media: (_quality(media, wanted), -offered.index(media)))
    if _quality(best, wanted) <= 0:
        raise ProblemError("not-acceptable", f"Accept: {accept} is not offered here, only {', '.join(offered)}")
    return best


def takes_gzip(accept_encoding: str | None) -> bool:
    """Whether an answer may be compressed."""
    wanted = _weights(accept_encoding or "")
    return wanted.get("gzip", wanted.get("*", 0.0)) > 0


def media_type(content_type: str | None) -> str:
    """The media type without its parameters, in small letters."""
    return (content_type or "").partition(";")[0].strip().lower()


def _weights(header: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if name:
            weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
            try:
                found[name] = float(weight)
            except ValueError:
                found[name] = 0.0
    return found


def _quality(media: str, wanted: dict[str, float]) -> float:
    for pattern in (media, f"{media.partition('/')[0]}/*", "*/*"):
        if pattern in wanted:
            return wanted[pattern]
    return 0.0

"""Who a call is from, as whatever stands in front of the server says: a proxy that has asked the
caller, and that lets no caller say it."""

from contextvars import ContextVar

from runwire.server.model.errors import InvalidField
from runwire.server.rpc.calls import Context

PRINCIPAL_CHARACTERS = 256

_principal: ContextVar[str] = ContextVar("principal", default="")


def current_principal() -> str:
    """Return who the call at hand is from; empty if nobody said."""
    return _principal.get()


def note_principal(context: Context, header: str) -> None:
    """Take from a call's metadata who it is from, for the rest of the call. Raises `InvalidField`
    when that is no name, or there are two."""
    names = [value for key, value in context.invocation_metadata() or () if key == header]
    if not names:
        return
    if len(names) > 1:
        raise InvalidField(header, "came more than once")
    name = names[0]
    if not (isinstance(name, str) and len(name) <= PRINCIPAL_CHARACTERS and name.isprintable()):
        raise InvalidField(header, f"must be at most {PRINCIPAL_CHARACTERS} printable characters")
    _principal.set(name)

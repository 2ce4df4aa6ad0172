"""How the door says no: Qdrant's status codes and wording, so that a client cannot tell it from a server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class Fault(Exception):  # noqa: N818 - reads as the outcome that it is
    """A request that is not answered with a result. `message` is sent to the client."""

    status: ClassVar[int] = 500
    prefix: ClassVar[str] = "Service internal error: "

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = f"{self.prefix}{message}"


class BadRequest(Fault):
    """The request is understood and wrong."""

    status = 400
    prefix = "Wrong input: "


class Malformed(Fault):
    """The body is not the JSON that Qdrant's API describes."""

    status = 400
    prefix = "Format error in JSON body: "


class Invalid(Fault):
    """A member of the body is out of its range."""

    status = 422
    prefix = "Validation error in JSON body: "


class NotFound(Fault):
    """No such collection or point."""

    status = 404
    prefix = "Not found: "


class Conflict(Fault):
    """The name is taken."""

    status = 409
    prefix = "Wrong input: "


class TooLarge(Fault):
    """The body is over the limit."""

    status = 413
    prefix = "Payload error: "


class Unsupported(Fault):
    """Qdrant may do this, the door does not; the message names what."""

    status = 501
    prefix = "Not supported by the local vector door: "


@contextmanager
def building(where: str) -> Iterator[None]:
    """Turn the engine's refusal of a value into 400. Only around constructors: they have no effect.

    The bindings raise ValueError (JSON path, date), TypeError (kind of value) and OverflowError (integer too large).
    """
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        raise BadRequest(f"{where}: {str(error).splitlines()[0]}") from error


_WRONG_INPUT = ("No range index", "No appropriate index", "Not existing vector name", "Vector dimension", "Wrong usage")


@contextmanager
def engine() -> Iterator[None]:
    """Turn what the engine raises into a fault. It raises plain `Exception`, so the text decides.

    A Rust panic arrives as pyo3's PanicException, which is no `Exception`: uncaught, it would end the process.
    """
    try:
        yield
    except Fault:
        raise
    except Exception as error:
        text = str(error)
        if text.startswith("No point with id"):
            raise NotFound(text) from error
        if text.startswith(_WRONG_INPUT):
            raise BadRequest(text) from error
        raise Fault(text) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise Fault(f"the engine panicked: {error}") from error

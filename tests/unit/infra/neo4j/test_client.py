import pytest
from neo4j.exceptions import (
    AuthError,
    ClientError,
    ConstraintError,
    CypherSyntaxError,
    Neo4jError,
    ServiceUnavailable,
    SessionExpired,
    TransientError,
)

from infra.errors import Permanent, Transient
from infra.neo4j.client import Contention, translating
from schemas.dead_letters import Reason


def server_error(code: str) -> Neo4jError:
    return Neo4jError._hydrate_neo4j(code=code, message="name = 'content of a record'")


@pytest.mark.parametrize(
    ("code", "kind", "becomes"),
    [
        ("Neo.TransientError.Transaction.DeadlockDetected", TransientError, Contention),
        ("Neo.ClientError.Statement.EntityNotFound", ClientError, Contention),
        ("Neo.TransientError.General.MemoryPoolOutOfMemoryError", TransientError, Transient),
        ("Neo.ClientError.Security.Unauthorized", AuthError, Transient),
        ("Neo.DatabaseError.Statement.ExecutionFailed", Neo4jError, Transient),
        ("Neo.ClientError.Schema.ConstraintValidationFailed", ConstraintError, Permanent),
        ("Neo.ClientError.Statement.TypeError", ClientError, Permanent),
        ("Neo.ClientError.Statement.SyntaxError", CypherSyntaxError, CypherSyntaxError),
    ],
)
def test_a_status_code_decides(code: str, kind: type[Exception], becomes: type[Exception]) -> None:
    error = server_error(code)
    assert isinstance(error, kind)
    with pytest.raises(becomes) as caught, translating():
        raise error
    assert type(caught.value) is becomes
    if becomes is not CypherSyntaxError:
        assert "content" not in str(caught.value)
        assert code in str(caught.value)


def test_a_refusal_names_its_reason() -> None:
    with pytest.raises(Permanent) as caught, translating():
        raise server_error("Neo.ClientError.Schema.ConstraintValidationFailed")
    assert caught.value.reason is Reason.REFUSED_BY_SINK


@pytest.mark.parametrize(
    "error", [ServiceUnavailable("down"), SessionExpired("gone"), OSError("reset"), TimeoutError()]
)
def test_a_lost_connection_is_transient(error: Exception) -> None:
    with pytest.raises(Transient) as caught, translating():
        raise error
    assert caught.value.dependency == "neo4j"
    assert not isinstance(caught.value, Contention)


def test_a_lone_surrogate_is_the_records_fault() -> None:
    with pytest.raises(Permanent), translating():
        "\ud800".encode()


def test_a_bug_of_ours_is_no_verdict_on_the_record() -> None:
    with pytest.raises(KeyError), translating():
        raise KeyError("row")

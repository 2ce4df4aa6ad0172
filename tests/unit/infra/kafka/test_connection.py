import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import ApiVersionRequest

from infra.kafka.connection import survive_resets


class ResetWriter:
    """Writes as uvloop does to a transport that was reset a moment ago."""

    def write(self, data: bytes) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    def close(self) -> None:
        """Closed already."""


async def test_a_write_to_a_reset_connection_is_a_broken_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AIOKafkaConnection, "send", AIOKafkaConnection.send)
    survive_resets()
    survive_resets()
    connection = AIOKafkaConnection("127.0.0.1", 1)
    connection._writer = ResetWriter()
    with pytest.raises(KafkaConnectionError, match="broken"):
        connection.send(ApiVersionRequest())
    assert not connection.connected()

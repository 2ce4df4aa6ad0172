"""The vocabulary of metrics."""

import pytest
from prometheus_client import generate_latest

from infra.telemetry.document import document
from infra.telemetry.metrics import REGISTRY, Metric, count, gauge, observe


def exported() -> str:
    return generate_latest(REGISTRY).decode()


def test_each_kind_is_recorded_in_its_own_way() -> None:
    count(Metric.PUBLISHED_TOTAL, "metrics-test")
    count(Metric.PUBLISHED_TOTAL, "metrics-test", by=2)
    gauge(Metric.LAG, 7, "metrics-test", "t")
    observe(Metric.PUBLISH_SECONDS, 0.2, "metrics-test")
    text = exported()
    assert 'millrace_published_total{topic="metrics-test"} 3.0' in text
    assert 'millrace_lag{topic="t",worker="metrics-test"} 7.0' in text
    assert 'millrace_publish_seconds_bucket{le="0.25",topic="metrics-test"} 1.0' in text
    assert 'millrace_publish_seconds_bucket{le="0.1",topic="metrics-test"} 0.0' in text


def test_a_metric_without_labels_is_recorded() -> None:
    gauge(Metric.LOOP_LAG_SECONDS, 0.25)
    assert "millrace_loop_lag_seconds 0.25" in exported()


def test_the_wrong_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="LAG is a gauge"):
        count(Metric.LAG, "w", "t")
    with pytest.raises(TypeError, match="LAG is a gauge"):
        observe(Metric.LAG, 1, "w", "t")
    with pytest.raises(TypeError, match="PUBLISHED_TOTAL is a counter"):
        gauge(Metric.PUBLISHED_TOTAL, 1, "t")


def test_labels_must_be_those_of_the_definition() -> None:
    with pytest.raises(ValueError, match="label"):
        count(Metric.PUBLISHED_TOTAL)
    with pytest.raises(ValueError, match="label"):
        count(Metric.PUBLISHED_TOTAL, "t", "more")


def test_the_document_names_every_metric() -> None:
    text = document()
    for metric in Metric:
        assert f"`{metric.export_name}`" in text
        assert metric.value.meaning in text

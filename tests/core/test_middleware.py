"""The door of every request."""

from __future__ import annotations

from django.test import Client

from core import metrics


def test_methods_that_clients_make_up_are_one_label(db: None) -> None:
    client = Client()
    client.generic("SPAM-0", "/health/live")
    before = len(metrics.REQUEST_SECONDS._metrics)

    for number in range(1, 20):
        client.generic(f"SPAM-{number}", "/health/live")

    assert len(metrics.REQUEST_SECONDS._metrics) == before
    assert any("other" in labels for labels in metrics.REQUEST_SECONDS._metrics)

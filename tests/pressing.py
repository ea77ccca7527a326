"""A button of the console pressed as staff do: what it would do is looked at, then the form is sent again."""

from __future__ import annotations

from typing import Any

from django.test import Client


def press(client: Client, url: str, form: dict[str, Any]) -> Any:
    """Send the form, and once more if it first shows what would happen; `shown` of the answer is what that was."""
    form = {"_form_submitted": "True"} | form
    answer: Any = client.post(url, form)
    asked = (answer.context or {}).get("form") if answer.status_code == 200 else None
    shown = list(getattr(asked, "shown", ()))
    if shown:
        answer = client.post(url, form | {"seen": asked.data["seen"]})
    answer.shown = shown
    return answer

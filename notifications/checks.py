"""System checks of this app's settings and templates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.template import TemplateDoesNotExist
from django.template.loader import get_template

from notifications.mails import TEMPLATES


@register("notifications")
def check_templates(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Every registered mail has its three files, and every secret has its maker."""
    found: list[CheckMessage] = []
    for name, template in TEMPLATES.items():
        for file in ("subject.txt", "body.txt", "body.html"):
            try:
                get_template(f"email/{name}/{file}")
            except TemplateDoesNotExist:
                found.append(
                    Error(f"templates/email/{name}/{file} is missing.", hint="Add it.", id="notifications.E001")
                )
        if template.made and name not in settings.MAIL_SECRETS:
            found.append(
                Error(
                    f"No function in MAIL_SECRETS makes {', '.join(sorted(template.made))} of {name!r}.",
                    hint="Name it by its dotted path.",
                    id="notifications.E002",
                )
            )
    return found

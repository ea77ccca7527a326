"""System checks of this app's settings and templates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anymail.exceptions import AnymailConfigurationError
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.template import TemplateDoesNotExist
from django.template.loader import get_template

from notifications import sender
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


@register("notifications")
def check_sender(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """The sender of EMAIL_URL is one whose events we can read, and has what that needs."""
    if not settings.EMAIL_SENDER:
        return []
    if settings.EMAIL_SENDER not in sender.SENDERS:
        known = ", ".join(sender.SENDERS)
        hint = f"Choose one of {known}, or write smtp+tls://… to use its SMTP server."
        return [Error(f"EMAIL_URL names {settings.EMAIL_SENDER!r}.", hint=hint, id="notifications.E003")]
    try:
        sender.reader()
    except (AnymailConfigurationError, ImportError) as error:
        return [Error(str(error), hint="Complete ANYMAIL.", id="notifications.E003")]
    return []

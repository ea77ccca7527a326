"""What calls do when a person is erased: what is open ends, and whom they called by name or number goes."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Q

import audit
from calls import calling, tending
from calls.models import Call, Reason


@audit.writes("call")
def erase(*, user: Any) -> list[str]:
    """End the calls that are open, forget names and numbers (settings.ACCOUNT_ERASED). Answers what is still open.

    Idempotent: by state.
    Locks: one call a transaction, then its caller's wallet.
    """
    for call in Call.objects.visible_to(user).open().order_by("pk"):
        if call.caller_id == user.pk or not tending.fail(call.pk, Reason.CALLEE_GONE):
            calling.end(user=user, call_id=call.pk)
    with transaction.atomic():
        named = Call.objects.filter(caller=user).filter(~Q(recipient_name="") | ~Q(recipient_phone=""))
        forgotten = named.update(recipient_name="", recipient_phone="")
        if forgotten:
            audit.record("call.names_erased", ("user", user.pk), user=user, metadata={"calls": forgotten})
    return ["calls"] if Call.objects.visible_to(user).open().exists() else []

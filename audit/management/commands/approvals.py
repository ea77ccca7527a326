"""What waits for a second pair of eyes, at the shell."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit import approvals
from audit.models import Approval, ApprovalState
from core import context
from core.errors import Error


class Command(BaseCommand):
    help = "List what waits for approval; approve or refuse one of them in the name of a member of staff."

    def add_arguments(self, parser: CommandParser) -> None:
        choice = parser.add_mutually_exclusive_group()
        choice.add_argument("--approve", metavar="ID")
        choice.add_argument("--refuse", metavar="ID")
        parser.add_argument("--by", metavar="EMAIL", help="who decides")
        parser.add_argument("--reason")

    def handle(self, *args: Any, **options: Any) -> None:
        approval_id = options["approve"] or options["refuse"]
        if not approval_id:
            self._list()
            return
        if not options["by"] or not options["reason"]:
            raise CommandError("Say who decides and why: --by EMAIL --reason TEXT.")
        people = get_user_model().objects
        try:
            approver = people.get_by_natural_key(options["by"])
        except people.model.DoesNotExist as error:
            raise CommandError(f"There is nobody with the address {options['by']}.") from error
        decide = approvals.approve if options["approve"] else approvals.refuse
        try:
            customer_id = Approval.objects.filter(pk=approval_id).values_list("customer_id", flat=True).first()
            with context.use(actor_id=approver.pk, on_behalf_of_id=customer_id):
                approval = decide(approval_id, approver=approver, reason=options["reason"])
        except Error as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"{approval.state}: {approval.summary}")

    def _list(self) -> None:
        waiting = Approval.objects.filter(state=ApprovalState.PENDING).select_related("requester").order_by("pk")
        for approval in waiting:
            until = f"{approval.expires_at:%F %H:%M} UTC"
            self.stdout.write(f"{approval.pk}  until {until}  {approval.requester}: {approval.summary}")
            self.stdout.write(f"    {approval.reason}")
        if not waiting:
            self.stdout.write("Nothing waits.")

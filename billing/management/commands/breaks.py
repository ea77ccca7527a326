"""What could not be applied by itself, at the shell."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import staff_refunds
from billing.models import Break
from core import context
from core.errors import Error
from core.money import display

ACTS = {
    "refund": staff_refunds.refund_break,
    "credit": staff_refunds.credit_in_part,
    "dismiss": staff_refunds.dismiss,
}


class Command(BaseCommand):
    help = "List the open breaks; refund, credit in part or dismiss one of them in the name of a member of staff."

    def add_arguments(self, parser: CommandParser) -> None:
        choice = parser.add_mutually_exclusive_group()
        for name in ACTS:
            choice.add_argument(f"--{name}", metavar="ID")
        parser.add_argument("--by", metavar="EMAIL", help="who decides")
        parser.add_argument("--reason")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = [(act, options[name]) for name, act in ACTS.items() if options[name]]
        if not chosen:
            self._list()
            return
        [(act, break_id)] = chosen
        if not options["by"] or not options["reason"]:
            raise CommandError("Say who decides and why: --by EMAIL --reason TEXT.")
        people = get_user_model().objects
        try:
            actor = people.get_by_natural_key(options["by"])
        except people.model.DoesNotExist as error:
            raise CommandError(f"There is nobody with the address {options['by']}.") from error
        try:
            customer_id = Break.objects.filter(pk=break_id).values_list("payment__user_id", flat=True).first()
            with context.use(actor_id=actor.pk, on_behalf_of_id=customer_id):
                act(break_id=break_id, reason=options["reason"], actor=actor)
        except (ValidationError, ValueError) as error:
            raise CommandError(f"{break_id} is no id.") from error
        except Error as error:
            raise CommandError(error.message) from error
        row = Break.objects.get(pk=break_id)
        self.stdout.write(row.resolution or "It waits for a colleague's approval.")

    def _list(self) -> None:
        rows = Break.objects.filter(resolved_at=None).order_by("pk")
        for row in rows:
            stake = display(row.amount, row.currency) if row.amount and row.currency else ""
            self.stdout.write(f"{row.pk}  {row.kind}  {row.gateway}  {stake}  payment {row.payment_id or 'unknown'}")
        if not rows:
            self.stdout.write("Nothing is open.")

"""Refund a payment at the shell, in the name of a member of staff."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.models import Approval
from billing import staff_refunds
from billing.models import Payment
from core import context
from core.errors import Error
from core.ids import new_id
from core.money import display


class Command(BaseCommand):
    help = "Refund a part or all of a payment. Without --yes it only says what it would do."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("payment", metavar="PAYMENT")
        parser.add_argument("--amount", type=int, required=True, help="in the currency's minor unit")
        parser.add_argument("--by", metavar="EMAIL", required=True, help="who refunds")
        parser.add_argument("--reason", required=True)
        parser.add_argument("--keep-credits", action="store_true", help="goodwill: the customer keeps what was bought")
        parser.add_argument("--reference", default="", help="of what you have paid back by hand")
        parser.add_argument("--yes", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        people = get_user_model().objects
        try:
            actor = people.get_by_natural_key(options["by"])
            payment = Payment.objects.get(pk=options["payment"])
        except (people.model.DoesNotExist, Payment.DoesNotExist, ValueError) as error:
            raise CommandError("There is no such person or payment.") from error
        self.stdout.write(f"{payment.title}: refund {display(options['amount'], payment.currency)} to {payment.user}")
        if not options["yes"]:
            self.stdout.write("Nothing was done; add --yes.")
            return
        try:
            with context.use(actor_id=actor.pk, on_behalf_of_id=payment.user_id):
                done = staff_refunds.refund(
                    request_id=new_id(),
                    payment_id=payment.pk,
                    amount=options["amount"],
                    reason=options["reason"],
                    actor=actor,
                    keeps_credits=options["keep_credits"],
                    reference=options["reference"],
                )
        except Error as error:
            raise CommandError(error.message) from error
        what = "waits for approval" if isinstance(done, Approval) else done.state
        self.stdout.write(f"{what}: {done.pk}")

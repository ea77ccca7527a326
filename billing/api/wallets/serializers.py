"""What credits/* and wallets/* answer."""

from __future__ import annotations

from typing import Any, TypedDict

from rest_framework import serializers

from billing.models import CreditLot, Debt, Freeze, Hold, LedgerEntry, LedgerTransaction, Wallet
from core.money import EXPONENTS


class BalanceSerializer(serializers.Serializer[Any]):
    balance = serializers.IntegerField(help_text="What is yours, held and frozen credits included.")
    held = serializers.IntegerField(help_text="Promised to what is under way; not spent yet.")
    frozen = serializers.IntegerField(help_text="Out of reach while a refund or dispute is open.")
    available = serializers.IntegerField(help_text="balance less held less frozen.")
    debt = serializers.IntegerField(help_text="Repaid first from the next purchase.")


class SubjectDict(TypedDict):
    type: str
    id: str


class EntrySerializer(serializers.ModelSerializer[LedgerEntry]):
    id = serializers.UUIDField(source="transaction_id", help_text="Of the transaction.")
    kind = serializers.ChoiceField(source="transaction.kind", choices=LedgerTransaction.Kind.choices)
    subject = serializers.SerializerMethodField(help_text="What it was for: a payment, a generation, a refund …")
    created_at = serializers.DateTimeField(source="transaction.created_at")

    class Meta:
        model = LedgerEntry
        fields = ["id", "kind", "amount", "balance_after", "subject", "created_at"]

    def get_subject(self, entry: LedgerEntry) -> SubjectDict:
        return {"type": entry.transaction.subject_type, "id": str(entry.transaction.subject_id)}


class LotSerializer(serializers.ModelSerializer[CreditLot]):
    source = serializers.SerializerMethodField(  # type: ignore[assignment]  # shadows Field.source, which is never read
        help_text="The payment or other cause that it came from."
    )

    class Meta:
        model = CreditLot
        fields = ["id", "category", "amount", "remaining", "frozen", "expires_at", "source", "created_at"]

    def get_source(self, lot: CreditLot) -> SubjectDict:
        return {"type": lot.source_type, "id": str(lot.source_id)}


class _OfSubject(serializers.ModelSerializer[Any]):
    subject = serializers.SerializerMethodField()

    def get_subject(self, row: Hold | Freeze | Debt) -> SubjectDict:
        return {"type": row.subject_type, "id": str(row.subject_id)}


class HoldSerializer(_OfSubject):
    class Meta:
        model = Hold
        fields = ["id", "amount", "subject", "created_at"]


class FreezeSerializer(_OfSubject):
    class Meta:
        model = Freeze
        fields = ["id", "amount", "subject", "created_at"]


class DebtSerializer(_OfSubject):
    class Meta:
        model = Debt
        fields = ["id", "unit", "amount", "remaining", "is_blocking", "subject", "created_at"]


class NextExpirySerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    amount = serializers.IntegerField()


class ExplanationSerializer(BalanceSerializer):
    next_expiry = NextExpirySerializer(allow_null=True)
    lots = LotSerializer(many=True, help_text="In the order in which they are spent.")
    holds = HoldSerializer(many=True)
    freezes = FreezeSerializer(many=True)
    debts = DebtSerializer(many=True)
    explanation = serializers.ListField(child=serializers.CharField(), help_text="The same in sentences.")


class WalletSerializer(serializers.ModelSerializer[Wallet]):
    exponent = serializers.SerializerMethodField(help_text="How many decimal digits the unit has.")
    available = serializers.IntegerField()

    class Meta:
        model = Wallet
        fields = ["id", "kind", "unit", "exponent", "balance", "held", "frozen", "available"]

    def get_exponent(self, wallet: Wallet) -> int:
        return EXPONENTS[wallet.unit]

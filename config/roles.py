"""What the staff groups may see and do. Only superusers may do what is not named here.

A migration of this app carries the table into the database; whoever adds to it adds a migration that does so again.
"""

from __future__ import annotations

from typing import Any

_MONEY = (
    "wallet",
    "ledgertransaction",
    "ledgerentry",
    "hold",
    "creditlot",
    "freeze",
    "debt",
    "signupgrant",
    "payment",
    "paymentstart",
    "paymentattempt",
    "refund",
    "dispute",
    "staffgrant",
)
_PRICES = ("package", "creditprice")
_ORDERS = ("product", "order", "orderline")
_JOBS = ("generation", "attempt", "asset", "consent", "jobphoto", "photo", "upload", "avatar")


def _view(app: str, *models: str) -> dict[str, str]:
    return {f"{app}.{model}": "view" for model in models}


# model → what may be done to it: Django's own view, add, change, delete, and the acts that models name.
ROLES: dict[str, dict[str, str]] = {
    "support": {
        **_view("accounts", "session", "emailverification", "emailchange", "passwordreset", "look"),
        **_view("audit", "auditlog", "approval"),
        **_view("billing", *_MONEY, *_PRICES),
        "calls.call": "view end",
        **_view("generation", *_JOBS, "operation"),
        "notifications.mail": "view resend resend_many try",
        "notifications.suppression": "view add lift",
        **_view("notifications", "mailevent"),
        **_view("wearables", "wearable", "selection", "customization"),
        "accounts.user": "view suspend verify remind sign_out look_as",
        "billing.staffgrant": "view give",
        "generation.generation": "view takedown rerun end",
        "generation.report": "view decide",
        **_view("store", *_ORDERS),
        "store.order": "view process",
    },
    "finance": {
        **_view("accounts", "look"),
        "accounts.user": "view look_as",
        **_view("audit", "auditlog", "daytotal", "verification"),
        "audit.extract": "view take",
        **_view("billing", *_MONEY, *_PRICES, "break", "gatewaycursor", "bookcheck", "promospending"),
        **_view("calls", "call"),
        **_view("generation", "generation", "operation"),
        **_view("notifications", "mail", "mailevent"),
        **_view("store", *_ORDERS),
        "audit.approval": "view decide",
        "billing.package": "view reprice",
        "billing.plan": "view",
        "billing.staffgrant": "view give give_more void",
        "billing.payment": "view refund",
        "billing.break": "view resolve",
        "billing.salesstop": "view set",
        "billing.debt": "view waive",
    },
    "ops": {
        **_view("audit", "auditlog", "verification"),
        "audit.extract": "view take",
        **_view(
            "billing", "payment", "paymentstart", "paymentattempt", *_PRICES, "gatewaycursor", "bookcheck", "salesstop"
        ),
        "calls.call": "view end",
        **_view("core", "storedobject", "idempotencykey"),
        **_view("generation", *_JOBS),
        "inbox.delivery": "view replay",
        "notifications.mail": "view resend resend_many try",
        "notifications.suppression": "view add lift",
        **_view("notifications", "mailevent"),
        "accounts.user": "view reset_mfa",
        **_view("wearables", "former"),
        "generation.operation": "view add change switch",
        "generation.blockedterm": "view add change delete",
        "wearables.wearable": "view add change",
        "wearables.import": "view apply",
        "generation.generation": "view takedown rerun end",
        "generation.report": "view decide",
        **_view("store", *_ORDERS),
        "store.product": "view add change delete",
        "store.order": "view process",
    },
}


def entrust(apps: Any, schema_editor: Any) -> None:
    """Give the groups what the table says, from within a migration. Takes nothing away: operators may have added.

    Django makes the rows of permissions only after all migrations, so they are made here, as it would.
    """
    content_type = apps.get_model("contenttypes", "ContentType").objects
    permission = apps.get_model("auth", "Permission").objects
    group = apps.get_model("auth", "Group").objects
    for name, models in ROLES.items():
        given = []
        for label, verbs in models.items():
            app, model = label.split(".")
            of_model, _ = content_type.get_or_create(app_label=app, model=model)
            for verb in verbs.split():
                found, _ = permission.get_or_create(
                    content_type=of_model, codename=f"{verb}_{model}", defaults={"name": f"Can {verb} {model}"}
                )
                given.append(found)
        group.get_or_create(name=name)[0].permissions.add(*given)

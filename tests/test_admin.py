"""The ops console knows every model, and the books cannot be edited in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client, RequestFactory
from django.urls import get_resolver, resolve, reverse

from accounts.models import User
from audit.models import AuditLog
from config.roles import ROLES
from core import clock, context
from core.ids import new_id
from notifications.models import Mail
from tests.notifications.letters import letter
from tests.people import PASSWORD, make_staff, make_user

OURS = ("core", "audit", "inbox", "notifications", "accounts", "billing", "wearables", "generation", "calls", "store")
READ_ONLY = {
    "accounts.look",
    "calls.call",
    "audit.auditlog",
    "audit.auditdetail",
    "audit.seal",
    "audit.verification",
    "audit.extract",
    "inbox.delivery",
    "billing.salesstop",
    "billing.wallet",
    "billing.ledgertransaction",
    "billing.ledgerentry",
    "billing.hold",
    "billing.creditlot",
    "billing.debt",
    "billing.payment",
    "billing.subscription",
    "billing.subscriptioninvoice",
    "billing.subscriptionchange",
    "billing.gatewaycustomer",
    "billing.plan",
    "generation.attempt",
    "generation.avatar",
    "audit.approval",
    "billing.staffgrant",
    "wearables.import",
    "wearables.former",
    "wearables.selection",
    "wearables.customization",
    "store.order",
    "store.orderline",
}


def models() -> list[type]:
    return [model for app in OURS for model in apps.get_app_config(app).get_models()]


@pytest.fixture
def boss(db: None) -> User:
    return User.objects.create_superuser("boss@example.test", PASSWORD)


def test_every_model_is_registered() -> None:
    assert [m.__name__ for m in models() if not admin.site.is_registered(m)] == []


@pytest.mark.parametrize("label", sorted(READ_ONLY))
def test_the_books_are_read_only_even_for_superusers(boss: User, label: str) -> None:
    model_admin = admin.site.get_model_admin(apps.get_model(label))
    request = RequestFactory().get("/admin/")
    request.user = boss

    assert not model_admin.has_add_permission(request)
    assert not model_admin.has_change_permission(request)
    assert not model_admin.has_delete_permission(request)
    assert model_admin.has_view_permission(request)


@pytest.mark.parametrize("label", sorted(m._meta.label_lower for m in models()))
def test_every_list_opens(boss: User, label: str) -> None:
    client = Client()
    client.force_login(boss)
    app, name = label.split(".")

    response = client.get(reverse(f"admin:{app}_{name}_changelist"))

    assert response.status_code == 200


def test_the_console_is_closed_to_everybody_else(alice: User) -> None:
    client = Client()
    assert client.get("/admin/").status_code == 302
    client.force_login(alice)
    assert client.get("/admin/", follow=False).status_code == 302


def test_what_staff_do_in_the_console_is_theirs(boss: User) -> None:
    client = Client()
    client.force_login(boss)

    term = {"term": "forbidden thing", "category": "adult", "is_enabled": "on"}

    response = client.post(reverse("admin:generation_blockedterm_add"), term)

    assert response.status_code == 302
    row = AuditLog.objects.get(entity_type="blockedterm")
    assert (row.source, row.actor_id) == ("ADMIN", boss.pk)
    assert context.current().actor_id is None


NOBODYS = {
    *("billing.package", "billing.creditprice", "billing.plan", "generation.operation", "inbox.delivery"),
    *("notifications.suppression", "wearables.import"),
}


def test_what_staff_do_to_somebodys_things_is_on_their_behalf() -> None:
    acted_on = {m._meta.label_lower: admin.site.get_model_admin(m) for m in models()}
    acted_on = {label: found for label, found in acted_on.items() if getattr(found, "actions_detail", ())}

    assert {label for label, found in acted_on.items() if found.customer_of(found.model()) is None} >= NOBODYS
    for label, found in acted_on.items():
        path, model = found.customer.split("."), found.model
        for step in path[:-1]:
            model = model._meta.get_field(step).related_model
        names = {name for field in model._meta.fields for name in (field.name, field.attname, "pk")}
        assert (path[-1] in names) is (label not in NOBODYS), label


def test_nobody_is_named_where_no_request_runs(boss: User) -> None:
    context.set_actor(boss.pk)
    context.set_clock(clock.note(clock.now()))

    assert context.current() == context.Context()


# --- Who sees what ----------------------------------------------------------------------------------------------------

MONEY = (
    "wallet ledgertransaction ledgerentry hold creditlot freeze debt signupgrant payment paymentstart paymentattempt "
    "refund dispute staffgrant package creditprice"
)
JOBS = "generation attempt asset consent jobphoto photo upload avatar report"
# group → what its people may look at, by app. What stands nowhere is for superusers alone.
SEEN = {
    "support": {
        "accounts": "user session emailverification emailchange passwordreset look",
        "audit": "auditlog approval",
        "billing": MONEY,
        "calls": "call",
        "generation": f"{JOBS} operation",
        "notifications": "mail mailevent suppression",
        "wearables": "wearable selection customization",
        "store": "product order orderline",
    },
    "finance": {
        "accounts": "user look",
        "audit": "auditlog approval daytotal verification extract",
        "billing": f"{MONEY} plan break gatewaycursor bookcheck salesstop promospending",
        "calls": "call",
        "generation": "generation operation",
        "notifications": "mail mailevent",
        "store": "product order orderline",
    },
    "ops": {
        "accounts": "user",
        "audit": "auditlog verification extract",
        "billing": "payment paymentstart paymentattempt package creditprice gatewaycursor bookcheck salesstop",
        "calls": "call",
        "core": "storedobject idempotencykey",
        "generation": f"{JOBS} operation blockedterm",
        "inbox": "delivery",
        "notifications": "mail mailevent suppression",
        "wearables": "wearable import former",
        "store": "product order orderline",
    },
}
ADDED = {
    "support": {"notifications": "suppression"},
    "ops": {
        "generation": "operation blockedterm",
        "notifications": "suppression",
        "wearables": "wearable",
        "store": "product",
    },
}
DELETED = {"ops": {"generation": "blockedterm", "store": "product"}}
STAFF = set(ROLES)
# address below /admin/ that is no model's list, form or act → who may open it; `-` is an id of nothing
PAGES = {
    "": STAFF,
    "billing/": STAFF,
    "search/": STAFF,
    "two-step/": STAFF,
    "find/?q=a": STAFF,
    "customer/-/": STAFF,
    "customer/-/look/": {"support", "finance"},
    "customer/-/look/jobs/": {"support", "finance"},
    "invariants/": {"finance", "ops"},
    "providers/": {"support", "ops"},
    "audit/extract/-/fetch": {"finance", "ops"},
    "notifications/mail/-/preview/": STAFF,
    "notifications/mail/samples/": STAFF,
    "notifications/mail/samples/welcome/": STAFF,
    "wearables/wearable/export/": {"support", "ops"},
    "wearables/import/plan/": {"ops"},
}
SENT = {"audit/auditlog/take": {"finance", "ops"}, "audit/verification/verify": {"finance", "ops"}}  # by POST
# The way in and out, and what Django answers by what it is asked for.
OF_DJANGO = "login logout second_step mfa_enrol password_change password_change_done autocomplete jsi18n view_on_site"
# act → whose button it is
ACTS = {
    "accounts_user_suspend": {"support"},
    "accounts_user_reinstate": {"support"},
    "accounts_user_look_as": {"support", "finance"},
    "accounts_user_vouch": {"support"},
    "accounts_user_remind": {"support"},
    "accounts_user_sign_out": {"support"},
    "accounts_user_reset_mfa": {"ops"},
    "audit_approval_approve": {"finance"},
    "audit_approval_refuse": {"finance"},
    "billing_wallet_give": {"support", "finance"},
    "billing_staffgrant_void": {"finance"},
    "billing_payment_refund": {"finance"},
    "billing_break_refund": {"finance"},
    "billing_break_credit_in_part": {"finance"},
    "billing_break_dismiss": {"finance"},
    "billing_debt_waive": {"finance"},
    "generation_generation_take_down": {"support", "ops"},
    "calls_call_end": {"support", "ops"},
    "generation_generation_retry": {"support", "ops"},
    "generation_generation_cancel": {"support", "ops"},
    "generation_generation_release": {"support", "ops"},
    "generation_operation_change_price": {"finance"},
    "generation_operation_switch_off": {"ops"},
    "generation_operation_switch_on": {"ops"},
    "inbox_delivery_replay": {"ops"},
    "generation_report_take_down": {"support", "ops"},
    "generation_report_dismiss": {"support", "ops"},
    "notifications_mail_resend": {"support", "ops"},
    "notifications_suppression_lift": {"support", "ops"},
    "store_order_ship": {"support", "ops"},
    "store_order_deliver": {"support", "ops"},
    "store_order_cancel": {"support", "ops"},
    "billing_package_change_price": {"finance"},
    "billing_package_sell_another": {"finance"},
    "billing_creditprice_change_price": {"finance"},
    "billing_creditprice_sell_another": {"finance"},
    "billing_plan_change_price": {"finance"},
    "billing_plan_sell_another": {"finance"},
    "wearables_import_apply": {"ops"},
    "wearables_import_roll_back": {"ops"},
}
# act on what is ticked in a list → whose it is
ACTS_ON_MANY = {("notifications.mail", "resend_dead"): {"support", "ops"}}


def is_in(table: dict[str, dict[str, str]], group: str, label: str) -> bool:
    app, model = label.split(".")
    return model in table.get(group, {}).get(app, "").split()


def everybody() -> dict[str, Client]:
    """A signed-in browser of each kind of person."""
    people = {"user": make_user("customer@example.com")} | {group: make_staff(group) for group in SEEN}
    people["superuser"] = User.objects.create_superuser("root@example.test", PASSWORD)
    clients = {"anonymous": Client()}
    for who, person in people.items():
        clients[who] = Client()
        clients[who].force_login(person)
    return clients


@pytest.mark.django_db
def test_each_page_opens_for_whom_it_should() -> None:
    clients = everybody()
    wrong = []
    for label in sorted(["auth.group", *(m._meta.label_lower for m in models())]):
        page = f"admin:{label.replace('.', '_')}"
        for who, client in clients.items():
            sees = who == "superuser" or is_in(SEEN, who, label)
            stays_out = 302 if who in ("anonymous", "user") else 403
            looks = [client.get(reverse(f"{page}_changelist")), client.get(reverse(f"{page}_change", args=[new_id()]))]
            # An object that does not exist sends who may look at such objects back to the start.
            expected = [200, "/admin/"] if sees else [stays_out, stays_out]
            found = [
                "/admin/" if look.status_code == 302 and look["Location"] == "/admin/" else look.status_code
                for look in looks
            ]
            if found != expected:
                wrong.append((label, who, found, expected))
            if who in SEEN:
                added = client.get(reverse(f"{page}_add")).status_code == 200
                if added != is_in(ADDED, who, label):
                    wrong.append((label, who, "add", added))
                deleted = client.get(reverse(f"{page}_delete", args=[new_id()])).status_code != 403
                if deleted != is_in(DELETED, who, label):
                    wrong.append((label, who, "delete", deleted))

    assert wrong == []


@pytest.mark.django_db
def test_each_page_of_the_consoles_own_opens_for_whom_it_should() -> None:
    clients = everybody()
    wrong = []
    for method, pages in (("get", PAGES), ("post", SENT)):
        for page, groups in pages.items():
            for who, client in clients.items():
                answer = getattr(client, method)(f"/admin/{page.replace('-/', f'{new_id()}/')}")
                is_at_the_door = answer.status_code == 302 and "/login/" in answer["Location"]
                found = (
                    "the door" if is_at_the_door else {403: "refused", 500: "broken"}.get(answer.status_code, "open")
                )
                may = who == "superuser" or who in groups
                expected = "open" if may else "refused" if who in STAFF else "the door"
                if found != expected:
                    wrong.append((page, who, answer.status_code, found))

    assert wrong == []


def test_every_page_of_the_console_stands_in_a_table() -> None:
    console = (route for route in get_resolver().url_patterns if str(route.pattern) == "admin/")
    names = {route.name for part in console for route in _routes(part)} - {None}
    of_models = re.compile(r"_(changelist|add|change|delete|history)\Z")

    own = {name for name in names if not of_models.search(name) and name not in ACTS} - set(OF_DJANGO.split())
    found = {
        resolve(f"/admin/{page.partition('?')[0].replace('-/', f'{new_id()}/')}").url_name for page in PAGES | SENT
    }
    assert own == found


def _routes(part: Any) -> Iterator[Any]:
    for route in part.url_patterns:
        if hasattr(route, "url_patterns"):
            yield from _routes(route)
        else:
            yield route


@pytest.mark.django_db
def test_each_button_is_pressed_by_whom_it_should() -> None:
    clients = everybody()
    buttons = {
        button.action_name
        for model in models()
        if admin.site.is_registered(model)
        for button in admin.site.get_model_admin(model)._get_base_actions_detail()
    }
    assert buttons == set(ACTS)
    wrong = []
    for button, groups in ACTS.items():
        for who, client in clients.items():
            form = {"reason": "To see.", "_form_submitted": "True"}
            url = reverse(f"admin:{button}", args=[new_id()])
            may = who == "superuser" or who in groups
            expected = {302} if who in ("anonymous", "user") else {200, 404} if may else {403}
            for found in (client.get(url).status_code, client.post(url, form).status_code):
                if found not in expected:
                    wrong.append((button, who, found))

    assert wrong == []


@pytest.mark.django_db
def test_each_act_on_many_is_done_by_whom_it_should() -> None:
    pages = {m._meta.label_lower: admin.site.get_model_admin(m) for m in models()}
    assert {(label, act) for label, page in pages.items() for act in page.actions} == set(ACTS_ON_MANY)
    clients = everybody()
    dead = letter()
    Mail.objects.filter(pk=dead.pk).update(state="failed")
    wrong = []
    for (label, act), groups in ACTS_ON_MANY.items():
        url = reverse(f"admin:{label.replace('.', '_')}_changelist")
        for who, client in clients.items():
            is_offered = f'value="{act}"'.encode() in client.get(url).content
            answer = client.post(url, {"action": act, "_selected_action": [dead.pk]})
            is_taken = b'name="reason"' in answer.content
            if {is_offered, is_taken} != {who == "superuser" or who in groups}:
                wrong.append((act, who, is_offered, is_taken))
            client.post(url, {"action": act, "_selected_action": [dead.pk], "reason": "x", "_form_submitted": "True"})
            if Mail.objects.filter(resends__isnull=False).delete()[0] != is_taken:
                wrong.append((act, who, "does it"))

    assert wrong == []


@pytest.mark.django_db
def test_the_roles_name_permissions_of_models_that_exist() -> None:
    for models_of in ROLES.values():
        for label, verbs in models_of.items():
            options = apps.get_model(label)._meta
            known = {*options.default_permissions, *(name.rsplit("_", 1)[0] for name, _ in options.permissions)}
            assert set(verbs.split()) <= known, label

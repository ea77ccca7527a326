"""The console's home, search and customer page: what each group is shown, by how many queries."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from billing.books import all_checks
from billing.models import BookCheck, Break, Hold, Payment, PaymentStart
from core import clock
from core.ids import highest_id, lowest_id, new_id
from dashboard.console import charts, home, search, timeline
from generation.models import Attempt, Generation
from inbox.models import Delivery
from notifications.models import Mail
from tests import books
from tests.generation.material import fail, fund, order
from tests.people import make_staff, make_user

pytestmark = pytest.mark.django_db
MOST_QUERIES = 15


def browser(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def rich(alice: User) -> User:
    """Alice, with 205 credits."""
    fund(alice, 200)
    return alice


@pytest.fixture
def support() -> Client:
    return browser(make_staff("support"))


@pytest.fixture
def finance() -> Client:
    return browser(make_staff("finance"))


def dead_webhook() -> Delivery:
    return Delivery.objects.create(
        provider="razorpay", sha256=new_id().bytes * 2, body=b"{}", state="dead", next_at=None
    )


def a_break(**fields: Any) -> Break:
    return Break.objects.create(
        kind="overpaid", cause=str(new_id()), gateway="razorpay", amount=100, currency="INR", **fields
    )


def payment_of(user: User, **fields: Any) -> Payment:
    first = {"item": "package:BASIC", "fulfils": "credits", "title": "Basic, 100 credits", "credits": 100}
    rest = {"gateway": "razorpay", "amount": 49_900, "currency": "INR", "state": "canceled"}
    return Payment.objects.create(user=user, expires_at=timezone.now(), **first | rest | fields)


def texts(response: Any, name: str) -> list[str]:
    return [line.title for line in response.context[name]]


# --- Home -------------------------------------------------------------------------------------------------------------


def test_each_group_sees_what_waits_for_it(finance: Client) -> None:
    a_break()
    a_break(resolved_at=timezone.now())
    dead_webhook()
    BookCheck.objects.create(
        began_at=timezone.now(),
        took_ms=1,
        is_clean=False,
        findings=[{"check": "sums", "row": "1", "problem": "off"}] * 3,
    )

    shown = finance.get("/admin/")
    assert [(line.title, line.shown) for line in shown.context["waiting"]] == [
        ("Invariants broken", "1"),
        ("Breaks to resolve", "1"),
    ]
    assert "Approvals asked for" in texts(shown, "quiet")
    assert "Webhooks nobody could handle" not in texts(shown, "quiet")

    shown = browser(make_staff("ops")).get("/admin/")
    assert [(line.title, line.url) for line in shown.context["waiting"]] == [
        ("Invariants broken", "/admin/invariants/"),
        ("Webhooks nobody could handle", "/admin/inbox/delivery/?state__exact=dead"),
    ]


def test_a_late_job_waits_and_its_list_shows_just_it(support: Client, rich: User) -> None:
    late, other = order(rich), order(rich)
    Generation.objects.filter(pk=late.pk).update(deadline_at=Now() - timedelta(minutes=1))

    [line] = [line for line in support.get("/admin/").context["waiting"] if line.title == "Jobs past their deadline"]

    assert (line.count, line.is_urgent) == (1, True)
    listed = support.get(line.url).content.decode()
    assert str(late.pk) in listed
    assert str(other.pk) not in listed


def test_a_great_number_is_not_counted_to_its_end(finance: Client) -> None:
    for _ in range(102):
        a_break()

    [line] = finance.get("/admin/").context["waiting"]

    assert line.shown == "100+"


@pytest.mark.parametrize("group", ["support", "finance", "ops"])
def test_home_is_few_queries(group: str) -> None:
    client = browser(make_staff(group))
    cache.clear()

    with CaptureQueriesContext(connection) as queries:
        assert client.get("/admin/?span=90d").status_code == 200

    asked = [query["sql"][:90] for query in queries if "SAVEPOINT" not in query["sql"]]
    assert len(asked) <= MOST_QUERIES, asked


def test_figures_that_take_too_long_are_not_waited_for(finance: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "COUNTED_FOR_S", 0.05)
    monkeypatch.setattr(charts, "_MAILS", charts._MAILS.replace("WHERE", "WHERE pg_sleep(30) IS NOT NULL OR"))
    Mail.objects.create(user=None, name="welcome", to="a@example.com", cause="test", context={})
    cache.clear()

    page = finance.get("/admin/?span=7d")

    assert "Choose a shorter time" in page.content.decode()
    notes = {chart.title: chart.note for chart in page.context["charts"]}
    assert [title for title, note in notes.items() if note] == ["Mail"]


def test_figures_say_what_happened(alice: User) -> None:
    check = BookCheck.objects.create(
        began_at=timezone.now() - timedelta(days=2), took_ms=1, is_clean=True, outstanding=7
    )
    BookCheck.objects.filter(pk=check.pk).update(created_at=check.began_at)
    fund(alice, 40)
    books.check()
    payment_of(alice, received=49_900, refunded=900, state="partially_refunded")
    payment_of(alice)
    now = clock.now()

    [paid] = charts.revenue(charts.SPANS["24h"], now).series
    assert (paid.title, paid.total, paid.note) == ("razorpay INR", "₹490.00", "1 paid")
    assert [bar.value for bar in paid.bars if bar.value] == [49_000]
    assert len(paid.bars) == 24
    given = charts.credits(charts.SPANS["7d"], now)
    assert [(one.title, one.total) for one in given.series] == [("given", "45 credits")]
    assert given.facts == [("Outstanding", "52 credits")]
    people = charts.people(charts.SPANS["30d"], now)
    assert (people.series[0].total, people.facts) == ("1", [("of these verified", "1")])


def test_a_providers_jobs_are_told_by_success_and_time(rich: User) -> None:
    fail(order(rich))
    done = order(rich)
    Generation.objects.filter(pk=done.pk).update(
        state="succeeded",
        next_at=None,
        finished_at=Now() + timedelta(seconds=4),
        round_started_at=Now(),
        lease_token=None,
        lease_until=None,
    )

    chart = charts.jobs(charts.SPANS["24h"], clock.now() + timedelta(seconds=5))

    assert {one.title: one.total for one in chart.series} == {"succeeded": "1", "failed": "1"}
    [row] = chart.table
    assert (row["provider"], row["success"], row["p50"]) == ("magic-hour", "50.0 %", "4.0 s")


def test_times_are_those_of_the_readers_browser(support: Client, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(created_at="2026-01-02T20:30:00Z")
    page = reverse("console-customer", args=[alice.pk])

    assert "2 Jan 2026 20:30" in support.get(page).content.decode()
    support.cookies["zone"] = "Asia/Kolkata"
    assert "3 Jan 2026 02:00" in support.get(page).content.decode()
    for nonsense in ("../../etc/passwd", "Europe", "\x00", "x" * 5000):
        support.cookies["zone"] = nonsense
        assert "2 Jan 2026 20:30" in support.get(page).content.decode()


# --- Search -----------------------------------------------------------------------------------------------------------


def test_whatever_support_has_in_hand_leads_to_its_page(support: Client, rich: User) -> None:
    person = User.objects.get(pk=rich.pk)
    payment = payment_of(person)
    start = PaymentStart.objects.create(
        payment=payment, n=1, gateway="razorpay", reference="ours-1", ref="order_abc", amount=1, currency="INR"
    )
    job = order(rich)
    attempt = Attempt.objects.create(
        generation=job, round=1, n=1, provider="magic-hour", model="m", provider_job_id="mh/1+2"
    )
    mail = Mail.objects.filter(user=rich).first()
    assert mail
    home = reverse("console-customer", args=[person.pk])
    the_payment = reverse("admin:billing_payment_change", args=[payment.pk])
    the_job = reverse("admin:generation_generation_change", args=[job.pk])

    for text, page in {
        person.email.upper(): home,
        str(person.pk): home,
        f" {person.pk.hex} ": home,
        person.email[:6]: home,
        str(payment.pk): the_payment,
        start.ref: the_payment,
        start.reference: the_payment,
        str(job.pk): the_job,
        attempt.provider_job_id: the_job,
        attempt.token: the_job,
        str(attempt.pk): reverse("admin:generation_attempt_change", args=[attempt.pk]),
        mail.cause: reverse("admin:notifications_mail_change", args=[mail.pk]),
        job.hold_key: reverse("admin:billing_hold_change", args=[Hold.objects.get(key=job.hold_key).pk]),
    }.items():
        found = support.get("/admin/find/", {"q": text})
        assert (text, found.status_code, found.get("Location")) == (text, 302, page)


def test_people_are_found_by_the_beginning_of_a_name_and_listed(support: Client) -> None:
    for name, family in (("Ada", "Lovelace"), ("Adam", "Smith"), ("Grace", "Adamson"), ("Bo", "Li")):
        make_user(first_name=name, last_name=family)

    assert len(support.get("/admin/find/", {"q": "ada"}).context["hits"]) == 3
    assert support.get("/admin/find/", {"q": "ADAM smi"}).status_code == 302
    for nothing in ("", "zz", "100%", "_", "\0", "x" * 9000, str(new_id())):
        assert support.get("/admin/find/", {"q": nothing}).context["hits"] == []


def test_a_request_leads_to_what_it_did(support: Client, alice: User) -> None:
    support.get("/admin/", headers={"x-request-id": "from-the-app-17"})
    support.post(
        reverse("admin:accounts_user_suspend", args=[alice.pk]),
        {"reason": "Asked.", "_form_submitted": "True"},
        headers={"x-request-id": "from-the-app-18"},
    )

    assert (
        support.get("/admin/find/", {"q": "from-the-app-18"})["Location"]
        == "/admin/audit/auditlog/?request=from-the-app-18"
    )


def test_what_one_may_not_see_is_not_found(support: Client, finance: Client) -> None:
    webhook = dead_webhook()

    assert support.get("/admin/find/", {"q": str(webhook.pk)}).context["hits"] == []
    assert browser(make_staff("ops")).get("/admin/find/", {"q": str(webhook.pk)}).status_code == 302


def test_each_search_is_by_index(alice: User) -> None:
    request = type("Asking", (), {"user": User(is_superuser=True, status="active", is_staff=True)})()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    for text in (str(new_id()), "order_unknown", "some@body.example", "ada", "ada love"):
        with CaptureQueriesContext(connection) as queries:
            search.find(request, text)
        for query in queries:
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN " + query["sql"])
                plan = [line for (line,) in cursor.fetchall()]
            assert not [line for line in plan if "Seq Scan" in line], (text, plan)


# --- The customer's page ----------------------------------------------------------------------------------------------


def test_the_timeline_tells_everything_once_in_order(support: Client, alice: User) -> None:
    for _ in range(timeline.SHOWN):
        payment_of(alice)
    payment_of(make_user())
    Payment.objects.update(created_at="2026-01-01T00:00:00Z")  # at one moment: the ids decide
    page = reverse("console-customer", args=[alice.pk])

    seen: list[Any] = []
    older = ""
    while True:
        shown = support.get(page, {"before": older} if older else {})
        seen += shown.context["events"]
        older = shown.context["older"]
        if not older:
            break

    assert len(seen) == len({(event.label, event.key) for event in seen})
    assert sum(event.label == "billing.payment" for event in seen) == timeline.SHOWN
    assert {event.label for event in seen} >= {"notifications.mail", "billing.ledgertransaction"}
    assert [(event.at, event.key) for event in seen] == sorted(((e.at, e.key) for e in seen), reverse=True)
    for nonsense in ("x", "2026-99-99T00:00:00Z~1", "2026-01-01~", "2026-01-01T00:00:00~1", "2026-01-01T00:00:00Z~\0"):
        assert support.get(page, {"before": nonsense}).status_code == 200


def test_the_page_is_few_queries_whatever_the_history(support: Client, rich: User) -> None:
    fail(order(rich))
    order(rich)
    payment_of(rich)
    page = reverse("console-customer", args=[rich.pk])
    support.get(page)

    with CaptureQueriesContext(connection) as queries:
        shown = support.get(page)

    assert shown.status_code == 200
    assert len(queries) <= MOST_QUERIES, [query["sql"][:90] for query in queries]
    assert {act["title"] for act in shown.context["acts"]} >= {"Suspend", "End all sessions"}
    assert [act["title"] for wallet in shown.context["wallets"] for act in wallet["acts"]] == ["Give credits"]
    assert [kind["title"] for kind in shown.context["money"]] == ["Lots", "Holds"]


def test_ops_see_no_money_and_strangers_nothing(alice: User) -> None:
    page = reverse("console-customer", args=[alice.pk])
    shown = browser(make_staff("ops")).get(page)

    assert (shown.context["wallets"], shown.context["money"]) == ([], [])
    assert not {event.label for event in shown.context["events"]} & {"billing.ledgertransaction", "accounts.session"}
    assert browser(alice).get(page).status_code == 302
    assert Client().get(page).status_code == 302
    assert browser(alice).get("/admin/find/", {"q": "a"}).status_code == 302


def test_an_act_leads_back_to_the_page_it_was_opened_on(support: Client, alice: User) -> None:
    act = reverse("admin:accounts_user_suspend", args=[alice.pk])
    form = {"reason": "Asked.", "_form_submitted": "True"}
    page = reverse("console-customer", args=[alice.pk])

    def led(shown: str) -> str:
        return str(support.post(act, form, headers={"HX-Request": "true", "HX-Current-URL": shown})["HX-Redirect"])

    assert led(f"http://testserver{page}?before=1") == f"{page}?before=1"
    own = reverse("admin:accounts_user_change", args=[alice.pk])
    for elsewhere in (
        "https://evil.example/admin/",
        "//evil.example/admin/",
        "javascript:alert(1)",
        "http://testserver/x",
        "",
    ):
        User.objects.filter(pk=alice.pk).update(status="active")
        assert led(elsewhere) == own


def test_ids_of_a_moment_enclose_what_was_born_in_it() -> None:
    moment = timezone.now()

    assert lowest_id(moment) <= highest_id(moment)
    assert lowest_id(moment - timedelta(seconds=1)) < new_id() < highest_id(moment + timedelta(seconds=60))


# --- Invariants and providers -----------------------------------------------------------------------------------------


def test_each_rule_is_shown_with_its_query_and_what_broke_it(finance: Client, support: Client) -> None:
    now = timezone.now()
    BookCheck.objects.create(began_at=now - timedelta(hours=5), took_ms=9, is_clean=True, outstanding=0)
    name, wallet = all_checks()[3].name, new_id()
    broken = [{"check": name, "row": f"wallet {wallet}", "problem": "off by 3"}]
    BookCheck.objects.create(began_at=now, since=now, took_ms=9, is_clean=False, findings=broken)

    with CaptureQueriesContext(connection) as queries:
        page = finance.get("/admin/invariants/")

    assert len(queries) <= MOST_QUERIES
    rules = page.context["rules"]
    assert {rule["name"] for rule in rules} == {check.name for check in all_checks()}
    assert [rule["name"] for rule in rules if rule["findings"]] == [name] == [rules[0]["name"]]
    assert f'href="/admin/find/?q={wallet}"' in page.content.decode()
    assert support.get("/admin/invariants/").status_code == 403
    assert Client().get("/admin/invariants/").status_code == 302


def test_providers_stand_beside_each_other_with_what_was_lost(support: Client, finance: Client, rich: User) -> None:
    job = order(rich)
    attempt = {"generation": job, "round": 1, "provider": "magic-hour", "model": "m", "cost_unit": "credits"}
    failed = {"outcome": "failed", "error_code": "provider_failed", "provider_cost": 5, "latency_ms": 80}
    Attempt.objects.create(n=1, **failed, **attempt)
    Attempt.objects.create(n=2, outcome="succeeded", provider_cost=7, latency_ms=40, **attempt)
    Attempt.objects.create(n=3, outcome="abandoned", provider_cost=Decimal("0.5"), **attempt)

    with CaptureQueriesContext(connection) as queries:
        shown = support.get("/admin/providers/").context["providers"]

    assert len(queries) <= MOST_QUERIES
    [provider] = [one for one in shown if one["name"] == "magic-hour"]
    assert {name: provider[name] for name in ("attempts", "success", "errors", "lost", "is_on")} == {
        "attempts": 3,
        "success": "50.0 %",
        "errors": [("provider_failed", 1)],
        "lost": ["5.5 credits"],
        "is_on": True,
    }
    assert provider["latency"] == ["60 ms", "78 ms"]
    assert finance.get("/admin/providers/").status_code == 403


def test_a_payments_page_shows_money_as_people_write_it(support: Client, alice: User) -> None:
    payment = payment_of(alice, received=49_900, state="succeeded")

    page = support.get(reverse("admin:billing_payment_change", args=[payment.pk])).content.decode()

    assert page.count("₹499.00") == 2  # the price and what came
    assert "49900" not in page


# --- Lists by date ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["", "Asia/Kolkata"])
def test_a_list_is_narrowed_by_date(support: Client, rich: User, zone: str) -> None:
    support.cookies["zone"] = zone
    long_ago = timezone.now() - timedelta(days=400)
    old, new = order(rich), order(rich)
    former = Generation.objects.filter(pk=old.pk)
    former.update(created_at=long_ago)
    page = reverse("admin:generation_generation_changelist")

    def listed(**span: str) -> list[Any]:
        answer = support.get(page, span)
        assert answer.status_code == 200, answer.get("Location")
        return [row.pk for row in answer.context["cl"].result_list]

    year_ago, day_ago = (f"{timezone.now() - timedelta(days=days):%Y-%m-%d %H:%M:%S+00:00}" for days in (365, 1))
    assert listed() == [new.pk, old.pk]
    assert listed(created_at__gte=day_ago) == [new.pk]
    assert listed(created_at__gte=year_ago, created_at__lt=day_ago) == []
    for nonsense in ("x", "2026-99-01", ""):
        assert support.get(page, {"created_at__gte": nonsense}).status_code in (200, 302)
    choices = support.get(page).content.decode()
    assert "Past 7 days" in choices

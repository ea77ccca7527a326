"""Every kind under every magic word of the sandbox: how to order it, how it has to end, and what it costs us."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import User
from audit.models import AuditLog
from billing.models import Hold, Plan, Subscription
from core import storage
from generation import avatars, jobs
from generation.engine import moves
from generation.engine.advance import advance
from generation.engine.orders import MODEL_OUTPUTS
from generation.models import OPEN, Asset, Attempt, Avatar, Generation, Kind, Outcome, Photo, State
from notifications.models import Mail
from tests.generation.material import DESCRIPTION, order, order_of, photo_of, sweep, until

KINDS = ("headshot", "image", "video.xai", "video.kie", "avatar", "avatar.thumbnail")
LONG = "video.xai of two stages"
DEEP_KINDS = (*KINDS, "model3d", LONG)
SYNCHRONOUS = ("image", "avatar", "avatar.thumbnail")  # there, what is late is a call that is not answered
PRICES = {"headshot": 50, "image": 5, "video.xai": 15, "video.kie": 20, "avatar": 10, "avatar.thumbnail": 5}
PRICES |= {LONG: 45, "model3d": 40}
# What a finished one costs us; an avatar's chat comes on top of its picture. KIE tells nothing.
BILLS = {"headshot": "50", "image": "0.02", "video.xai": "0.15", "avatar": "0.02", "avatar.thumbnail": "0.02"}

# word → the code that it fails with, by kind; none: it is made
ENDS: dict[str, dict[str, str]] = {
    **{word: dict.fromkeys(KINDS, "") for word in ("", "slow", "lost", "duplicate", "429", "500")},
    "fail": dict.fromkeys(KINDS, "provider_failed") | dict.fromkeys(SYNCHRONOUS, "provider_rejected"),
    "moderated": dict.fromkeys(KINDS, "moderated"),
    "withheld": dict.fromkeys(KINDS, "moderated") | {"headshot": "", "video.kie": ""},
    "blocked": dict.fromkeys(KINDS, "moderated") | {"headshot": "", "video.kie": ""},
    "corrupt": dict.fromkeys(KINDS, "bad_output") | {"avatar": "provider_failed"},
    "wrongtype": dict.fromkeys(KINDS, "bad_output") | {"avatar": "provider_failed"},
    "huge": dict.fromkeys(KINDS, "output_too_large"),
    "hang": dict.fromkeys(KINDS, "deadline_exceeded"),
    "late": dict.fromkeys(KINDS, "deadline_exceeded"),
}
# Ends that cost us nothing, or not what a finished one costs.
REFUNDED = {("headshot", "fail"), ("headshot", "moderated")}
UNBILLED = {("image", "fail"), ("avatar.thumbnail", "fail"), ("video.xai", "fail"), ("video.xai", "blocked")}
CHAT_ALONE = {"moderated", "withheld", "blocked", "corrupt", "wrongtype", "fail"}
Case = tuple[str, str]  # a kind and a word
CASES: list[Case] = [(kind, word) for word in ENDS for kind in KINDS]
for _ends in ENDS.values():  # what the first stage made is no film: xAI will not extend it
    _ends[LONG] = (
        _ends["video.xai"].replace("bad_output", "provider_rejected").replace("output_too_large", "provider_rejected")
    )
ENDS[""]["model3d"] = ""  # it has no words that a magic one could be among
DEEP_CASES: list[Case] = [*CASES, ("model3d", "")]
LONG_CASES: list[Case] = [(LONG, word) for word in ENDS]


def is_unanswered(kind: str, word: str) -> bool:
    """Whether the call that costs gets no answer."""
    return word == "hang" or (word == "late" and kind in SYNCHRONOUS)


def large_plan(user: User) -> None:
    """Room for avatars without end."""
    plan = Plan.objects.filter(code="enterprise").earliest("id")
    Subscription.objects.create(user=user, plan=plan, gateway="stripe", state="active")


def faces(user: User, words: list[str]) -> dict[str, Avatar]:
    """A finished avatar for each word, whose profile says it: its next thumbnail will meet it."""
    made = {word: avatars.create(user=user, params={"name": "Mira", "description": DESCRIPTION}) for word in words}
    finish([avatar.generation for avatar in made.values()])
    for word, avatar in made.items():
        avatar.refresh_from_db()
        text = avatar.profile["base_prompt"] + saying(word)
        Avatar.objects.filter(pk=avatar.pk).update(profile=avatar.profile | {"base_prompt": text})
    return made


def saying(word: str) -> str:
    return f" sandbox:{word}" if word else ""


def place(
    user: User,
    kind: str,
    word: str,
    *,
    photo: Photo | None = None,
    face: Avatar | None = None,
    views: Sequence[Photo] = (),
    image_url: str = "",
) -> Generation:
    """An order of this kind that will meet this word."""
    text = f"A paper boat{saying(word)}"
    match kind:
        case "headshot" if image_url:
            asked = {"image_url": image_url, "consent": True, "params": {"style_prompt": text}}
            return jobs.create(user=user, request=jobs.Request(kind=Kind.HEADSHOT, **asked))
        case "headshot":
            return order(user, photo or photo_of(user), style_prompt=text)
        case "model3d":
            ids = [view.pk for view in views]
            return jobs.create(user=user, request=jobs.Request(kind=Kind.MODEL3D, photo_ids=ids))
        case _ if kind == LONG:
            return order_of(user, Kind.VIDEO, operation="video.xai", prompt=text, duration=16)
        case "image":
            return order_of(user, Kind.IMAGE, prompt=text)
        case "video.xai":
            return order_of(user, Kind.VIDEO, operation=kind, prompt=text, duration=3)
        case "video.kie":
            return order_of(user, Kind.VIDEO, operation=kind, prompt=text, aspect_ratio="1:1")
        case "avatar":
            params = {"name": "Mira", "description": DESCRIPTION + saying(word)}
            return avatars.create(user=user, params=params).generation
        case _:
            assert face is not None
            return avatars.regenerate_thumbnail(user=user, avatar_id=face.pk)


def park(made: Iterable[Generation]) -> None:
    """No pass finds them."""
    _queue(made, "~")


def unpark(made: Iterable[Generation], beside: str = "") -> None:
    """Passes find them; where there is a `beside`, only the passes of a process that looks for that alone."""
    _queue(made, beside)


def _queue(made: Iterable[Generation], suffix: str) -> None:
    for job in Generation.objects.filter(pk__in=[job.pk for job in made], state__in=OPEN):
        Generation.objects.filter(pk=job.pk).update(queue=job.queue.partition("~")[0] + suffix)


def live_alone(job: Generation, word: str) -> None:
    """In a process of its own: live the life of one job while others live theirs beside it."""
    job.refresh_from_db()
    moves.WAKES = {job.queue: "generation.advance"}
    live_all({("", word): job})


def step() -> None:
    """One pass of everything, of those too that only wait for their time."""
    Generation.objects.filter(state=State.QUEUED, lease_until=None, next_at__gt=Now()).update(next_at=Now())
    for queue in moves.WAKES:
        advance(queue)
    sweep()


def finish(made: Iterable[Generation]) -> None:
    """Passes until all have ended."""
    ids = [job.pk for job in made]

    def ended() -> bool:
        step()
        return not Generation.objects.filter(pk__in=ids, state__in=OPEN).exists()

    try:
        until(ended, "all end")
    except AssertionError as error:
        left = Generation.objects.filter(pk__in=ids, state__in=OPEN).select_related("attempt")
        raise AssertionError(f"{error}: {[(j.operation, j.params, j.state, j.attempt) for j in left]}") from None


def expire(made: Iterable[Generation]) -> None:
    """Their deadlines are now."""
    Generation.objects.filter(pk__in=[job.pk for job in made]).update(deadline_at=Now())


def live_all(made: Mapping[Case, Generation]) -> None:
    """Passes until all of them have ended; deadlines come when nothing else will."""
    patient = Q(pk__in=[job.pk for (_, word), job in made.items() if word == "late"], state=State.RUNNING)
    mine = Generation.objects.filter(pk__in=[job.pk for job in made.values()], state__in=OPEN)

    def ended() -> bool:
        step()
        mine.filter(patient | has_given_up_asking()).update(deadline_at=Now())
        return not mine.exists()

    try:
        until(ended, "all end", within_s=600, pause_s=0.2)
    except AssertionError as error:
        raise AssertionError(f"{error}: {list(mine.values_list('operation', 'params', 'state', 'unknown'))}") from None


def let_go(attempt: Attempt | None = None) -> None:
    """Passes until what came too late is learnt of and let go: what this attempt made alone, or all."""
    left = Attempt.objects.filter(pk=attempt.pk) if attempt else Attempt.objects.all()
    left = left.exclude(discard_at=None)

    def is_gone() -> bool:
        left.update(discard_at=Now())
        step()
        return not left.exists()

    until(is_gone, "what came too late is let go", pause_s=0.1)


def has_given_up_asking() -> Q:
    """Started twice, never answered: only its deadline can end it."""
    return Q(state=State.SUBMITTING, unknown=True, next_at__gt=Now())


def assert_ended(job: Generation, kind: str, word: str, *, round: int = 1) -> None:
    """One end: state, hold, files, mail and audit trail fit each other and the table."""
    job.refresh_from_db()
    case, code = f"{kind} {word}", ENDS[word][kind]
    is_made = not code
    tries = list(job.attempts.values_list("n", "outcome", "error_message", "latency_ms"))
    assert (job.state, job.error_code) == ("failed" if code else "succeeded", code), (case, job.error_code, tries)
    hold = Hold.objects.get(key=job.hold_key)
    assert (job.round, hold.state, hold.amount, hold.captured) == (
        (round, "captured", PRICES[kind], PRICES[kind]) if is_made else (round, "released", PRICES[kind], 0)
    ), case
    assets = list(Asset.objects.filter(generation=job).select_related("file", "thumbnail"))
    assert len(assets) == (0 if not is_made else MODEL_OUTPUTS if kind == "model3d" else 1), case
    for asset in assets:
        assert asset.file is not None, case
        assert storage.exists(asset.file.key), case
        if asset.content_type != "application/zip":
            assert asset.thumbnail is not None, case
            assert storage.exists(asset.thumbnail.key), case
    (mail,) = Mail.objects.filter(cause=f"generation:{job.pk}:{round}")
    assert mail.name == {
        ("headshot", True): "headshot-generated",
        ("headshot", False): "headshot-failed",
    }.get((kind, is_made), "generation-completed" if is_made else "generation-failed"), case
    assert not job.attempts.exclude(made={}).exists(), case
    trail = AuditLog.objects.filter(entity_type="generation", entity_id=str(job.pk)).order_by("id")
    found = list(trail.values_list("action", flat=True))
    assert sorted(found) == sorted(
        ["generation.created", "credits.held"]
        + ["generation.submitted"] * job.attempts.filter(round=round).count()
        + ["generation.stage_done"] * (job.stage - 1)
        + (["credits.captured", "generation.succeeded"] if is_made else ["credits.released", "generation.failed"])
    ), (case, found)


def assert_billed(job: Generation, kind: str, word: str) -> None:
    """What the provider has of us is on the last attempt, whether we were paid or not."""
    attempts = list(job.attempts.order_by("n"))
    passing = word in ("429", "500")
    assert [attempt.outcome for attempt in attempts[:-1]] == [Outcome.NOT_STARTED] * (len(attempts) - 1), kind
    # An avatar meets the word in its chat, then in its picture, and in the chat before it again.
    assert len(attempts) == (1 if not passing else 4 if kind == "avatar" else 2), (kind, word, len(attempts))
    last = attempts[-1]
    bill, case = last.provider_cost, (kind, word)
    if kind == "video.kie" or case in UNBILLED:
        assert bill is None, (case, bill)
    elif case in REFUNDED:
        assert bill == 0, (case, bill)
    elif kind == "avatar":
        low, high = (Decimal(0), Decimal("0.02")) if word in CHAT_ALONE else (Decimal("0.02"), Decimal("0.03"))
        assert bill is not None, case
        assert low < bill < high, (case, bill)
    else:
        assert bill == Decimal(BILLS[kind]), (case, bill)
    if bill is not None:
        assert last.cost_unit == {"headshot": "magic-hour credits"}.get(kind, "USD"), case

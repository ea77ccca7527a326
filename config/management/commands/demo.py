"""The main job, told while it happens: exit 0 only if all of it held."""

from __future__ import annotations

import json
import secrets
import time
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import requests
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from PIL import Image

from config.demo import portrait, proof
from config.demo.client import Customer, DemoError
from config.embedded import background, services
from config.embedded.supervisor import UpError

ITEM, CREDITS, PRICE = "package:BASIC", 100, 50
BAR = 28


class Command(BaseCommand):
    help = "Register, buy credits, upload a photo, make a headshot; print the story and the picture's path."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--photo", default="", help="a picture of a face; one is drawn if none is named")
        parser.add_argument("--keep", action="store_true", help="leave running what was started")

    def handle(self, *args: Any, **options: Any) -> None:
        photo = Path(options["photo"]).expanduser() if options["photo"] else None
        if photo and not photo.is_file():
            raise CommandError(f"There is no file {photo}.")
        if settings.PRODUCTION:
            raise CommandError("The demo buys and sells; it runs in development only.")
        self._started_at = time.monotonic()
        self._bar = ""
        self.stdout.write("Atelier's main job: buy credits, turn a photo into a headshot.\n\n")
        try:
            with background.running(keep=options["keep"]) as running:
                self._done("everything runs" if running.is_ours else "joined what runs already")
                self._story(photo)
                goes_on = options["keep"] or not running.is_ours
        except (DemoError, UpError, requests.RequestException) as error:
            self._end_bar()
            raise CommandError(f"The demo failed: {error}") from error
        except KeyboardInterrupt:
            self._end_bar()
            raise CommandError("Interrupted.") from None
        self._farewell(goes_on=goes_on)

    def _story(self, photo: Path | None) -> None:
        name = f"demo-{secrets.token_hex(4)}"
        folder = settings.VAR_DIR / "demo"
        folder.mkdir(exist_ok=True)
        api = f"http://{services.local_host()}:{settings.PORT}/api/v1"
        customer = Customer(api, settings.SANDBOX_URL, f"{name}@example.com", self._note)

        user = customer.register(secrets.token_urlsafe(12), "Demo")
        user_id = UUID(user["id"])
        self._done(f"registered {customer.email}")
        customer.verify()
        self._done("verified the mailbox by the link in the mail")
        _require(customer.balance()["available"] == settings.SIGN_UP_GRANT, "the sign-up grant is there")
        before = proof.wallet(user_id)

        payment = customer.buy(ITEM)
        _require(payment["status"] == "succeeded", f"the payment succeeded (it is {payment['status']})")
        bought = settings.SIGN_UP_GRANT + CREDITS
        _require(customer.balance()["available"] == bought, f"{bought} credits are there after paying")
        self._done(f"bought {CREDITS} credits for {_money(payment)} at the Razorpay sandbox")

        source = photo or portrait.draw(folder / f"{name}-photo.jpg")
        uploaded = customer.upload(source)
        self._done(f"uploaded {source.name}, {uploaded['width']} x {uploaded['height']}")
        job = customer.headshot(uploaded["id"], self._show)
        self._end_bar()
        said = f": {json.dumps(job['error'])}" if job["error"] else ""
        _require(job["status"] == "succeeded", f"the headshot succeeded (it is {job['status']}{said})")
        _require((job["charged"], job["cost"]) == ("settled", PRICE), f"{PRICE} credits were charged for it")
        output = job["outputs"][0]
        suffix = {"image/png": ".png", "image/webp": ".webp"}.get(output["content_type"], ".jpg")
        picture = folder / f"{name}-headshot{suffix}"
        customer.download(output["url"], picture)
        with Image.open(picture) as image:
            image.load()
            _require(image.size == (output["width"], output["height"]), "the picture has the size it was said to have")
        self._done(f"made the headshot for {job['cost']} credits, {output['width']} x {output['height']}")
        balance = customer.balance()
        _require((balance["available"], balance["held"]) == (bought - PRICE, 0), f"{bought - PRICE} credits are left")

        for what in ("welcome", "verify-email", "payment", "headshot"):
            customer.await_mail(what.replace("-", ".?"))
        are_clean, said_of_books = proof.check_books()
        self._chapter("Mails", [mail["subject"] for mail in customer.mails()])
        self._chapter(
            "Ledger",
            [
                f"before: {before}",
                *proof.ledger(user_id, [payment["id"], job["id"]]),
                f"after:  {proof.wallet(user_id)}",
            ],
        )
        self._chapter("Audit trail", proof.trail(user_id))
        self._chapter("Books", said_of_books)
        self._chapter("Picture", [str(picture)])
        _require(are_clean, "the books balance")

    # --- How it is told ---

    def _done(self, text: str) -> None:
        self.stdout.write(f"  {time.monotonic() - self._started_at:5.1f} s  {text}\n")
        self.stdout.flush()

    def _note(self, text: str) -> None:
        self.stdout.write(f"           {text}\n")
        self.stdout.flush()

    def _show(self, job: dict[str, Any]) -> None:
        """The job's progress: one line that moves on a terminal, a line a change elsewhere."""
        progress = 100 if job["status"] == "succeeded" else job["progress"]
        bar = "#" * round(BAR * progress / 100)
        line = f"           headshot [{bar:-<{BAR}}] {progress:3d} %  {job['step'] or job['status']}"
        if self.stdout.isatty():
            self.stdout.write(f"\r{line:<79}", ending="")
        elif line != self._bar:
            self.stdout.write(line)
        self._bar = line
        self.stdout.flush()

    def _end_bar(self) -> None:
        if self._bar and self.stdout.isatty():
            self.stdout.write("")
        self._bar = ""

    def _chapter(self, title: str, lines: Iterable[str]) -> None:
        self.stdout.write(f"\n{title}")
        for line in lines:
            self.stdout.write(f"  {line}")

    def _farewell(self, *, goes_on: bool) -> None:
        self.stdout.write("")
        if not goes_on:
            self.stdout.write("All of it held, and all of it is stopped. To look around yourself: make run")
            return
        self.stdout.write("All of it held. It goes on running:")
        self.stdout.write(f"  API docs  {settings.PUBLIC_URL}/api/docs")
        self.stdout.write(f"  Staff     {settings.PUBLIC_URL}/admin/   (passwords: var/staff.env)")
        self.stdout.write(f"  Sandbox   {settings.SANDBOX_URL}/   mail: {settings.SANDBOX_URL}/mail")
        self.stdout.write("Stop it with: make stop")


def _money(payment: dict[str, Any]) -> str:
    from core.money import display

    return display(payment["amount"], payment["currency"])


def _require(held: bool, what: str) -> None:
    if not held:
        raise DemoError(f"this should hold and does not: {what}")

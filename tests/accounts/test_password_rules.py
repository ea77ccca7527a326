from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from accounts import passwords, validators
from accounts.models import User
from core.errors import Invalid
from tests.people import make_user

ALICE = User(email="alice.meyer@example.com", first_name="Alice", last_name="Meyer")


def problems(password: str) -> list[str]:
    try:
        passwords.check(password, ALICE)
    except Invalid as error:
        return [item["message"] for item in error.details]
    return []


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery 9",
        "nothing but small letters",
        "ALLCAPITALSWITHNOSIGN",
        "пароль из пяти слов",
        "合気道馬電池主食東京",
        "😀😀😀😀😀😀😀😀😀",
        "   eight   ",
        "tk8#vQz2",
        "x" * 60 + "y" * 68,
    ],
)
def test_no_rule_asks_for_kinds_of_characters(password: str) -> None:
    assert problems(password) == []


@pytest.mark.parametrize(
    ("password", "sentence"),
    [
        ("kW7#pqz", "Use at least 8 characters."),
        ("kW7#pqz " * 17, "Use at most 128 characters."),
        ("83640175229", "Use more than digits."),
        ("alice.meyer@example", "The password is too similar to the email."),
    ],
)
def test_each_failure_is_one_sentence(password: str, sentence: str) -> None:
    assert problems(password) == [sentence]


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "iloveyou",
        "sunshine",
        "PASSWORD1",
        "sunshine2024",
        "Sunshine!",
        "P@ssw0rd",
        "P@$$w0rd123",
        "123dragon!",
        "dragon2023",
        "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44",  # full-width
        "qwertyuiop[]",
        "alexandra1999",
    ],
)
def test_leaked_passwords_are_refused_with_what_people_add_to_them(password: str) -> None:
    assert any("leaked" in sentence for sentence in problems(password))


def test_the_bundled_list_is_longer_than_djangos() -> None:
    from django.contrib.auth.password_validation import CommonPasswordValidator

    usable = {word for word in validators.leaked() if len(word) >= 8}

    assert len(usable) > 16_000
    assert len(usable) > 1.9 * len([word for word in CommonPasswordValidator().passwords if len(word) >= 8])


def test_more_than_four_added_signs_are_a_password_of_their_own() -> None:
    assert problems("dragon 71 83") == []
    assert problems("41dragon83!") != problems("41-dragon-83!") == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("registered", "typed"),
    [
        ("caf\u00e9 au lait 7", "cafe\u0301 au lait 7"),
        ("\uff43orrect horse", "correct horse"),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af staple", "\ud55c\uae00 staple"),
    ],
)
def test_two_keyboards_type_one_password(anonymous: APIClient, registered: str, typed: str) -> None:
    make_user("typist@example.com", password=registered)

    codes = [
        anonymous.post("/api/v1/auth/login", {"email": "typist@example.com", "password": password}).status_code
        for password in (registered, typed, typed.upper())
    ]

    assert codes == [200, 200, 401]

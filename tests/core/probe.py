"""A small API of its own for testing what every endpoint gets for free."""

from __future__ import annotations

import threading
from typing import Any

from django.db import connection
from django.urls import path
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from audit.models import AuditLog
from core import errors
from core.api.idempotency import idempotent
from core.api.permissions import IsSignedIn, IsVerified, Public
from core.api.serializers import IntegerField, Serializer, TextField
from core.api.views import ViewSet

inside = threading.Event()
go_on = threading.Event()
go_on.set()


def lock_out() -> None:
    """Meet a lock that is not had in time."""
    with connection.cursor() as cursor:
        cursor.execute("DO $$ BEGIN RAISE lock_not_available; END $$")


class HeaderAuthentication(BaseAuthentication):
    """Who the test says it is."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        email = request.headers.get("X-Test-User")
        return (User.objects.get(email=email), None) if email else None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class ThingInput(Serializer):
    name = TextField(max_length=20)
    count = IntegerField(min_value=1, max_value=9, default=1)


class ThingOutput(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    action = serializers.CharField()


class Things(ViewSet):
    """Things are audit rows: a table that is there anyway."""

    authentication_classes = [HeaderAuthentication]
    queryset = AuditLog.objects.order_by("id")
    throttle_scopes = {"create": ["purchases"], "resumable": ["purchases"], "optional": ["purchases"]}
    serializer_class = ThingOutput
    permission_classes = [IsSignedIn]

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(ThingOutput(page, many=True).data)

    def _make(self, request: Request) -> AuditLog:
        body = ThingInput(data=request.data)
        body.is_valid(raise_exception=True)
        thing = AuditLog.objects.create(
            action=body.validated_data["name"], entity_type="probe", entity_id="1", source="API", request_id=""
        )
        inside.set()
        go_on.wait(100)
        if body.validated_data["name"] == "refuse":
            raise errors.Conflict
        if body.validated_data["name"] == "locked out":
            lock_out()
        if body.validated_data["name"] == "crash":
            raise RuntimeError("nobody foresaw this")
        return thing

    @idempotent(required=True)
    def create(self, request: Request) -> Response:
        thing = self._make(request)
        return Response(ThingOutput(thing).data, status=202, headers={"Location": f"/things/{thing.pk}"})

    @idempotent()
    def optional(self, request: Request) -> Response:
        return Response(ThingOutput(self._make(request)).data, status=202)

    @idempotent(required=True, resumable=True)
    def resumable(self, request: Request) -> Response:
        claim = request.idempotency  # type: ignore[attr-defined]
        if claim.subject_id is None:
            from core.ids import new_id

            claim.bind(new_id())
        if request.data.get("name") == "locked out":
            lock_out()
        if request.data.get("name") == "crash" and not request.headers.get("X-Second"):
            raise errors.BadGateway(charged="unknown")
        return Response({"subject": str(claim.subject_id)}, status=201)


class Verified(ViewSet):
    authentication_classes = [HeaderAuthentication]
    permission_classes = [IsVerified]

    def list(self, request: Request) -> Response:
        return Response({})


class Limited(ViewSet):
    authentication_classes = [HeaderAuthentication]
    permission_classes = [Public]
    throttle_scopes = ["auth"]

    def list(self, request: Request) -> Response:
        return Response({})


urlpatterns = [
    path("api/v1/things", Things.as_view({"get": "list", "post": "create"})),
    path("api/v1/optional", Things.as_view({"post": "optional"})),
    path("api/v1/resumable", Things.as_view({"post": "resumable"})),
    path("api/v1/verified", Verified.as_view({"get": "list"})),
    path("api/v1/limited", Limited.as_view({"get": "list"})),
]
handler400 = "core.api.exceptions.bad_request"
handler404 = "core.api.exceptions.not_found"
handler500 = "core.api.exceptions.server_error"

"""calls/*"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.errors import DebtOutstanding, InsufficientFunds
from calls import calling, queries
from calls.api.filters import CallFilter
from calls.api.serializers import CallingSerializer, CallSerializer
from calls.errors import CallAnswered, CalleeOnly, CallEnded, CallExists
from calls.models import Call
from core.api.idempotency import idempotent
from core.api.serializers import refuse_fields
from core.api.views import ViewSet
from core.errors import Conflict

_EXAMPLES = [
    OpenApiExample(
        "somebody here", value={"callee": "01937a2c-1d87-7b1c-9d3e-5f6071829304", "type": "video"}, request_only=True
    ),
    OpenApiExample(
        "a phone", value={"recipient_phone": "+2348012345678", "recipient_name": "Dispatch"}, request_only=True
    ),
]


class CallViewSet(ViewSet):
    queryset = Call.objects.none()
    serializer_class = CallSerializer
    filterset_class = CallFilter
    throttle_scopes = {"create": ["calls"]}
    errors = {
        "create": [InsufficientFunds, DebtOutstanding, CallExists],
        "answer": [CalleeOnly, CallEnded, Conflict],
        "decline": [CalleeOnly, CallAnswered, CallEnded, Conflict],
        "end": [Conflict],
        "heartbeat": [Conflict],
    }

    def get_queryset(self) -> QuerySet[Call]:
        return queries.calls(self.request.user)

    def _shown(self, call: Any, **more: Any) -> Any:
        return CallSerializer(call, context={"user": self.request.user}, **more).data

    @extend_schema(operation_id="calls_list", summary="My calls", responses=CallSerializer(many=True))
    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self._shown(page, many=True))

    @extend_schema(operation_id="calls_retrieve", summary="A call", responses=CallSerializer)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        return Response(self._shown(queries.call(request.user, pk)))

    @extend_schema(
        operation_id="calls_create",
        summary="Call somebody",
        description="It rings for a minute with the price of the first one held. Nothing is charged until it is "
        "answered. One call at a time; only the caller pays.",
        request=CallingSerializer,
        responses={201: CallSerializer},
        examples=_EXAMPLES,
    )
    @idempotent(required=True)
    def create(self, request: Request) -> Response:
        body = CallingSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        given = body.validated_data
        call = calling.initiate(
            user=request.user,
            callee_id=given.get("callee"),
            phone=given.get("recipient_phone", ""),
            name=given.get("recipient_name", ""),
            type=given["type"],
        )
        where = {"Location": f"/api/v1/calls/{call.pk}"}
        return Response(self._shown(call), status=status.HTTP_201_CREATED, headers=where)

    @extend_schema(
        operation_id="calls_answer",
        summary="Answer a call",
        description="For who is called; of a phone number, the caller's app says so. From now on it costs.",
        request=None,
        responses=CallSerializer,
    )
    def answer(self, request: Request, pk: UUID) -> Response:
        refuse_fields(request.data)
        return Response(self._shown(calling.answer(user=request.user, call_id=pk)))

    @extend_schema(
        operation_id="calls_decline",
        summary="Decline a call",
        description="For who is called; of a phone number, the caller's app says so.",
        request=None,
        responses={200: CallSerializer},
    )
    @idempotent()
    def decline(self, request: Request, pk: UUID) -> Response:
        refuse_fields(request.data)
        return Response(self._shown(calling.decline(user=request.user, call_id=pk)))

    @extend_schema(
        operation_id="calls_end",
        summary="End a call",
        description="Either of the two hangs up. Only the seconds that were talked are paid; what else was held is "
        "free again.",
        request=None,
        responses=CallSerializer,
    )
    def end(self, request: Request, pk: UUID) -> Response:
        refuse_fields(request.data)
        return Response(self._shown(calling.end(user=request.user, call_id=pk)))

    @extend_schema(
        operation_id="calls_heartbeat",
        summary="Stay on the line",
        description="Every 15 s. After 45 s without one of the caller's the call ends at the last. A call that has "
        "ended, for want of money say, is answered as it ended.",
        request=None,
        responses={200: CallSerializer},
    )
    @idempotent()
    def heartbeat(self, request: Request, pk: UUID) -> Response:
        refuse_fields(request.data)
        return Response(self._shown(calling.heartbeat(user=request.user, call_id=pk)))

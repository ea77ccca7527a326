from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.permissions import Public
from core.errors import TooLarge
from inbox import deliveries
from inbox.errors import WebhookInvalid, WebhookUnknown

MAX_BYTES = 1 << 20


class WebhookView(APIView):
    """Providers call here. The signature is the authentication; the body is stored and looked at later."""

    authentication_classes = []
    permission_classes = [Public]
    throttle_classes = []
    parser_classes = []
    errors = [WebhookInvalid, WebhookUnknown, TooLarge]

    @extend_schema(
        operation_id="webhooks_receive",
        summary="For providers: tell us what has happened",
        parameters=[
            OpenApiParameter(
                "provider",
                str,
                OpenApiParameter.PATH,
                description="razorpay, stripe, monnify, magic-hour, kie, livekit, email",
            ),
            OpenApiParameter("token", str, description="What we had a provider put into the address it calls."),
        ],
        request={"application/json": OpenApiTypes.OBJECT},
        responses={200: inline_serializer("WebhookReceived", {"status": serializers.CharField()})},
    )
    def post(self, request: Request, provider: str) -> Response:
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isdecimal() or int(length) > MAX_BYTES:
            raise TooLarge(f"A webhook has at most {MAX_BYTES} bytes.")
        body = request._request.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise TooLarge(f"A webhook has at most {MAX_BYTES} bytes.")
        deliveries.receive(provider, request.headers, body, token=request.query_params.get("token", ""))
        return Response({"status": "ok"})

"""users/me/export"""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.response import Response

from accounts import exports
from accounts.api import serializers
from accounts.api.authentication import SignedInRequest
from accounts.api.views import TOKEN_ERRORS
from core.api.permissions import IsSignedIn
from core.api.serializers import refuse_fields
from core.api.views import ViewSet
from core.errors import NotFound, Unavailable


class ExportViewSet(ViewSet):
    permission_classes = [IsSignedIn]
    pagination_class = None
    errors = {"create": [*TOKEN_ERRORS, Unavailable], "retrieve": [*TOKEN_ERRORS, NotFound]}
    throttle_scopes = {"create": ["sensitive"]}

    @extend_schema(
        operation_id="users_export_create",
        summary="Ask for a copy of my data",
        description=(
            "A worker makes a ZIP: JSON files of all that we keep (profile, sessions, mails, history, wallets, ledger, "
            "payments, photos, jobs), and the photos and outputs themselves. A mail says when it is ready. While one "
            "is being prepared, asking again answers that one."
        ),
        request=None,
        responses={202: serializers.ExportSerializer},
    )
    def create(self, request: SignedInRequest) -> Response:
        refuse_fields(request.data)
        export = exports.request(request.user)
        return Response(serializers.ExportSerializer(export).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(
        operation_id="users_export_retrieve",
        summary="My newest export",
        description="With a link while it is ready; 404 before the first one is asked for.",
        responses=serializers.ExportSerializer,
    )
    def retrieve(self, request: SignedInRequest) -> Response:
        export = exports.latest(request.user)
        if export is None:
            raise NotFound("You have not asked for a copy of your data.")
        return Response(serializers.ExportSerializer(export).data)

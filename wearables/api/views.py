"""wearables"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from core.api.filters import refuse_unknown
from core.api.idempotency import idempotent
from core.api.permissions import IsSignedIn, Public
from core.api.public import kept
from core.api.views import ViewSet
from core.errors import Invalid, NotFound
from wearables import customizations, queries, selections
from wearables.api import serializers
from wearables.api.filters import WearableFilter
from wearables.models import Customization, Selection, Wearable

_CHOICE = OpenApiExample("choice", value={"wearables": ["0193f7a2-c1d8-7b1c-9d3e-5f60718293a4"]}, request_only=True)
_LOOK = OpenApiExample(
    "look",
    value={
        "name": "Evening",
        "wearable": "0193f7a2-c1d8-7b1c-9d3e-5f60718293a4",
        "primary_color": "#1f2a44",
        "color_name": "midnight",
        "size": "M",
        "fit": "SLIM",
        "attributes": {"collar": "open"},
    },
    request_only=True,
)


class CatalogueViewSet(ViewSet):
    authentication_classes = []
    permission_classes = [Public]
    serializer_class = serializers.WearableSerializer
    filterset_class = WearableFilter
    queryset = Wearable.objects.none()

    def get_queryset(self) -> QuerySet[Wearable]:
        return queries.on_offer()

    @extend_schema(
        operation_id="wearables_list",
        summary="The catalogue",
        description=(
            "`search` finds items that say all of its words, or words that begin so, the nearest first; where there is "
            "none, items that hold it or look like it. Filters narrow that down, and `facets` counts what is left. "
            "Several values of a filter mean any of them; several `tags` all of them."
        ),
        responses={200: serializers.CatalogueSerializer},
    )
    @kept("wearables")
    def list(self, request: Request) -> Response:
        found = queries.found(self.filter_queryset(self.get_queryset()))
        page: Any = self.paginate_queryset(found)  # type: ignore[arg-type]  # counts and slices as a queryset does
        shown: Any = self.get_paginated_response(serializers.WearableSerializer(page, many=True).data).data
        results = shown.pop("results")
        return Response({**shown, "facets": found.facets, "results": results})

    @extend_schema(operation_id="wearables_retrieve", summary="An item", responses=serializers.WearableSerializer)
    @kept("wearables")
    def retrieve(self, request: Request, pk: UUID) -> Response:
        return Response(serializers.WearableSerializer(queries.wearable(pk)).data)


class CategoryViewSet(ViewSet):
    authentication_classes = []
    permission_classes = [Public]
    pagination_class = None
    serializer_class = serializers.CategorySerializer
    queryset = Wearable.objects.none()

    @extend_schema(
        operation_id="wearables_categories",
        summary="Categories, with how many items each has",
        responses=serializers.CategorySerializer(many=True),
        filters=False,
    )
    @kept("wearables")
    def list(self, request: Request) -> Response:
        refuse_unknown(request)
        return Response(serializers.CategorySerializer(queries.categories(), many=True).data)


class SelectionViewSet(ViewSet):
    permission_classes = [IsSignedIn]
    serializer_class = serializers.SelectionSerializer
    queryset = Selection.objects.none()
    filter_backends = ()
    errors = {"create": [NotFound], "update": [NotFound]}

    def get_queryset(self) -> QuerySet[Selection]:
        return queries.selections(self.request.user)

    @extend_schema(
        operation_id="wearables_selections_list",
        summary="What I selected",
        responses=serializers.SelectionSerializer(many=True),
    )
    def list(self, request: Request) -> Response:
        refuse_unknown(request, {"page", "limit", "format"})
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(serializers.SelectionSerializer(page, many=True).data)

    @extend_schema(
        operation_id="wearables_selections_add",
        summary="Select more",
        description="What is selected already stays. An item that is not on offer is named, and none is added.",
        request=serializers.SelectSerializer,
        responses={200: serializers.SelectedSerializer},
        examples=[_CHOICE],
    )
    @idempotent()
    def create(self, request: Request) -> Response:
        return self._answer(selections.add(user=request.user, wearable_ids=self._ids(request)))

    @extend_schema(
        operation_id="wearables_selections_replace",
        summary="Select these and no others",
        description="At once or not at all. An empty list selects nothing.",
        request=serializers.SelectSerializer,
        responses={200: serializers.SelectedSerializer},
        examples=[_CHOICE],
    )
    def update(self, request: Request) -> Response:
        return self._answer(selections.replace(user=request.user, wearable_ids=self._ids(request)))

    @extend_schema(
        operation_id="wearables_selections_remove",
        summary="Unselect an item",
        description="By the id of the selection.",
        responses={204: OpenApiResponse(description="It is not selected any more.")},
    )
    def destroy(self, request: Request, pk: UUID) -> Response:
        selections.remove(user=request.user, selection_id=pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _ids(self, request: Request) -> Any:
        body = serializers.SelectSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return body.validated_data["wearables"]

    def _answer(self, changed: selections.Changed) -> Response:
        rows = self.get_queryset()
        shown = {"added": changed.added, "removed": changed.removed, "selections": rows}
        return Response(serializers.SelectedSerializer(shown).data)


class CustomizationViewSet(ViewSet):
    permission_classes = [IsSignedIn]
    serializer_class = serializers.CustomizationSerializer
    queryset = Customization.objects.none()
    filter_backends = ()
    errors = {"create": [NotFound], "list": [Invalid]}

    def get_queryset(self) -> QuerySet[Customization]:
        return queries.customizations(self.request.user)

    @extend_schema(
        operation_id="wearables_customizations_list",
        summary="My customisations",
        responses=serializers.CustomizationSerializer(many=True),
    )
    def list(self, request: Request) -> Response:
        refuse_unknown(request, {"page", "limit", "format"})
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(serializers.CustomizationSerializer(page, many=True).data)

    @extend_schema(
        operation_id="wearables_customizations_create",
        summary="Keep a customisation",
        request=serializers.CustomizationInSerializer,
        responses={201: serializers.CustomizationSerializer},
        examples=[_LOOK],
    )
    @idempotent()
    def create(self, request: Request) -> Response:
        body = serializers.CustomizationInSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        made = customizations.create(user=request.user, values=body.validated_data)
        where = {"Location": f"/api/v1/wearables/customizations/{made.pk}"}
        shown = serializers.CustomizationSerializer(made).data
        return Response(shown, status=status.HTTP_201_CREATED, headers=where)

    @extend_schema(
        operation_id="wearables_customizations_retrieve",
        summary="A customisation",
        responses=serializers.CustomizationSerializer,
    )
    def retrieve(self, request: Request, pk: UUID) -> Response:
        found = self.get_queryset().filter(pk=pk).first()
        if found is None:
            raise NotFound
        return Response(serializers.CustomizationSerializer(found).data)

    @extend_schema(
        operation_id="wearables_customizations_update",
        summary="Edit a customisation",
        description="What is not named stays. Jobs that were ordered with it keep what they were told.",
        request=serializers.CustomizationInSerializer(partial=True),
        responses=serializers.CustomizationSerializer,
        examples=[OpenApiExample("fit", value={"fit": "LOOSE"}, request_only=True)],
    )
    def partial_update(self, request: Request, pk: UUID) -> Response:
        body = serializers.CustomizationInSerializer(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        row = customizations.edit(user=request.user, customization_id=pk, values=body.validated_data)
        return Response(serializers.CustomizationSerializer(row).data)

    @extend_schema(
        operation_id="wearables_customizations_delete",
        summary="Delete a customisation",
        responses={204: OpenApiResponse(description="Deleted.")},
    )
    def destroy(self, request: Request, pk: UUID) -> Response:
        customizations.delete(user=request.user, customization_id=pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

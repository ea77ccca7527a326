"""Under /api/v1/."""

from __future__ import annotations

from django.urls import path

from generation.api.avatars import AvatarViewSet
from generation.api.generations import GenerationViewSet, OperationViewSet
from generation.api.orders import HeadshotViewSet, ImageViewSet, Model3dViewSet, VideoViewSet
from generation.api.photos import PhotoViewSet, UploadViewSet

urlpatterns = [
    path("photos", PhotoViewSet.as_view({"get": "list", "post": "create"}), name="photos"),
    path("photos/upload-url", UploadViewSet.as_view({"post": "create"}), name="photo-upload-url"),
    path("photos/<uuid:pk>/complete", UploadViewSet.as_view({"post": "complete"}), name="photo-complete"),
    path("photos/<uuid:pk>", PhotoViewSet.as_view({"get": "retrieve", "delete": "destroy"}), name="photo"),
    path("photos/<uuid:pk>/url", PhotoViewSet.as_view({"get": "url"}), name="photo-url"),
    path("avatars", AvatarViewSet.as_view({"get": "list", "post": "create"}), name="avatars"),
    path("avatars/limit", AvatarViewSet.as_view({"get": "limit"}), name="avatar-limit"),
    path("avatars/stats", AvatarViewSet.as_view({"get": "stats"}), name="avatar-stats"),
    path(
        "avatars/<uuid:pk>",
        AvatarViewSet.as_view(
            {"get": "retrieve", "put": "update", "patch": "partial_update", "delete": "destroy"},
        ),
        name="avatar",
    ),
    path(
        "avatars/<uuid:pk>/regenerate-thumbnail",
        AvatarViewSet.as_view({"post": "regenerate_thumbnail"}),
        name="avatar-thumbnail",
    ),
    path("headshots", HeadshotViewSet.as_view({"get": "list", "post": "create"}), name="headshots"),
    path("images", ImageViewSet.as_view({"get": "list", "post": "create"}), name="images"),
    path("videos", VideoViewSet.as_view({"get": "list", "post": "create"}), name="videos"),
    path("models", Model3dViewSet.as_view({"get": "list", "post": "create"}), name="models"),
    path("generations", GenerationViewSet.as_view({"get": "list"}), name="generations"),
    path("generations/operations", OperationViewSet.as_view({"get": "list"}), name="operations"),
    path("generations/stats", GenerationViewSet.as_view({"get": "stats"}), name="generation-stats"),
    path("generations/quote", GenerationViewSet.as_view({"post": "quote"}), name="generation-quote"),
    path(
        "generations/<uuid:pk>",
        GenerationViewSet.as_view({"get": "retrieve", "delete": "destroy"}),
        name="generation",
    ),
    path("generations/<uuid:pk>/download", GenerationViewSet.as_view({"get": "download"}), name="generation-download"),
    path("generations/<uuid:pk>/report", GenerationViewSet.as_view({"post": "report"}), name="generation-report"),
    path("generations/<uuid:pk>/cancel", GenerationViewSet.as_view({"post": "cancel"}), name="generation-cancel"),
    path("generations/<uuid:pk>/retry", GenerationViewSet.as_view({"post": "retry"}), name="generation-retry"),
]

"""Under /admin/, before what the admin itself makes."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from dashboard.console import views

urlpatterns = [
    path("find/", admin.site.admin_view(views.find), name="console-find"),
    path("invariants/", admin.site.admin_view(views.invariants), name="console-invariants"),
    path("providers/", admin.site.admin_view(views.providers), name="console-providers"),
    path("customer/<uuid:pk>/", admin.site.admin_view(views.customer), name="console-customer"),
    path("customer/<uuid:pk>/look/", admin.site.admin_view(views.look), name="console-look"),
    path("customer/<uuid:pk>/look/<slug:code>/", admin.site.admin_view(views.look), name="console-look"),
]

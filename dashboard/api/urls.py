"""Under /api/v1/."""

from __future__ import annotations

from django.urls import path

from dashboard.api.views import DashboardViewSet

urlpatterns = [
    path("dashboard", DashboardViewSet.as_view({"get": "overview"}), name="dashboard"),
    path("dashboard/quick-stats", DashboardViewSet.as_view({"get": "quick_stats"}), name="dashboard-quick-stats"),
    path("dashboard/analytics", DashboardViewSet.as_view({"get": "analytics"}), name="dashboard-analytics"),
    path("dashboard/activity", DashboardViewSet.as_view({"get": "activity"}), name="dashboard-activity"),
    path("dashboard/limits", DashboardViewSet.as_view({"get": "limits"}), name="dashboard-limits"),
]

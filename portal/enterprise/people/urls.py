"""Addresses of people, roles and invitations."""

from __future__ import annotations

from django.urls import path

from portal.enterprise.people import views_invitations, views_join, views_people, views_roles

urlpatterns = [
    path("people/", views_people.people, name="people"),
    path("people/facilities/", views_people.facility_choices, name="facility-choices"),
    path("people/<int:pk>/", views_people.person, name="person"),
    path("people/<int:pk>/role/", views_people.role, name="person-role"),
    path("people/<int:pk>/facilities/", views_people.facilities, name="person-facilities"),
    path("people/<int:pk>/suspend/", views_people.suspend, name="person-suspend"),
    path("people/<int:pk>/restore/", views_people.restore, name="person-restore"),
    path("people/<int:pk>/end/", views_people.end, name="person-end"),
    path("roles/", views_roles.roles, name="roles"),
    path("roles/new/", views_roles.new, name="role-new"),
    path("roles/<int:pk>/", views_roles.custom, name="role"),
    path("roles/<int:pk>/edit/", views_roles.edit, name="role-edit"),
    path("roles/<int:pk>/delete/", views_roles.delete, name="role-delete"),
    path("roles/<slug:code>/", views_roles.built_in, name="role-built-in"),
    path("invitations/", views_invitations.invitations, name="invitations"),
    path("invitations/new/", views_invitations.new, name="invitation-new"),
    path("invitations/list/", views_invitations.bulk, name="invitation-bulk"),
    path("invitations/<int:pk>/resend/", views_invitations.resend, name="invitation-resend"),
    path("invitations/<int:pk>/revoke/", views_invitations.revoke, name="invitation-revoke"),
    path("invitations/accept/<str:token>/", views_join.accept, name="invitation-accept"),
]

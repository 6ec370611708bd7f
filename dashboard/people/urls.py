"""The pages about people: a team's under its organisation, the person's own under /me/."""

from django.urls import URLPattern, path

from dashboard.audit import views as audit_views
from dashboard.people import accepting, me, team

urlpatterns: list[URLPattern] = [
    path("org/team/", team.team, name="team"),
    path("org/<uuid:organisation_id>/invite/", team.invite, name="team-invite"),
    path(
        "org/<uuid:organisation_id>/invitations/<uuid:invitation_id>/resend/",
        team.invite_again,
        name="invitation-resend",
    ),
    path("org/<uuid:organisation_id>/invitations/<uuid:invitation_id>/revoke/", team.revoke, name="invitation-revoke"),
    path("org/<uuid:organisation_id>/people/<int:member_id>/", team.member, name="team-member"),
    path("org/<uuid:organisation_id>/people/<int:member_id>/remove/", team.remove, name="team-remove"),
    path("org/<uuid:organisation_id>/leave/", team.leave, name="team-leave"),
    path("org/<uuid:organisation_id>/name/", team.rename, name="organisation-rename"),
    path("org/audit/", audit_views.audit, name="audit"),
    path("org/audit/export.csv", audit_views.export, name="audit-export"),
    path("me/", me.me, name="me"),
    path("me/name/", me.name, name="me-name"),
    path("me/theme/", me.theme, name="me-theme"),
    path("me/devices/others/end/", me.end_other_devices, name="me-devices-end"),
    path("me/devices/<int:device_id>/end/", me.end_device, name="me-device-end"),
    path("invite/", accepting.kept_invitation, name="invitation-kept"),
    path("invite/<str:token>/", accepting.invitation, name="invitation"),
]

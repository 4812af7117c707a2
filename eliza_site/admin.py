"""The pages of the site's users and groups, in the looks of the other pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as PlainGroupAdmin
from django.contrib.auth.admin import UserAdmin as PlainUserAdmin
from django.contrib.auth.models import Group, User
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from plugins.admin_pages import Page

if TYPE_CHECKING:
    _UserAdmin = PlainUserAdmin[User]
else:
    _UserAdmin = PlainUserAdmin

admin.site.unregister([User, Group])


@admin.register(User)
class UserAdmin(_UserAdmin, Page):
    """Who may come in, and what they may do."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(PlainGroupAdmin, Page):
    """Permissions that users share."""

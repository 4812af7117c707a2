"""The forms by which the admin asks why: a dialog for one row, a field beside the action for many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget

if TYPE_CHECKING:
    _DialogForm = forms.Form
    _ActionForm = forms.Form
else:
    from unfold.forms import ActionForm as _ActionForm
    from unfold.forms import BaseDialogForm as _DialogForm

WHY_CHARACTERS = 500


class WhyDialog(_DialogForm):
    """Asks why, and takes no silence for an answer."""

    why = forms.CharField(label="Why?", max_length=WHY_CHARACTERS, widget=UnfoldAdminTextInputWidget())


class WhyActionForm(_ActionForm):
    """The choice of an action on many rows, with the reason for it."""

    why = forms.CharField(
        label="",
        required=False,
        max_length=WHY_CHARACTERS,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "Why?", "aria-label": "Why?"}),
    )

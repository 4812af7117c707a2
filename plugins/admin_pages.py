"""What every page of the admin shares: read-only history, lists of big tables, how values are shown.

Each app's `admin` builds upon it. It stands on the lowest floor, and knows no table.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from uuid import UUID

from django import forms
from django.contrib import admin
from django.db.models import Field, Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.paginator import InfinitePaginator

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
    _TabularInline = admin.TabularInline[Any, Any]
    _StackedInline = admin.StackedInline[Any, Any]
else:
    from unfold.admin import ModelAdmin as _ModelAdmin
    from unfold.admin import StackedInline as _StackedInline
    from unfold.admin import TabularInline as _TabularInline

Method = TypeVar("Method", bound=Callable[..., Any])

INLINE_ROWS = 20
_SHORT_CHARACTERS = 90


def column(description: str, **options: Any) -> Callable[[Method], Method]:
    """Make a method a column or a read-only field of that name; `label` colours its values."""
    decorate: Callable[[Method], Method] = display(description=description, **options)
    return decorate


def button(description: str, **options: Any) -> Callable[[Method], Method]:
    """Make a method an action of that name; `permissions` are those that it takes."""
    decorate: Callable[[Method], Method] = action(description=description, **options)
    return decorate


def once(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Have a read-only field ask the database once a page: the theme calls each field several times."""

    @wraps(method)
    def ask(page: Any, row: Any) -> Any:
        name = f"_shown_{method.__name__}"
        if name not in row.__dict__:
            row.__dict__[name] = method(page, row)
        return row.__dict__[name]

    return ask


class Name(forms.CharField):
    """A name, composed (NFC) as those are that messages bring: it is looked for in what people say."""

    def to_python(self, value: Any) -> str:
        """Return the name, composed."""
        return unicodedata.normalize("NFC", str(super().to_python(value)))


class Page(_ModelAdmin):
    """The pages of one table. A search for a UUID asks `id_search_fields`, any other `search_fields`.

    `list_defer` names the wide columns that no list shows.
    """

    list_per_page = 50
    show_full_result_count = False
    compressed_fields = True
    list_filter_submit = False
    id_search_fields: tuple[str, ...] = ("pk",)
    list_defer: tuple[str, ...] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the columns of `list_defer` in the database where a list is shown."""
        rows: QuerySet[Any] = super().get_queryset(request)
        match = request.resolver_match
        is_list = match is not None and (match.url_name or "").endswith(("_changelist", "autocomplete"))
        return rows.defer(*self.list_defer) if is_list and self.list_defer else rows

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        """Have names composed."""
        if db_field.name == "name":
            kwargs["form_class"] = Name
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by id where a UUID is sought: an indexed question that no text search can answer.

        Words and names are composed (NFC), ids as a network gave them: a term is sought as it was typed, and composed.
        """
        try:
            sought = UUID(search_term.strip())
        except ValueError:
            term = search_term.replace("\0", "")
            found, may_repeat = super().get_search_results(request, queryset, term)
            composed = unicodedata.normalize("NFC", term)
            if composed != term:
                found |= super().get_search_results(request, queryset, composed)[0]
            return found, may_repeat
        wanted = Q.create([(field, sought) for field in self.id_search_fields], connector=Q.OR)
        return queryset.filter(wanted), False


class BigTable(Page):
    """Lists newest first, by time-ordered keys, and never counts all rows."""

    ordering: ClassVar[tuple[Any, ...]] = ("-id",)
    paginator = InfinitePaginator


class ReadOnly:
    """History: nobody adds, changes or deletes it here."""

    def has_add_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Allow nobody."""
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Allow nobody."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Allow nobody."""
        return False


class Rows(_TabularInline):
    """What belongs to a row, as a table of a few rows a page."""

    extra = 0
    hide_title = True
    per_page = INLINE_ROWS


class HistoryRows(ReadOnly, Rows):
    """History that belongs to a row."""


class HistoryCards(ReadOnly, _StackedInline):
    """History that belongs to a row, a card each."""

    extra = 0
    per_page = INLINE_ROWS


class WhenFilter(admin.SimpleListFilter):
    """Filters by the time that a time-ordered key carries, so that the primary key's index answers."""

    title = "when"
    parameter_name = "when"
    key = "pk"
    periods: Mapping[str, tuple[str, timedelta]] = {
        "hour": ("the last hour", timedelta(hours=1)),
        "day": ("the last 24 hours", timedelta(days=1)),
        "week": ("the last 7 days", timedelta(days=7)),
        "month": ("the last 30 days", timedelta(days=30)),
    }

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        """Return the periods to choose from."""
        return [(key, title) for key, (title, _length) in self.periods.items()]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the rows whose keys were made within the chosen period."""
        chosen = self.periods.get(self.value() or "")
        if chosen is None:
            return queryset
        return queryset.filter(**{f"{self.key}__gte": first_key_since(timezone.now() - chosen[1])})


def first_key_since(moment: datetime) -> UUID:
    """Return the smallest key that can have been made at this moment.

    Source: RFC 9562, section 5.7: the first 48 bits of a UUID of version 7 are Unix milliseconds.
    """
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def link_to(model: type[Model], key: object, text: object) -> SafeString | str:
    """Return a link to a row's page, or a dash where there is no row."""
    if key is None:
        return "–"
    meta = model._meta
    address = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[key])
    return format_html('<a class="eliza-link" href="{}">{}</a>', address, text)


def shorten(text: str, characters: int = _SHORT_CHARACTERS) -> str:
    """Return a text's beginning in one line."""
    line = " ".join(text[: characters * 2].split())
    return line if len(line) <= characters else f"{line[: characters - 1]}…"


def show_json(value: object) -> SafeString:
    """Show a JSON value as indented text; a text inside it keeps its lines."""
    return show_text(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def show_text(text: str) -> SafeString:
    """Show text as it was written, line by line."""
    return format_html('<pre class="eliza-text">{}</pre>', text) if text else SafeString("–")


def fold(summary: object, shown: object) -> SafeString:
    """Show a summary that opens to what it sums up."""
    return format_html('<details class="eliza-fold"><summary>{}</summary>{}</details>', summary, shown)


def show_milliseconds(milliseconds: float | None) -> str:
    """Show a duration in the unit that reads best."""
    if milliseconds is None:
        return "–"
    return f"{milliseconds / 1000:.1f} s" if milliseconds >= 1000 else f"{milliseconds:.0f} ms"

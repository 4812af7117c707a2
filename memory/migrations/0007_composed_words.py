"""Words are found however their accents were sent: what is kept is composed, as what is asked is."""

from django.db import migrations

from memory.facts import about_of, key_of
from memory.stores.composing import compose_rows


def compose(apps, _schema_editor):
    names = ('Memory', 'Fact', 'Document', 'Goal', 'Objective')
    memory, fact, document, goal, objective = (apps.get_model('memory', name) for name in names)

    def anew(row, composed):
        """The vector is made anew of the words, and a fact is known again by them."""
        if 'text' not in composed:
            return {}
        changed = {
            'embedding': None, 'embedding_model': '', 'second_embedding': None, 'second_embedding_model': None,
        }
        if row.kind != 'fact':
            return changed
        where = row.scope, row.person_id, row.room_id
        about = about_of(row.person_id, fact.objects.filter(memory=row.pk).values_list('subject', flat=True).first())
        if row.source_key == key_of(row.text, *where, about=about):
            changed['source_key'] = key_of(composed['text'], *where, about=about)
        return changed

    compose_rows(memory.objects.all(), 'text', 'speaker', also=anew)
    compose_rows(fact.objects.all(), 'attribute', 'value')
    compose_rows(document.objects.all(), 'name')
    compose_rows(document.objects.all(), 'title')
    compose_rows(goal.objects.all(), 'name')
    compose_rows(objective.objects.all(), 'description')


class Migration(migrations.Migration):

    # Row by row, so that no turn waits for all of them.
    atomic = False

    dependencies = [
        ('memory', '0006_statistics_of_words'),
    ]

    operations = [
        migrations.RunPython(compose, migrations.RunPython.noop, elidable=True),
    ]

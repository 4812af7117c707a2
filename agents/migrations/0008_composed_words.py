"""What people say and how they, rooms and agents are called is composed, as what comes in is."""

from django.db import migrations

from memory.stores.composing import compose_rows

OWN = 'terminal'
"""The network whose accounts and rooms `talk` names."""


def compose(apps, _schema_editor):
    compose_rows(apps.get_model('agents', 'Message').objects.all(), 'text')
    for name in ('Person', 'Room', 'World', 'Agent', 'Character'):
        compose_rows(apps.get_model('agents', name).objects.all(), 'name')
    for name in ('Account', 'Room'):
        compose_rows(apps.get_model('agents', name).objects.filter(platform=OWN), 'external_id')


class Migration(migrations.Migration):

    # Row by row, so that no turn waits for all of them.
    atomic = False

    dependencies = [
        ('agents', '0007_forgetting'),
    ]

    operations = [
        migrations.RunPython(compose, migrations.RunPython.noop, elidable=True),
    ]

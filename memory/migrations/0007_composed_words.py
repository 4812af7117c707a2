"""Words are found however their accents were sent: what is kept is composed, as what is asked is."""

from django.db import migrations

from memory.stores.composing import compose


class Migration(migrations.Migration):

    dependencies = [
        ('memory', '0006_statistics_of_words'),
    ]

    operations = [
        compose('memory', 'memory', 'text', 'speaker'),
        compose('memory', 'fact', 'attribute', 'value'),
        compose('memory', 'document', 'name', is_unique=True),
        compose('memory', 'document', 'title'),
        compose('memory', 'goal', 'name', is_unique=True),
        compose('memory', 'objective', 'description', is_unique=True),
    ]

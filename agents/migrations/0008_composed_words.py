"""What people say and how they, rooms and agents are called is composed, as what comes in is."""

from django.db import migrations

from memory.stores.composing import compose


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0007_forgetting'),
    ]

    operations = [
        compose('agents', 'message', 'text'),
        compose('agents', 'person', 'name'),
        compose('agents', 'room', 'name'),
        compose('agents', 'world', 'name'),
        compose('agents', 'agent', 'name'),
        compose('agents', 'character', 'name', is_unique=True),
    ]

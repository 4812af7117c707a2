"""How common words are is known of more of them: recall looks first for the rarest of a question."""

from django.db import migrations

from memory.stores.vendors import RunSQLOn


class Migration(migrations.Migration):

    dependencies = [
        ('memory', '0005_vector_spaces'),
    ]

    operations = [
        # PostgreSQL keeps the shares of ten words for each point of this: 4,000, where it was 1,000. Of a million
        # memories, a word that is not among them has some 300 at most, where it was 1,100.
        RunSQLOn(
            "postgresql",
            ["ALTER TABLE memory_memory ALTER COLUMN search SET STATISTICS 400"],
            ["ALTER TABLE memory_memory ALTER COLUMN search SET STATISTICS -1"],
        ),
    ]

"""What full text search reads: a column that PostgreSQL fills by itself, and its index.

The models don't know the column, so that no queryset reads it along. Where a script puts no space between words, each
sign is a word of its own; a query then asks for two that follow one another.
"""

from django.db import migrations, models

from memory.stores.vendors import RunSQLOn

SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
)

FORWARDS = [
    # The table is written anew and all of its indexes are built again, which takes longer than a statement of a turn
    # may; that of the vectors takes many times longer still where it does not fit into this.
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL maintenance_work_mem = '256MB'",
    # A vector of up to some 1,900 numbers stays in its row: a recall among 1,000 memories took 11.0 ms of PostgreSQL's
    # CPU with the vectors elsewhere, and 8.2 with them in their rows.
    "ALTER TABLE memory_memory SET (toast_tuple_target = 8160)",
    f"""
    ALTER TABLE memory_memory ADD COLUMN search tsvector GENERATED ALWAYS AS (
        to_tsvector('english'::regconfig, regexp_replace(left(text, 100000), '([{SPACELESS}])', ' \\1 ', 'g'))
    ) STORED
    """,
    # Without the list of what was added lately, which every search would have to read through.
    "CREATE INDEX memory_search ON memory_memory USING gin (search) WITH (fastupdate = off)",
]


class Migration(migrations.Migration):

    dependencies = [
        ('memory', '0003_learning'),
    ]

    operations = [
        RunSQLOn(
            "postgresql",
            FORWARDS,
            ["ALTER TABLE memory_memory DROP COLUMN search", "ALTER TABLE memory_memory RESET (toast_tuple_target)"],
        ),
        # What was said just before and after a message is found by the whole of its place in the room.
        migrations.AddIndex(
            model_name='memory',
            index=models.Index(fields=['agent', 'room', 'said_at', 'id'], include=('scope',), name='memory_said_in_room'),
        ),
        migrations.AddIndex(
            model_name='memory',
            index=models.Index(condition=models.Q(('scope', 'person')), fields=['agent', 'person'], name='memory_private'),
        ),
        migrations.RemoveIndex(
            model_name='memory',
            name='memory_recent_of_room',
        ),
    ]

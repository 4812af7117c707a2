"""The tests that need PostgreSQL itself, each with its reason: on SQLite they are left out.

`tests/conftest.py` gives them the marker `postgresql`. A name stands for a file or for one test in it.
"""

from __future__ import annotations

TWO_WRITERS = "a second transaction writes while the first is open; SQLite has one writer at a time"
"""Such a test would wait for itself there: nothing can come in between."""
ITS_OWN = "it looks at PostgreSQL's own locks, sessions, plans, errors or indexes"
COUNTED = "it counts statements: SQLite's BEGIN is one, and a recall there takes more"
TWO_MODELS = "vectors of two models stand side by side in PostgreSQL alone"
SHARES = "a word's share is counted at once on SQLite: one that two of three memories have is common there"

NEED_POSTGRESQL: dict[str, str] = {
    "agents/admin/test_dead_letters::test_five_hundred_dead_letters_are_retried_with_one_reason": COUNTED,
    "agents/admin/test_recollections::test_many_hits_ask_no_more_of_the_database_than_few": COUNTED,
    "agents/forgetting/test_sealing::test_a_message_that_waits_for_the_lane_as_it_begins_is_somebody_new": TWO_WRITERS,
    "agents/forgetting/test_sealing::test_one_that_waits_for_a_whole_rooms_lane_was_said_before_and_goes_with_the_rest": TWO_WRITERS,  # noqa: E501
    "agents/forgetting/test_working::test_indexes_are_cleaned_of_her_vectors": ITS_OWN,
    "agents/test_approvals::test_a_message_that_is_stored_while_a_turn_is_parked_is_seen": TWO_WRITERS,
    "agents/pipeline/test_documents::test_a_turn_with_documents_costs_at_most_fourteen_statements": COUNTED,
    "agents/test_audit::test_a_decision_about_ten_thousand_is_one_statement": COUNTED,
    "agents/test_audit::test_an_entry_can_lose_whom_it_was_about_and_nothing_else_of_it_changes": ITS_OWN,
    "agents/processes/test_keeper": ITS_OWN,
    "agents/processes/test_outages": ITS_OWN,
    "agents/exports/test_exports::test_every_column_of_her_rows_is_in_it_or_left_out_for_a_reason": ITS_OWN,
    "agents/people/test_merging::"
    "test_a_message_that_waits_for_the_merge_goes_to_the_one_who_stands_for_both": TWO_WRITERS,
    "agents/people/test_merging::test_a_newcomers_first_lane_and_a_merge_come_one_after_the_other": TWO_WRITERS,
    "agents/test_states::test_one_who_is_nowhere_known_keeps_nothing": ITS_OWN,
    "agents/test_words_in_logs::test_a_database_that_repeats_a_row": ITS_OWN,
    "agents/test_outbox::test_a_claim_waits_for_the_first_in_line_instead_of_taking_the_second": TWO_WRITERS,
    "agents/test_outbox::test_a_claim_that_waited_for_another_knows_what_that_one_did": TWO_WRITERS,
    "agents/test_outcomes::test_a_look_is_one_statement_and_all_have_their_turn": COUNTED,
    "agents/learning/test_reflection::test_a_look_costs_at_most_twenty_statements": COUNTED,
    "agents/test_work::test_a_plain_turn_costs_at_most_fourteen_statements_from_receipt_to_delivery": COUNTED,
    "agents/test_work::test_a_message_that_is_stored_while_a_turn_ends_is_worked_by_the_same_worker": TWO_WRITERS,
    "eliza_site/doctor/test_doctor::test_a_database_that_is_away_is_told_with_the_reason": ITS_OWN,
    "eliza_site/doctor/test_doctor::test_stores_that_answer_are_well": ITS_OWN,
    "eliza_site/test_embedded": ITS_OWN,
    "eliza_site/test_refusals": ITS_OWN,
    "eliza_site/test_log_errors::test_of_the_databases_errors_no_row_is_shown": ITS_OWN,
    "memory/documents/test_citations::test_chunks_that_are_still_being_made_are_in_nobodys_sight": SHARES,
    "memory/vector_spaces/test_dimensions::test_a_migration_makes_the_index_of_the_settings_size": ITS_OWN,
    "memory/vector_spaces/test_dimensions::test_a_migration_makes_the_index_of_the_space_in_use": ITS_OWN,
    "memory/vector_spaces/test_dimensions::"
    "test_long_vectors_are_indexed_as_half_floats_and_longer_ones_refused": ITS_OWN,
    "memory/test_retrieval::test_a_recall_costs_two_statements_however_much_there_is": COUNTED,
    "agents/memories/test_reembedding": TWO_MODELS,
    "flows/test_reembedding": TWO_MODELS,
    "memory/vector_spaces/test_filling": TWO_MODELS,
    "memory/test_provenance::test_indexes_answer_and_nothing_is_read_in_whole": ITS_OWN,
    "memory/vector_spaces/test_changes": TWO_MODELS,
    "memory/stores/test_candidates": ITS_OWN,
    "memory/stores/test_postgres_words": ITS_OWN,
    "memory/stores/test_row_security": ITS_OWN,
    "transports/drill/test_faults::test_the_sites_own_sessions_are_cut_and_somebody_elses_tools_are_not": ITS_OWN,
}
"""What stands before `::` is a path under `tests`, without `.py`."""


def reason_of(node_id: str) -> str:
    """Return why the test can't run on SQLite; empty where it can."""
    path, _mark, test = node_id.removeprefix("tests/").partition("::")
    path = path.removesuffix(".py")
    named = (path, f"{path}::{test.partition('[')[0]}")
    return next((NEED_POSTGRESQL[name] for name in named if name in NEED_POSTGRESQL), "")

"""Faults in sending: order, keys, what may have arrived, and a delivery's own token."""

from __future__ import annotations

from tests.chaos.mutants.shape import Mutation

OUTBOX = "agents/outbox.py"
DELIVERY = "transports/delivery.py"
PUTTING = "tests/agents/test_outbox.py::"
SENDING = "tests/transports/test_delivery.py::"

IN_ORDER = "replies are shown in the lane's order"
NEVER_BLIND = "row delivery.sent-keyless: nothing is repeated blindly"
BY_KEY = "row delivery.sent: the network knows it again by its key"

MUTATIONS = (
    Mutation(
        name="token of a delivery's record",
        breaks="who lost a delivery records nothing of it",
        file=OUTBOX,
        old="WHERE id = %(id)s AND lease_token = %(token)s AND state = 'sending'",
        new="WHERE id = %(id)s AND state = 'sending'",
        tests=(SENDING + "test_a_sender_that_lost_its_lease_records_nothing",),
    ),
    Mutation(
        name="delivery's claim without its head's lock",
        breaks=NEVER_BLIND,
        file=OUTBOX,
        old="ORDER BY id LIMIT 1 FOR UPDATE\n)",
        new="ORDER BY id LIMIT 1\n)",
        tests=(PUTTING + "test_a_claim_that_waited_for_another_knows_what_that_one_did",),
    ),
    Mutation(
        name="delivery's claim that takes the second in line",
        breaks=IN_ORDER,
        file=OUTBOX,
        old="ORDER BY id LIMIT 1 FOR UPDATE\n)",
        new="ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED\n)",
        tests=(PUTTING + "test_a_claim_waits_for_the_first_in_line_instead_of_taking_the_second",),
    ),
    Mutation(
        name="delivery that overtakes one that is being sent",
        breaks=IN_ORDER,
        file=OUTBOX,
        old="state IN ('pending', 'sending')\n    ORDER BY id LIMIT 1",
        new="state = 'pending'\n    ORDER BY id LIMIT 1",
        tests=(SENDING + "test_a_delivery_whose_worker_died_follows_the_same_rule",),
    ),
    Mutation(
        name="claim of a delivery that is held",
        breaks="a delivery is sent by one at a time",
        file=OUTBOX,
        old="AND (delivery.state = 'pending' OR delivery.lease_until < clock_timestamp())",
        new="AND delivery.state IN ('pending', 'sending')",
        tests=(SENDING + "test_a_delivery_whose_worker_died_follows_the_same_rule",),
    ),
    Mutation(
        name="delivery of a dead worker that nobody finds",
        breaks="row delivery.claimed: the dispatcher finds it after its lease",
        file=OUTBOX,
        old="       OR state = 'sending' AND lease_until < clock_timestamp())",
        new="       )",
        tests=(PUTTING + "test_a_delivery_whose_worker_died_is_found_when_its_lease_is_over",),
    ),
    Mutation(
        name="blind resend where the network has no key",
        breaks=NEVER_BLIND,
        file=DELIVERY,
        old="    return delivery.on_uncertain == Agent.OnUncertain.RESEND and not delivery.is_expired",
        new="    return not delivery.is_expired",
        tests=(
            SENDING + "test_a_delivery_whose_worker_died_follows_the_same_rule",
            SENDING + "test_a_lost_acknowledgement_is_repeated_only_where_that_is_safe_or_wished",
        ),
    ),
    Mutation(
        name="blind resend after a worker's death",
        breaks=NEVER_BLIND,
        file=DELIVERY,
        old="    if delivery.may_have_arrived and not _may_repeat(delivery, transport):\n        return _unsent(",
        new="    if delivery.is_expired and not _may_repeat(delivery, transport):\n        return _unsent(",
        tests=(SENDING + "test_a_delivery_whose_worker_died_follows_the_same_rule",),
    ),
    Mutation(
        name="key that changes with the attempt",
        breaks=BY_KEY,
        file=OUTBOX,
        old="nonce=nonce_of(row[12]),",
        new='nonce=f"{nonce_of(row[12])[1:]}{row[2] % 10}",',
        tests=(SENDING + "test_a_lost_acknowledgement_is_repeated_only_where_that_is_safe_or_wished",),
    ),
    Mutation(
        name="key that is used after it was forgotten",
        breaks=BY_KEY,
        file=DELIVERY,
        old="if lasts is None or delivery.tried_seconds_ago + settings.DELIVERY_LEASE_SECONDS < lasts:",
        new="if lasts is None or lasts > 0:",
        tests=(SENDING + "test_a_key_is_used_again_only_while_its_network_remembers_it",),
    ),
    Mutation(
        name="send that starts after the lease",
        breaks="a paused worker sends nothing late",
        file=DELIVERY,
        old="    if not delivery.may_start():\n",
        new="    if delivery.attempts < 0:\n",
        tests=(SENDING + "test_a_worker_that_was_paused_after_its_claim_does_not_start_to_send",),
    ),
    Mutation(
        name="unknown error that counts as not sent",
        breaks=NEVER_BLIND,
        file=DELIVERY,
        old='lost = TransportError(f"{type(error).__name__}: {error}", may_have_arrived=True)',
        new='lost = TransportError(f"{type(error).__name__}: {error}")',
        tests=(SENDING + "test_a_transport_that_breaks_in_an_unknown_way_leaves_its_message_uncertain",),
    ),
    Mutation(
        name="stale reply that is sent",
        breaks="what waited too long is held back",
        file=DELIVERY,
        old="    if delivery.is_expired and not delivery.may_have_arrived:\n",
        new="    if delivery.is_expired and delivery.may_have_arrived:\n",
        tests=(SENDING + "test_a_reply_that_waited_too_long_is_held_back",),
    ),
    Mutation(
        name="record that is not tried again",
        breaks="what is known to be sent is recorded when the database is back",
        file=DELIVERY,
        old="    for pause in RECORD_PAUSES_SECONDS:\n",
        new="    for pause in ():\n",
        tests=(SENDING + "test_what_was_sent_is_recorded_when_the_database_is_back",),
    ),
    Mutation(
        name="delivery that begins after SIGTERM",
        breaks="told to end, a worker takes nothing new",
        file=DELIVERY,
        old="    while not shutdown.is_begun():\n",
        new="    while True:\n",
        tests=(SENDING + "test_a_worker_that_is_to_end_begins_to_send_nothing",),
    ),
)

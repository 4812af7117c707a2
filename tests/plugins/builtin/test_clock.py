from plugins.builtin.clock import plugin


def test_the_time_is_told_in_utc_with_its_weekday(make_context):
    provided = plugin.providers[0].get(make_context())
    assert provided.text == "The time is Tuesday, 2026-11-24 01:30 UTC."
    assert provided.values == {"time": "Tuesday, 2026-11-24 01:30 UTC"}

"""The fault drill: people of its own speak to an agent of its own while the fleet is killed, and all is judged.

`manage.py drill` is its door. `planning` says what happens when, `readiness` whether the fleet can be drilled,
`cast` makes agent, networks and people and removes them, `roll` knows who is at work, `faults` does the harm,
`running` does all of it in order and asks `transports.verdicts`.
"""

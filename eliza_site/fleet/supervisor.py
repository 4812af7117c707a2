"""Keeps the fleet's processes alive: starts them, starts them again when they die, stops them in order."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from eliza_site.embedded.processes import Child

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A process that ran for so long has recovered: its next death is counted as the first."""


@dataclass(kw_only=True)
class Post:
    """A child's place in the fleet: what runs there, since when, and when it may be started again."""

    child: Child
    stage: int
    started_at: float = 0.0
    pause_seconds: float = FIRST_PAUSE_SECONDS
    start_again_at: float | None = None


class Supervisor:
    """Holds the posts of one fleet; its caller looks after them every fraction of a second."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._posts: list[Post] = []

    @property
    def children(self) -> list[Child]:
        """List every child in the order in which they were added."""
        return [post.child for post in self._posts]

    def add(self, child: Child, *, stage: int) -> None:
        """Take a child in, started or not; lower stages are stopped first."""
        post = Post(child=child, stage=stage, started_at=time.monotonic())
        self._posts.append(post)
        if not child.is_running():
            child.start()

    def look_after(self) -> None:
        """Notice who died, and start again whose pause is over."""
        now = time.monotonic()
        for post in self._posts:
            if post.start_again_at is None and not post.child.is_running():
                self._plan_restart(post, now)
            if post.start_again_at is not None and now >= post.start_again_at:
                post.child.start()
                post.started_at, post.start_again_at = now, None

    def _plan_restart(self, post: Post, now: float) -> None:
        if now - post.started_at > STEADY_SECONDS:
            post.pause_seconds = FIRST_PAUSE_SECONDS
        name, code = post.child.command.name, post.child.exit_code
        # What it left in its session would hold the port.
        post.child.kill()
        self._report(
            f"{name} ended with code {code}; it starts again in {post.pause_seconds:.0f} s. "
            f"Its log: {post.child.command.log}"
        )
        post.start_again_at = now + post.pause_seconds
        post.pause_seconds = min(post.pause_seconds * 2, LONGEST_PAUSE_SECONDS)

    def stop(self, *, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """Stop every stage in turn, each within its children's own limit; at once when hurried.

        Within a stage all are asked at the same time: workers finish the turns that they have begun.
        """
        for stage in sorted({post.stage for post in self._posts}):
            children = [post.child for post in self._posts if post.stage == stage]
            for child in children:
                child.ask_to_stop()
            started_at = time.monotonic()
            for child in children:
                while child.is_running() and not is_hurried():
                    if time.monotonic() - started_at > child.command.stop_seconds:
                        self._report(
                            f"{child.command.name} did not end in {child.command.stop_seconds:.0f} s: killed"
                        )
                        break
                    child.wait(0.05)
                child.kill()
        self._posts.clear()

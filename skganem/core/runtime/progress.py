"""What a fit tells of its progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor


class Progress:
    """Hears what a fit is at. This one ignores it; the estimators' prints it, and passes it on to scikit-learn's callbacks."""

    @contextmanager
    def task(self, name: str, n_steps: int = 0) -> Iterator[Callable[[], None]]:
        """Do a task inside the block, which calls what it is given after each of the steps."""
        yield lambda: None

    def message(self, text: str) -> None:
        """Hear something that is worth a line."""

    def begin_iteration(self, state: Any) -> None:
        """Hear that an EM iteration begins, with the loop's `EMState`."""

    def end_iteration(self, state: Any, w: Tensor) -> bool:
        """Hear that an EM iteration is done; return whether to stop."""
        return False

"""When to stop: patience, counted the way Keras counts it."""

from __future__ import annotations

import math
from typing import TypedDict

from convzoo._checks import check_count, check_number


class EarlyStoppingState(TypedDict):
    """What an EarlyStopping remembers, for saving."""

    best: float
    wait: int


class EarlyStopping:
    """Stop once `patience` epochs in a row have brought no improvement.

    The convention is Keras's: with patience p, training ends after the p-th epoch in a row whose
    score is not an improvement (torch's `ReduceLROnPlateau` would act one epoch later). An
    improvement is strict: a score above the best so far by more than `min_delta`. The first epoch
    is always one, NaN never is. In Keras patience 0 does what 1 does; here it is refused.

    Args:
        patience: Epochs in a row without improvement that end training, at least 1.
        min_delta: How much more than the best so far counts as better, at least 0.

    Attributes:
        best: The best score so far; minus infinity before the first epoch.
        wait: Epochs in a row without improvement so far.

    Raises:
        InputError: An argument is out of range.

    Examples:
        >>> from convzoo.training import EarlyStopping
        >>> stopping = EarlyStopping(patience=2)
        >>> [stopping.step(score) for score in (0.5, 0.7, 0.7, 0.6)]
        [False, False, False, True]
    """

    def __init__(self, patience: int, min_delta: float = 0.0) -> None:
        self.patience: int = check_count("patience", patience)
        self.min_delta: float = check_number("min_delta", min_delta, 0)
        self.best: float = -math.inf
        self.wait: int = 0

    def __repr__(self) -> str:
        return f"EarlyStopping(patience={self.patience}, min_delta={self.min_delta})"

    def step(self, score: float) -> bool:
        """Take note of an epoch.

        Args:
            score: The epoch's result, higher is better: an accuracy, or minus a loss.

        Returns:
            Whether to stop now.
        """
        if score > self.best + self.min_delta:
            self.best = score
            self.wait = 0
        else:
            self.wait += 1
        return self.wait >= self.patience

    def reset(self) -> None:
        """Forget all epochs; `fit` does this when it starts."""
        self.best = -math.inf
        self.wait = 0

    def state_dict(self) -> EarlyStoppingState:
        """What to save in order to go on later."""
        return {"best": self.best, "wait": self.wait}

    def load_state_dict(self, state: EarlyStoppingState) -> None:
        """Go on from what `state_dict` gave.

        Args:
            state: The saved state.
        """
        self.best = state["best"]
        self.wait = state["wait"]

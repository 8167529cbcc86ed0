"""What the user hears of a fit: printed lines, and scikit-learn's callbacks."""

import time
from contextlib import contextmanager
from functools import partial

from skganem.core.runtime.distributed import alone
from skganem.core.runtime.launch import joined
from skganem.core.runtime.progress import Progress

#: What comes before the EM loop, by the names of the core's tasks. A fit may leave some out.
PHASES = {
    "features": "learning features",
    "neighbors": "looking for neighbors",
    "initial labels": "making initial labels",
}
#: Steps of a long task that are one task of the callbacks, all of which are kept until the fit ends.
STEPS_OF_A_TASK = 10


class FitProgress(Progress):
    """Prints what a start is at, if `verbose`, and calls the estimator's callbacks.

    Parameters
    ----------
    estimator : BaseGANEM
    context : callback context
        Of this start.
    callback_data : dict
        What callbacks get as X and y.
    start : int
        The number of the start, from 1.
    """

    def __init__(self, estimator, context, callback_data, start):
        self.estimator, self.context, self.callback_data, self.start = estimator, context, callback_data, start
        self.began = time.perf_counter()
        self.iteration = None

    def message(self, text):
        """Print a line, and how long after the start it is, if `verbose`."""
        if self.estimator.verbose and joined().rank == 0:
            name, seconds = type(self.estimator).__name__, time.perf_counter() - self.began
            print(f"[{name}] init {self.start}, {seconds:.1f} s: {text}", flush=True)

    @contextmanager
    def task(self, name, n_steps=0):
        """Do a task inside the block: of the callbacks, one with a subtask for every few steps."""
        self.message(PHASES[name])
        task = self._begin(self.context, name, max_subtasks=-(-n_steps // STEPS_OF_A_TASK))
        n_done = 0

        def advance():
            nonlocal n_done
            n_done += 1
            if n_done % STEPS_OF_A_TASK == 0 or n_done == n_steps:
                self._end(self._begin(task, "batches"))

        yield advance
        self._end(task)

    def begin_iteration(self, state):
        """Begin the task of an EM iteration."""
        self.iteration = self._begin(self.context, "EM iteration")

    def end_iteration(self, state, w):
        """Print how far the EM loop is, and end the task; True if a callback wants to stop."""
        last, max_iter = state.history[-1], state.recipe.max_iter
        text = f"EM iteration {last['iteration']}/{max_iter}"
        if not state.should_stop:
            text += f", about {(max_iter - last['iteration']) * last['seconds']:.0f} s left"
        if self.estimator.verbose > 1:
            text += f"; labels changed {last['label_change']:.2%}, L_E {last['loss_e']:.3f}"
            text += f", L_G {last['loss_g']:.3f}, L_D {last['loss_d']:.3f}"
        self.message(text)
        return self._end(self.iteration, partial(self.estimator._partial_attributes, state, w))

    def _begin(self, context, name, max_subtasks=0):
        task = context.subcontext(name, max_subtasks=max_subtasks)
        with alone():  # callbacks may predict in some of the processes only
            return task.call_on_fit_task_begin(estimator=self.estimator, **self.callback_data)

    def _end(self, task, attributes=None):
        arguments = {"estimator": self.estimator, **self.callback_data, "reconstruction_attributes": attributes}
        with alone():
            return task.call_on_fit_task_end(**arguments)

"""scikit-learn's callbacks, and their absence in versions that have none."""

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before scikit-learn 1.9

    class NoCallbacks:
        """A callback context in which no callback is called."""

        def subcontext(self, task_name="", **settings):
            """Return the context of a subtask."""
            return self

        def call_on_fit_task_begin(self, **state):
            """Do nothing; return the context."""
            return self

        def call_on_fit_task_end(self, **state):
            """Return whether to stop."""
            return False

    class CallbackSupportMixin:
        """What takes the place of the mixin."""

        def _init_callback_context(self, **settings):
            return NoCallbacks()


__all__ = ["CallbackSupportMixin"]

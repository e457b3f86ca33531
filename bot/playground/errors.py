"""The playground's errors: what Slack refuses an app, and what it refuses a person."""


class PlaygroundError(AssertionError):
    """Someone in the playground tried what Slack would not let them do."""


class SlackError(Exception):
    """A call that Slack refuses with `error`; `extra` is whatever else its answer holds."""

    def __init__(self, error: str, **extra: object) -> None:
        super().__init__(error)
        self.error = error
        self.extra = extra


def unsupported(error: str, what: str) -> SlackError:
    """Return the refusal of something that Slack has and the playground lacks, naming it."""
    return SlackError(error, response_metadata={"messages": [f"[ERROR] unsupported {what}"]})

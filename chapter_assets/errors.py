"""The errors this project raises on purpose: each says what was found, where, and how to mend it."""


class ChapterAssetsError(Exception):
    """Something a person can mend: `problem` says what and where, `remedy` says how."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}. {remedy}")
        self.problem = problem
        self.remedy = remedy


class InputError(ChapterAssetsError):
    """A file or a value that was handed in cannot be used."""


class StoreError(ChapterAssetsError):
    """An artifact is missing, not whole, or cannot be written."""

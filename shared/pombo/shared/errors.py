"""What can go wrong, as a tree.

PomboError
├── ConfigurationError      a setting, a URL or a key is wrong; the message says which and what to do
├── UnknownSourceError      no source has that name
├── SourceExistsError       a source has that name already
├── SourceNotEmptyError     the source still holds events
├── UnknownLetterError      no dead letter has that id
├── RedriveError            a dead letter that holds no event to send
├── RestoreError            a dead letter that cannot be put back from an export
├── UnknownJobError         no job has that id
├── JobError                a job cannot be cancelled, or do what it is for
├── CorruptBatchError       a record batch is not what was written
├── SpoolError             the spool on the local disk cannot be read or written
├── StoredVersionError      stored data has a version that this pombo does not know; it is left alone
└── InvalidEvent            an event that Segment would drop or cannot read; it names the field and a code
"""


class PomboError(Exception):
    """Base of every error that pombo raises; its text is one line for people."""


class ConfigurationError(PomboError):
    """A setting, a URL or a key is wrong."""


class UnknownSourceError(PomboError):
    """No source has that name."""


class SourceExistsError(PomboError):
    """A source has that name already."""


class SourceNotEmptyError(PomboError):
    """The source still holds events; nothing was removed."""


class UnknownLetterError(PomboError):
    """No dead letter has that id."""


class RedriveError(PomboError):
    """A dead letter holds no event that could be sent; nothing was redriven."""


class RestoreError(PomboError):
    """What an export holds cannot be put back among the dead letters; nothing of it was."""


class UnknownJobError(PomboError):
    """No job has that id."""


class JobError(PomboError):
    """A job cannot be cancelled, or cannot do what it is for."""


class SpoolError(PomboError):
    """The spool on the local disk cannot be read or written; what it holds is left as it is."""


class StoredVersionError(PomboError):
    """Stored data has a version that this pombo does not know; it is left as it is."""


class CorruptBatchError(PomboError):
    """A record batch is not what was written; it goes to the dead letters as it is."""


class InvalidEvent(PomboError):  # noqa: N818 -- the name says what was handed in, and is the one users read
    """An event that Segment would answer 200 to and then drop, or that JSON cannot carry.

    `field` is the path in Segment's names (`properties.items[3].price`; empty for the event as a whole),
    `code` Segment's own drop code where it has one, `message` a sentence that holds no value of the event.
    """

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(field, code, message)
        self.field = field
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message

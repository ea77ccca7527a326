"""What a provider is to the engine: five verbs, and errors that say whether it can have acted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import IO, Any, Literal, Protocol

from core import http, storage
from generation.providers.watch import Watch


class ProviderError(Exception):
    """A provider did not do what was asked. `message` is for staff, not for customers.

    `cost` is what it is billed all the same, where it is.
    """

    def __init__(self, message: str = "", *, status: int | None = None, cost: Decimal | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.cost = cost


class Unavailable(ProviderError):
    """The provider surely did not act and may later: refused connection, 429, 5xx without an id."""

    def __init__(self, message: str = "", *, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after_s = retry_after_s


class InputAway(Unavailable):
    """Our own storage did not give what is to be sent: nothing was, and the provider is not to blame."""


class Rejected(ProviderError):
    """The provider says no to this order; another try gives the same. `code` is one of our failure codes.

    `reason` is a sentence for the customer, in place of the code's own.
    """

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "provider_rejected",
        status: int | None = None,
        cost: Decimal | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(message, status=status, cost=cost)
        self.reason = reason
        self.code = code


class Misconfigured(ProviderError):
    """Our account there is the problem (key, plan, balance): nothing will work until staff act."""


class Unknown(ProviderError):
    """Bytes went out and no usable answer came: the provider may have acted."""


@dataclass(frozen=True, slots=True)
class Input:
    """A file that the order works from; `open` reads it from the storage. Those of one `camera` share their lens."""

    content_type: str
    size: int
    open: Callable[[], IO[bytes]]
    camera: str = ""

    def read(self) -> bytes:
        """All of it. Raises: InputAway."""
        try:
            with self.open() as file:
                return file.read()
        except (storage.StorageAway, OSError) as error:
            raise InputAway(f"the photo cannot be read: {type(error).__name__}") from error


@dataclass(frozen=True, slots=True)
class Order:
    """What the engine wants made. `token` is our name for the attempt; it rides where the provider echoes it.

    A job of several stages (a long film: a start, then extensions) is an order for each: `previous` is the provider's
    address of what the stage before made. `operation` is the operation's code. `watch` is for calls that last.
    """

    token: str
    kind: str
    model: str
    params: Mapping[str, Any]
    inputs: tuple[Input, ...] = ()
    stage: int = 1
    previous: str = ""
    operation: str = ""
    watch: Watch = field(default_factory=Watch)


@dataclass(frozen=True, slots=True)
class Submitted:
    """The provider took the order; or, a synchronous one, has done it: then there are `outputs`, and no id need be.

    `outputs` are addresses or data: URLs; `data` is what was made besides files, such as an avatar's profile.
    """

    provider_job_id: str | None
    cost: Decimal | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """How a job stands at the provider. `gone`: it knows no such job (any more)."""

    status: Literal["running", "succeeded", "failed", "canceled", "gone"]
    progress: int = 0
    outputs: tuple[str, ...] = ()
    cost: Decimal | None = None
    error: Rejected | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Treatment:
    """What we do to an output before it is stored: a picture is cropped and scaled down to `size`, a film is cut to
    `duration_s` and silenced. Films keep the size that was ordered of the provider.
    """

    size: tuple[int, int] | None = None
    duration_s: float | None = None
    mute: bool = False


@dataclass(frozen=True, slots=True)
class Callback:
    """Whose callback this is: by the provider's id, and by our token where it was echoed. Nothing else is believed."""

    provider_job_id: str
    token: str | None = None


class Provider(Protocol):
    """One provider; each is a subclass. Its methods make no query and may run in any thread."""

    code: str
    cost_unit: str

    @property
    def base_url(self) -> str:
        """Where it is: its origin may be fetched from although it may not be public."""

    @property
    def resolve_window_s(self) -> float:
        """How long a callback can still tell what became of a submission that was never answered."""

    @property
    def is_configured(self) -> bool:
        """Whether the keys are there."""

    def prepare(self, order: Order) -> Mapping[str, Any]:
        """What can be done ahead of the order and repeated, such as uploading the inputs.

        `optimized_prompt` in it is a better wording for `optimize_prompt`: the engine moderates and keeps it, and puts
        it into `order.params` under that name (None where it was blocked), then and in every later order of the job.
        It need not be asked for when it is there. `cost` in it, as text, is what preparing was billed: it is the
        attempt's, and what the order itself costs comes on top.
        Raises: ProviderError; whatever it is, no job was started.
        """

    def submit(self, order: Order, prepared: Mapping[str, Any]) -> Submitted:
        """Start the job: the one call that costs.

        Raises: Unavailable, Rejected, Misconfigured, Unknown.
        """

    def poll(self, provider_job_id: str) -> Seen:
        """Look.

        Raises: Unavailable, Misconfigured, Unknown.
        """

    def cancel(self, provider_job_id: str) -> None:
        """Stop the job, or delete what it made. Idempotent.

        Raises: ProviderError.
        """

    def parse_callback(self, event: Mapping[str, Any]) -> Callback | None:
        """Whose callback it is; None for a type that says nothing of a job."""

    def classify_error(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> ProviderError:
        """The error that an answer with this status means."""

    def queue(self, kind: str) -> str:
        """Which workers do its jobs: `providers` for short calls, `providers_sync` where a call lasts, `bulk`."""
        return "providers"

    def stages(self, order: Order) -> int:
        """How many orders, one after the other, make what was ordered."""
        return 1

    def treatment(self, order: Order) -> Treatment:
        """What is done to each output before it is stored."""
        return Treatment()

    def fetch(self, address: str, file: IO[bytes], *, max_bytes: int, timeout_s: float) -> None:
        """Bring one of its outputs here.

        Raises: http.FetchError.
        """
        http.fetch(address, file, max_bytes=max_bytes, timeout_s=timeout_s, trusted_origin=self.base_url)

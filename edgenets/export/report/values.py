"""What a report.json must hold to be shown: its keys, and of each the type and the range.

Further keys may be there. What is read was written by `edgenets run`; here is found what damage or
an editor made of it, before the page is drawn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from edgenets.errors import EdgenetsError
from edgenets.packages import missing_package

try:
    import pydantic
except ImportError as error:
    raise missing_package("pydantic") from error

Count = Annotated[int, pydantic.Field(ge=0)]
Positive = Annotated[int, pydantic.Field(ge=1)]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]
Ratio = Annotated[float, pydantic.Field(gt=0)]
Amount = Annotated[float, pydantic.Field(ge=0)]
Shares = Annotated[list[Share], pydantic.Field(min_length=2, max_length=2)]
Interval = Annotated[list[float], pydantic.Field(min_length=2, max_length=2)]
REMEDY = (
    "it was changed, or written by another version of edgenets; finish the run again to write it "
    "anew"
)


class _Values(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, allow_inf_nan=False)


class _Net(_Values):
    name: str
    arguments: dict[str, Any]
    params: Count
    macs: Count
    preparation: str = ""  # older reports have none


class _LeftOut(_Values):
    path: str
    reason: str


class _Data(_Values):
    name: str
    classes: Annotated[list[str], pydantic.Field(min_length=1)]
    train: Count
    test: Positive
    fingerprint: str
    skipped: list[_LeftOut]


class _History(_Values):
    epoch: list[float]
    loss: list[float]
    accuracy: list[Share]
    validation_loss: list[float]
    validation_accuracy: list[Share]

    @pydantic.model_validator(mode="after")
    def _check_epochs(self) -> _History:
        lengths = {len(column) for _, column in self}
        if len(lengths) > 1 or 0 in lengths:
            raise ValueError("every column must have one value for each epoch")
        return self


class _Stage(_Values):
    name: str
    seconds: Amount
    top1: Share
    top5: Share | None
    ci95: Shares
    samples: Positive
    size_bytes: Positive
    stored_bytes: Positive | None  # of integer files alone
    nonzero_params: Count
    params: Count
    sparsity: Share
    distinct_values: Count
    history: _History | None


class _File(_Values):
    path: str
    sha256: str
    size_bytes: Count


class _Reduction(_Values):
    vs_float: Ratio
    stored_vs_float: Ratio


class _Size(_Values):
    name: str
    kind: str
    size_bytes: Count
    vs_float: Ratio
    vs_alexnet: Ratio


class _Accounting(_Values):
    rows: list[_Size]
    total: dict[str, Any]


class _Latency(_Values):
    median: Amount
    mean: Amount
    p90: Amount
    ci95: Interval


class _Device(_Values):
    processor: str | None
    machine: str
    cores: Positive | None
    system: str


class _Interpreter(_Values):
    name: str
    version: str


class _WarmUp(_Values):
    runs: Count
    stable: bool


class _Operator(_Values):
    index: Count
    op: str
    name: str
    macs: Count
    ms: float | None
    ms_ci95: Interval | None
    share: float | None
    gmacs_per_s: Amount | None
    resolved: bool


class _Benchmark(_Values):
    device: _Device
    runtime: _Interpreter
    threads: Positive
    warm_up: _WarmUp
    load_ms: Amount
    first_ms: Amount
    peak_memory_bytes: Count | None
    ops: list[_Operator] = []
    ops_sum_ms: float | None = None
    ops_whole_ms: float | None = None
    ops_resolution_ms: float | None = None


class _Fidelity(_Values):
    snr_db: float
    agreement: Share
    samples: Count


class _Parting(_Values):
    operator: Count
    op: str
    name: str
    values: Count | None
    of: Count | None
    images: Count | None


class _Runtime(_Values):
    name: str
    package: str | None
    version: str | None
    bit_equal: Count | None
    largest_step: Amount | None
    same_answers: Share | None
    ci95: Shares | None
    top1: Share | None
    first_difference: _Parting | None
    problem: str | None


class _Verification(_Values):
    images: Positive
    runtimes: Annotated[list[_Runtime], pydantic.Field(min_length=1)]


class _Class(_Values):
    label: str
    samples: Count
    top1: Share | None
    ci95: Shares | None


class _Mistake(_Values):
    path: str | None
    label: str
    answer: str
    score: Share
    jpeg: Annotated[str, pydantic.Field(pattern="^[A-Za-z0-9+/]*=*$")]


class _Layer(_Values):
    name: str
    kind: str
    output_shape: list[Count]
    params: Count
    macs: Count
    activation_bytes: Count
    sparsity: Share = 0.0
    distinct_values: Count = 0


class _Source(_Values):
    source: str


class _Timing(_Values):
    threads: Positive
    min_seconds: Ratio


class _Config(_Values):
    data: _Source
    benchmark: _Timing


class _Report(_Values):
    model: _Net
    data: _Data
    warnings: list[str]
    target: str
    seed: Count
    seconds: Amount
    stages: Annotated[list[_Stage], pydantic.Field(min_length=1)]
    artefacts: list[_File]
    reduction: _Reduction
    accounting: _Accounting
    latency_ms: _Latency
    benchmark: _Benchmark
    fidelity: _Fidelity
    verify: _Verification
    per_class: list[_Class]
    confusion: list[list[Count]]
    mistakes: list[_Mistake]
    layers: list[_Layer]
    config: _Config
    versions: dict[str, str]

    @pydantic.model_validator(mode="after")
    def _check_classes(self) -> _Report:
        classes = len(self.data.classes)
        lengths = [len(self.per_class), len(self.confusion), *map(len, self.confusion)]
        if set(lengths) != {classes}:
            raise ValueError(f"per_class and confusion must have {classes} rows and columns")
        if not any(row.samples for row in self.per_class):
            raise ValueError("there must be images in per_class")
        return self


def check_report(report: Any, path: Path) -> None:
    """Check that a report read from `path` has what is shown of it, finite and in range.

    Raises:
        EdgenetsError: it has not; the message names the first key that is amiss.
    """
    try:
        _Report.model_validate(report)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
        if first["type"] in ("missing", "model_type") and key:
            raise EdgenetsError(f"{path} lacks {key!r}: {REMEDY}") from error
        reason = first["msg"].removeprefix("Value error, ")
        reason = reason[:1].lower() + reason[1:]
        where = f"the value of {key!r} is wrong ({reason})" if key else reason
        raise EdgenetsError(f"{path}: {where}; {REMEDY}") from error

from typing import Any, Literal, TypeVar

from ._roundelay import (
    ABSENT as ABSENT,
    UNGENERATED as UNGENERATED,
    Batches as Batches,
    Built as Built,
    Codec as Codec,
    Dataset as Dataset,
    Delay as Delay,
    DelayLine as DelayLine,
    Joint as Joint,
    KyutaiLine as KyutaiLine,
    Layout as Layout,
    Loader as Loader,
    Policy as Policy,
    Stream as Stream,
    TextRow as TextRow,
    Tokenizer as Tokenizer,
    Training as Training,
    UndelayLine as UndelayLine,
    Undone as Undone,
    Usage as Usage,
    Weights as Weights,
    Word as Word,
    Words as Words,
    __version__ as __version__,
    first_not_before as first_not_before,
    jmoshi_labels as jmoshi_labels,
    kyutai_window as kyutai_window,
    kyutai_windows as kyutai_windows,
    merge as merge,
    prep as prep,
    reason_names as reason_names,
    words_from_row as words_from_row,
)

_Array = TypeVar("_Array")
_Extent = Literal["extend", "truncate"]
_Start = Literal["none", "initial"]

def build(
    codes: _Array,
    layout: Layout | str,
    *,
    extent: _Extent = ...,
    start: _Start = ...,
    bos: bool = ...,
    eos: bool = ...,
    pattern: str | dict[str, Any] | None = ...,
    frames: int | None = ...,
) -> Built[_Array]: ...
def undo(
    tokens: _Array,
    layout: Layout | str,
    missing: int | None = ...,
    *,
    extent: _Extent = ...,
    start: _Start = ...,
    bos: bool = ...,
    eos: bool = ...,
    pattern: str | dict[str, Any] | None = ...,
    frames: int | None = ...,
) -> Undone[_Array]: ...
def weigh(
    codes: Any,
    layout: Layout | str,
    policy: Policy | str = ...,
    *,
    extent: _Extent = ...,
    start: _Start = ...,
    bos: bool = ...,
    eos: bool = ...,
    pattern: str | dict[str, Any] | None = ...,
    frames: int | None = ...,
) -> Weights: ...
def training(
    codes: _Array,
    layout: Layout | str,
    policy: Policy | str = ...,
    start: _Start = ...,
    *,
    extent: _Extent = ...,
    bos: bool = ...,
    eos: bool = ...,
    pattern: str | dict[str, Any] | None = ...,
    frames: int | None = ...,
) -> Training[_Array]: ...

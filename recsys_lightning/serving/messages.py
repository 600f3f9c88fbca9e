"""What is asked and answered over HTTP: every field has its bounds, and none is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

Id = Annotated[str, Field(min_length=1, max_length=200, description="An id as the raw data write it.")]
Length = Annotated[int, Field(ge=1, le=1000, description="How many items to list at most.")]
Word = Annotated[str, Field(max_length=200)]
Number = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]


def _kind(value: Any) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "(number)"
    return {str: "(text)", list: "(texts)", type(None): "(unknown)"}.get(type(value))


Value = Annotated[
    Annotated[str, Field(max_length=5000), Tag("(text)")]
    | Annotated[Number, Tag("(number)")]
    | Annotated[list[Word], Field(max_length=100), Tag("(texts)")]
    | Annotated[None, Tag("(unknown)")],
    Discriminator(
        _kind, custom_error_type="which", custom_error_message="Give a text, a number, a list of texts, or null"
    ),
]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=100)], Value],
    Field(
        max_length=50,
        description=(
            "Facts of an item by the columns of its data: the title, numbers, and names of categories, as /health "
            "names their `kinds`. At least one must mean something to the model."
        ),
        examples=[{"title": "The Long Way Home", "genres": ["Drama", "War"]}],
    ),
]


class _Asked(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Recommend(_Asked):
    k: Length = 10
    exclude_known: bool = Field(True, description="Whether items that the user has are left out.")
    exclude: list[Id] = Field([], max_length=1000, description="Other items to leave out.")


class ForUser(_Recommend):
    """A user of the data."""

    user: Id


class ForHistory(_Recommend):
    """Somebody new, by items that they have."""

    history: list[Id] = Field(min_length=1, max_length=500, description="Items of the catalogue.")
    liked: list[Metadata] = Field([], max_length=50, description="Items that are not in the catalogue.")


class ForLiked(_Recommend):
    """Somebody new, by the metadata of items that are not in the catalogue."""

    liked: list[Metadata] = Field(min_length=1, max_length=50)


def _key(*names: str) -> Any:
    """Tells variants apart by the field that each must have: the first of these that is there, in brackets."""

    def present(value: Any) -> str | None:
        if isinstance(value, Mapping):
            return next((f"({name})" for name in names if name in value), None)
        return next((f"({name})" for name in names if hasattr(value, name)), None)

    listed = ", ".join(f"`{name}`" for name in names)
    return Discriminator(present, custom_error_type="which", custom_error_message=f"Give one of {listed}")


Request = Annotated[
    Annotated[ForUser, Tag("(user)")] | Annotated[ForHistory, Tag("(history)")] | Annotated[ForLiked, Tag("(liked)")],
    _key("user", "history", "liked"),
]


class Recommend(_Asked):
    """Lists for several people at once."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"requests": [{"user": "1", "k": 3}, {"history": ["68646", "111161"]}]}]}
    )

    requests: list[Request] = Field(min_length=1, max_length=100)


class SimilarToItem(_Asked):
    """An item of the catalogue."""

    item: Id
    k: Length = 10


class SimilarToMetadata(_Asked):
    """An item that is not in the catalogue."""

    metadata: Metadata
    k: Length = 10


Similar = Annotated[
    Annotated[SimilarToItem, Tag("(item)")] | Annotated[SimilarToMetadata, Tag("(metadata)")], _key("item", "metadata")
]


class ExplainToUser(_Asked):
    """Why an item is recommended to a user of the data."""

    user: Id
    item: Id


class ExplainToHistory(_Asked):
    """Why an item is recommended to somebody with these items."""

    history: list[Id] = Field(min_length=1, max_length=500)
    item: Id


Explain = Annotated[
    Annotated[ExplainToUser, Tag("(user)")] | Annotated[ExplainToHistory, Tag("(history)")], _key("user", "history")
]


class Line(BaseModel):
    """One line of a list."""

    rank: int = Field(description="1 is best.")
    item: str
    title: str
    score: float


class List(BaseModel):
    """A list for one person."""

    recommendations: list[Line]
    unknown: list[str] = Field(
        description=(
            "What was given and left out: ids that are not in the catalogue, and values of metadata that mean nothing "
            "to the model, such as `genres: SciFi`."
        )
    )


class Lists(BaseModel):
    """Lists in the order of the requests."""

    responses: list[List]


class Similars(BaseModel):
    """Similar items, the most similar first."""

    items: list[Line]
    unknown: list[str] = Field(description="Values of the metadata that mean nothing to the model: `genres: SciFi`.")


class Reason(BaseModel):
    """What one of the user's own items does."""

    item: str
    title: str
    effect: float


class Shared(BaseModel):
    """A category that the item shares with the user's own items."""

    kind: str = Field(description="The column of the data, as in metadata.")
    value: str


class Explanation(BaseModel):
    """Why an item has its score."""

    score: float
    meaning: str = Field(description="What an effect is.")
    reasons: list[Reason] = Field(description="The strongest first, at most 50.")
    shared: list[Shared]


class Title(BaseModel):
    """An item and its title."""

    item: str
    title: str


class Found(BaseModel):
    """Items whose titles match."""

    items: list[Title]


class Health(BaseModel):
    """What is served."""

    status: Literal["ok"]
    model: str
    data: str
    item_type: str
    users: int
    items: int
    dim: int
    index: Literal["exact", "faiss"]
    folds_in: bool = Field(description="Whether histories of new users can be asked for.")
    kinds: list[str] = Field(description="Kinds of categories that metadata may have.")
    example_user: str | None = Field(description="Some user to begin with; null where nobody has an item.")


class Problem(BaseModel):
    """What is wrong, in a sentence."""

    detail: str

"""JSON Schemas of the files that users write, so that an editor completes and checks them."""

from typing import Any

from foretune.models.config import TrialConfig
from foretune.search.space.space import SearchSpace

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def config_schema() -> dict[str, Any]:
    """Return the schema of ``config.toml`` and ``best.toml``.

    Their ``[config]`` table is described; the others say where it comes from.
    """
    return {
        "$schema": _DIALECT,
        "title": "foretune config",
        "type": "object",
        "properties": {"config": _of_model(TrialConfig)},
        "required": ["config"],
    }


def space_schema() -> dict[str, Any]:
    """Return the schema of a search space's TOML file."""
    return {"$schema": _DIALECT} | _of_model(SearchSpace)


SCHEMAS = {"config": config_schema, "space": space_schema}


def _of_model(model: type[TrialConfig] | type[SearchSpace]) -> dict[str, Any]:
    return model.model_json_schema(mode="validation")

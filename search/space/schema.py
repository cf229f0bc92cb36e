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
        "properties": {"config": TrialConfig.model_json_schema()},
        "required": ["config"],
    }


def space_schema() -> dict[str, Any]:
    """Return the schema of a search space's TOML file."""
    return {"$schema": _DIALECT} | SearchSpace.model_json_schema()


SCHEMAS = {"config": config_schema, "space": space_schema}

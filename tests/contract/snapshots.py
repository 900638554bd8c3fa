"""The stored contracts. `python -m tests.contract.snapshots` writes the schemas anew; stored bodies never change."""

import json
from pathlib import Path

from shared.events import catalogue, json_schema

HERE = Path(__file__).parent
SCHEMAS, BODIES = HERE / "schemas", HERE / "bodies"


def schema_file(wire_name: str) -> Path:
    return SCHEMAS / f"{wire_name}.json"


def body_file(wire_name: str) -> Path:
    return BODIES / f"{wire_name}.json"


def main() -> None:
    """Write the schema of every event as it is now."""
    for event in catalogue():
        schema = json.dumps(json_schema(event), indent=2, sort_keys=True)
        schema_file(event.cloudevents_type()).write_text(schema + "\n")


if __name__ == "__main__":
    main()

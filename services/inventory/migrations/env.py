from services.inventory.tables import METADATA
from shared.migrations import run

run(METADATA)

from services.catalog.tables import METADATA
from shared.migrations import run

run(METADATA)

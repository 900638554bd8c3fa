from services.notifier.tables import METADATA
from shared.migrations import run

run(METADATA)

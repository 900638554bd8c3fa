from services.orders.tables import METADATA
from shared.migrations import run

run(METADATA)

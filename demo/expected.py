"""What every level must be in the end, worked out from the order file alone.

This module is the demo's second opinion. It imports nothing of ours and reads the file by itself, so that a mistake in
our reader, our replay or our services cannot hide here as well.
"""

import csv
import io
import zlib
from pathlib import Path


def start_quantity(stock_code: str) -> int:
    """The stock a code starts the replay with: 500 to 1499 units, different for most codes, the same every time."""
    return 500 + zlib.crc32(stock_code.encode()) % 1000


def expected_levels(path: Path) -> dict[str, int]:
    """`{exact stock code: start - sold + returned}` for every product in the file, in units.

    Codes that do not start with a digit are postage, discounts and the like: they have no level. A negative line and
    any line of a `C` invoice is a return. Raises `ValueError` or `KeyError` for a file that `orders_file` refuses.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    separator = ";" if ";" in text.partition("\n")[0] else ","
    levels: dict[str, int] = {}
    for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=separator):
        code = row["StockCode"].strip()
        if not code[0].isdigit():
            continue
        quantity = int(row["Quantity"])
        change = abs(quantity) if row["InvoiceNo"].strip().startswith("C") else -quantity
        levels[code] = levels.get(code, start_quantity(code)) + change
    return levels

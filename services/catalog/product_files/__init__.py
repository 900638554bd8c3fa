"""Files of products, CSV and NDJSON: read piece by piece, written piece by piece. Nothing here does I/O.

Both formats say the same things (`rows.ProductRow`), and links may name products by SKU where ids are not known yet.
"""

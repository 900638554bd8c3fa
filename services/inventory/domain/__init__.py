"""What happens to stock: decisions only, on rows that the caller has locked. No I/O.

`stock` holds the running levels and enters every change; `orders`, `reservations`, `fulfillment`, `returns` and
`writing` decide what to change.
"""

#!/bin/sh
# Send orders to Basestock over HTTP: one JSON order a line on standard input, up to 100,000.
#
#     BASESTOCK=https://basestock.example KEY=bsk_... sh order_system.sh < orders.ndjson
#
# Prints what became of each. Ends with 0 once all are accepted. After any other end correct what was refused, and run
# it again: what is there already counts once.
set -eu

answer=$(curl --silent --show-error --retry 5 --retry-connrefused --max-time 120 \
  --header "Authorization: Bearer $KEY" --header "Content-Type: application/x-ndjson" \
  --data-binary @- --write-out '\n%{http_code}' "$BASESTOCK/v1/orders/bulk")
printf '%s\n' "$answer"
test "$(printf '%s\n' "$answer" | tail -n 1)" = 200 # 207: some are refused

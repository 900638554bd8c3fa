#!/bin/sh
# The signature that a call must have, from its body on standard input, exactly as it came.
#
#     SECRET=whsec_... ID=msg_... TIMESTAMP=1764408000 sh signature.sh < body
#
# ID and TIMESTAMP are its headers webhook-id and webhook-timestamp. One of the signatures in its header
# webhook-signature, which spaces separate, must be the same; and TIMESTAMP must be of the last five minutes.
set -eu

key=$(printf '%s' "${SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
signature=$({ printf '%s.%s.' "$ID" "$TIMESTAMP"; cat; } | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)
printf 'v1,%s\n' "$signature"

#!/usr/bin/env bash
# Regulation software with curl: one call, from opening to closing, with a booking on the way.
#
#     examples/regulation.sh var/demo/demo-clients.json
#
# Needs curl and python3. Everybody is invented; the appointment is given back in the end.
set -euo pipefail
CLIENTS=${1:-${SNP_DEMO_CLIENTS:-var/demo/demo-clients.json}}

# pick EXPRESSION: read JSON from standard input, print a part of it (`it` is the document).
pick() { python3 -c 'import json, sys; it = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"; }
client() { pick "next(c for c in it['clients'] if c['role'] == 'regulator')['$1']" < "$CLIENTS"; }

BASE=$(pick "it['base_url']" < "$CLIENTS")
SECRETS=$(mktemp -d)
trap 'rm -rf "$SECRETS"' EXIT

# Neither a secret nor a patient belongs on a command line, where every user of the machine reads it:
# the token is read from a file, bodies from standard input.
printf 'grant_type=client_credentials&client_id=%s&client_secret=%s' \
  "$(client client_id)" "$(client client_secret)" |
  curl --silent --show-error --fail-with-body --data @- "$BASE/oauth/token" |
  pick "'Authorization: Bearer ' + it['access_token']" > "$SECRETS/token"

# api METHOD PATH [KEY]: send standard input as JSON. A key makes a second try safe: one effect.
# --retry obeys Retry-After on 429 and 503.
api() {
  curl --silent --show-error --fail-with-body --retry 4 --max-time 30 \
    --request "$1" --header "@$SECRETS/token" --header 'Content-Type: application/json' \
    ${3:+--header "Idempotency-Key: $3"} --data-binary @- "$BASE$2"
}
get() {
  curl --silent --show-error --fail-with-body --retry 4 --max-time 30 \
    --header "@$SECRETS/token" "$BASE$1"
}

CASE=LRM-$(python3 -c 'import uuid; print(uuid.uuid4().hex[:12])')
NOW=$(date -u +%Y-%m-%dT%H:%M:%SZ)

CALL=$(api POST /v1/calls "$CASE-call" <<JSON | pick "it['id']"
{"line": "116117", "received_at": "$NOW", "caller_type": "SUJET", "motive": "M03.14",
 "priority": "P2", "care_level": "R3", "case_id": "$CASE", "callback_requested": true}
JSON
)
echo "call opened"

api PUT "/v1/calls/$CALL/assignment" < /dev/null > /dev/null
echo '{"reached": true}' | api POST "/v1/calls/$CALL/callbacks" "$CASE-callback" > /dev/null

SLOT=$(get '/v1/slots?near=46.81,1.69&radius_km=30&mode=AMB&sort=distance&limit=20' |
  pick "next(s['id'] for s in it['items'] if not s['walk_in'])")
echo "free slot found"

HOLD=$(echo '{"seconds": 180}' | api POST "/v1/slots/$SLOT/holds" "$CASE-hold" | pick "it['id']")
echo "held"

book() {
  api POST /v1/bookings "$CASE-booking" <<JSON
{"slot_id": "$SLOT", "hold_id": "$HOLD", "call_id": "$CALL", "case_id": "$CASE",
 "patient_file": {"family_name": "Exemple $CASE", "given_name": "Dominique",
                  "birth_date": "1980-01-01", "sex": "F", "phone": "+33600000000",
                  "commune": "36044"},
 "reason": {"motive": "M03.14", "text": "fièvre depuis 2 jours"}}
JSON
}
BOOKING=$(book | pick "it['id']")
[ "$BOOKING" = "$(book | pick "it['id']")" ] # a second try with the same key: the same booking
echo "booked once"

echo '{"outcome": "medical_advice"}' |
  api POST "/v1/calls/$CALL/outcomes" "$CASE-advice" > /dev/null
echo '{"otherwise": "emergency_department"}' |
  api POST "/v1/calls/$CALL/closure" "$CASE-closure" |
  pick "'call %s: %s' % (it['state'], ', '.join(sorted(o['outcome'] for o in it['outcomes'])))"

echo '{"by": "patient"}' |
  api POST "/v1/bookings/$BOOKING/cancellation" "$CASE-cancellation" |
  pick "'booking %s by the %s' % (it['state'], it['cancellation']['by'])"

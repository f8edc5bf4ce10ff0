#!/usr/bin/env bash
# Practice software with curl: publish a hidden slot, amend it, look at the agenda, withdraw it,
# report what happened to those who were booked.
#
#     examples/practice.sh var/demo/demo-clients.json
#
# Needs curl and python3. Everybody is invented.
set -euo pipefail
CLIENTS=${1:-${SNP_DEMO_CLIENTS:-var/demo/demo-clients.json}}

# pick EXPRESSION: read JSON from standard input, print a part of it (`it` is the document).
pick() { python3 -c 'import json, sys; it = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"; }
client() { pick "next(c for c in it['clients'] if c['role'] == 'doctor')['$1']" < "$CLIENTS"; }

BASE=$(pick "it['base_url']" < "$CLIENTS")
SECRETS=$(mktemp -d)
trap 'rm -rf "$SECRETS"' EXIT
printf 'grant_type=client_credentials&client_id=%s&client_secret=%s' \
  "$(client client_id)" "$(client client_secret)" |
  curl --silent --show-error --fail-with-body --data @- "$BASE/oauth/token" |
  pick "'Authorization: Bearer ' + it['access_token']" > "$SECRETS/token"

ask() { # ask PATH [curl options]; --retry obeys Retry-After on 429 and 503
  curl --silent --show-error --fail-with-body --retry 4 --max-time 30 \
    --header "@$SECRETS/token" "${@:2}" "$BASE$1"
}
json=(--header 'Content-Type: application/json' --data-binary @-)

DOCTOR=$(ask /v1/me | pick "it['practitioner_id']")
PLACE=$(ask "/v1/locations?practitioner=$DOCTOR&limit=1" | pick "it['items'][0]['id']")
read -r START END < <(python3 - <<'PY'
from datetime import datetime, timedelta, timezone
from random import randrange
day = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0) + timedelta(days=30)
start = day + timedelta(minutes=10 * randrange(9 * 144))
print(start.isoformat(), (start + timedelta(minutes=10)).isoformat())
PY
)

# The practice software's own id: publishing it again updates the slot instead of adding one.
SLOT=$(ask /v1/slots "${json[@]}" --header "Idempotency-Key: publish-$START-$$" <<JSON | pick "it['id']"
{"practitioner_id": "$DOCTOR", "location_id": "$PLACE", "starts_at": "$START", "ends_at": "$END",
 "modes": ["AMB"], "visibility": ["SNP"], "external_id": "agenda-$START-$$"}
JSON
)
echo "published, hidden"

etag() { # the ETag of the slot as it is now, quotes included
  ask "/v1/slots/$SLOT" --head --request GET | tr -d '\r' | sed -n 's/^etag: //ip'
}
TAG=$(etag)
echo '{"visibility": ["SNP", "PRO"]}' |
  ask "/v1/slots/$SLOT" --request PATCH --header "If-Match: $TAG" "${json[@]}" |
  pick "'amended: ' + '+'.join(it['visibility'])"

# The version that was read first is stale now: nothing is overwritten unseen.
echo '{"note": "Entrée par la cour"}' |
  ask "/v1/slots/$SLOT" --request PATCH --header "If-Match: $TAG" "${json[@]}" 2> /dev/null |
  pick "'%s %s' % (it['status'], it['code'])" || true

# --get with --data-urlencode: a + in a time stays a +.
ask "/v1/practitioners/$DOCTOR/slots" --get --data-urlencode "from=$START" --data-urlencode "to=$END" |
  pick "'in the agenda: ' + ', '.join(slot['state'] for slot in it['items'])"

ask "/v1/slots/$SLOT" --request DELETE --header "If-Match: $(etag)"
echo "withdrawn"

# Who is booked with me, newest first; `updated_since` tells what changed since the last look.
ask "/v1/bookings?state=booked&limit=5" | pick "'appointments: %d' % len(it['items'])"

# What is booked and has begun asks for a report. Polling: ask for what changed since last time.
NOW=$(date -u +%Y-%m-%dT%H:%M:%SZ)
ask /v1/bookings --get --data-urlencode "state=booked" --data-urlencode "to=$NOW" |
  pick "'\n'.join(booking['id'] for booking in it['items'])" |
  while read -r BOOKING; do
    if [ -n "$BOOKING" ]; then
      echo '{"state": "fulfilled"}' | ask "/v1/bookings/$BOOKING/report" --request PUT "${json[@]}" |
        pick "'reported: ' + it['state']"
    fi
  done
